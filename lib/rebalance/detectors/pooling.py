"""RoIAlign over a pyramid: each RoI from the level of its size (FPN, Lin et al., CVPR 2017)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import roi_align

from rebalance.detectors.flow import Flow
from rebalance.detectors.types import Candidates


class RoiPooling(NamedTuple):
    """How RoIs are pooled.

    Attributes:
        size: side of the pooled features, in cells.
        sampling_ratio: points per cell and axis; 0: as many as the RoI covers (mmdetection).
        aligned: shift by half a pixel, so that pooled cells lie where their pixels are
            (mmdetection's RoIAlign v2); False is torchvision's detectors.
        num_levels: the finest so many levels are pooled from.
        canonical_size: side in pixels of the RoIs that the fourth level after stride 2 (P4)
            serves (Eq. 1 of FPN: 224).
    """

    size: int = 7
    sampling_ratio: int = 2
    aligned: bool = False
    num_levels: int = 4
    canonical_size: float = 224

    def __call__(self, flow: Flow, rois: Candidates) -> Tensor:
        """[R, C, size, size] features of R RoIs."""
        maps = flow.maps[: self.num_levels]
        columns = torch.cat([rois.image[:, None].to(rois.boxes), rois.boxes], dim=1)
        if len(maps) == 1:
            return self._align(maps[0], columns, flow.strides[0])
        level = self.level_of(rois.boxes, flow.strides[0], len(maps))
        order = level.argsort(stable=True)
        counts = torch.bincount(level, minlength=len(maps)).tolist()
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
        return roi_align(
            map_,
            columns.to(map_.dtype),
            (self.size, self.size),
            spatial_scale=1 / stride,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
