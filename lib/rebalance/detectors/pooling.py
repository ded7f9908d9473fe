"""RoIs -> features: RoIAlign over a pyramid, from one level or from all."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from rebalance.config.bind import bind_part
from rebalance.config.options import pooling as options_of
from rebalance.detectors.context import PositionAttention
from rebalance.detectors.flow import Flow
from rebalance.detectors.types import Candidates, count_each


class Pooling(Protocol):
    """RoIs -> features; one with parameters is a module."""

    size: int
    """Side of the pooled features, in cells."""

    def __call__(self, flow: Flow, rois: Candidates) -> Tensor:
        """[R, C, size, size] features of R RoIs."""


class RoiPooling:
    """RoIAlign, each RoI from the level of its size (FPN, Lin et al., CVPR 2017).

    Args:
        channels: not used by this pooling.
        size: side of the pooled features, in cells.
        sampling_ratio: points per cell and axis; 0: as many as the RoI covers (mmdetection).
        aligned: shift by half a pixel, so that pooled cells lie where their pixels are
            (mmdetection's RoIAlign v2); False is torchvision's detectors.
        num_levels: the finest so many levels are pooled from.
        canonical_size: side in pixels of the RoIs that the fourth level after stride 2 (P4)
            serves (Eq. 1 of FPN: 224).
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int = 7,
        sampling_ratio: int = 2,
        aligned: bool = False,
        num_levels: int = 4,
        canonical_size: float = 224,
    ) -> None:
        self.size, self.sampling_ratio, self.aligned = size, sampling_ratio, aligned
        self.num_levels, self.canonical_size = num_levels, canonical_size

    def __call__(self, flow: Flow, rois: Candidates) -> Tensor:
        """See ``Pooling``."""
        maps = flow.maps[: self.num_levels]
        columns = _columns(rois)
        if len(maps) == 1:
            return self._align(maps[0], columns, flow.strides[0])
        level = self.level_of(rois.boxes, flow.strides[0], len(maps))
        order = level.argsort(stable=True)
        counts = count_each(level, len(maps))
        parts = [
            self._align(map_, part, stride)
            for map_, part, stride in zip(
                maps, columns[order].split(counts), flow.strides, strict=False
            )
        ]
        pooled = torch.cat(parts)
        return torch.empty_like(pooled).index_copy(0, order, pooled)

    def level_of(self, boxes: Tensor, finest_stride: int, num_levels: int) -> Tensor:
        """[R] int64, which of the pooled levels each box [R, 4] belongs to, 0 the finest."""
        side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()
        # P4 has stride 16: a box of the canonical size lies two levels above stride 4.
        finest_size = self.canonical_size * finest_stride / 16
        level = torch.log2(side / finest_size + 1e-6).floor()
        return level.clamp(min=0, max=num_levels - 1).long()

    def _align(self, map_: Tensor, columns: Tensor, stride: int) -> Tensor:
        return _align(map_, columns, stride, self.size, self.sampling_ratio, self.aligned)


class GroiePooling(nn.Module):
    """RoIAlign from all levels, each passed through a convolution, then summed and attended.

    Rossi et al., "A Novel Region of Interest Extraction Layer for Instance Segmentation" (GRoIE),
    ICPR 2020, section III, with the settings that its authors found best.

    Args:
        channels: of the maps.
        size: see ``RoiPooling``.
        sampling_ratio: see ``RoiPooling``.
        aligned: see ``RoiPooling``.
        num_levels: see ``RoiPooling``.
        kernel_size: of the convolution, odd.
        num_heads: of the attention.
        kv_stride: of the cells attended to.
        vertical_query: see ``PositionAttention``.
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int = 7,
        sampling_ratio: int = 2,
        aligned: bool = True,
        num_levels: int = 4,
        kernel_size: int = 5,
        num_heads: int = 6,
        kv_stride: int = 2,
        vertical_query: str = "own",
    ) -> None:
        super().__init__()
        self.size, self.sampling_ratio, self.aligned = size, sampling_ratio, aligned
        self.num_levels = num_levels
        self.before = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        nn.init.kaiming_normal_(self.before.weight, mode="fan_out", nonlinearity="relu")
        assert self.before.bias is not None
        nn.init.zeros_(self.before.bias)
        self.after = PositionAttention(channels, num_heads, kv_stride, vertical_query)

    def forward(self, flow: Flow, rois: Candidates) -> Tensor:
        """See ``Pooling``."""
        columns = _columns(rois)
        summed = sum(
            self.before(
                _align(map_, columns, stride, self.size, self.sampling_ratio, self.aligned)
            ).relu()
            for map_, stride in zip(flow.maps[: self.num_levels], flow.strides, strict=False)
        )
        return self.after(summed)


def make_pooling(channels: int, name: str = "roi_align", **options: Any) -> Pooling:
    """The pooling of that name, of maps with ``channels``; unknown name or option: InputError."""
    pooling: Pooling = bind_part(options_of.Pooling, name, options)(channels)
    return pooling


def _columns(rois: Candidates) -> Tensor:
    """[R, 5] image and box."""
    return torch.cat([rois.image[:, None].to(rois.boxes), rois.boxes], dim=1)


def _align(
    map_: Tensor, columns: Tensor, stride: int, size: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    return roi_align(
        map_,
        columns.to(map_.dtype),
        (size, size),
        spatial_scale=1 / stride,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
