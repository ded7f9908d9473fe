"""The maps of SSD: two of the backbone, the others by convolutions on the last."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rebalance.detectors.necks.neck import Neck
from rebalance.errors import InputError


class _Layout(NamedTuple):
    """Of each extra level: stride, padding and kernel of its second convolution."""

    convs: tuple[tuple[int, int, int], ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]  # of all levels


# SSD, Figure 2 and footnote 5. The strides of the unpadded levels are the image's side over the
# map's, as the authors' code has them.
LAYOUTS = {
    300: _Layout(
        ((2, 1, 3), (2, 1, 3), (1, 0, 3), (1, 0, 3)), (512, 256, 256, 256),
        (8, 16, 32, 64, 100, 300),
    ),
    512: _Layout(
        ((2, 1, 3), (2, 1, 3), (2, 1, 3), (2, 1, 3), (1, 1, 4)), (512, 256, 256, 256, 256),
        (8, 16, 32, 64, 128, 256, 512),
    ),
}  # fmt: skip


def _layout(size: int | None, channels: Sequence[int] | None, first_stride: int) -> _Layout:
    if size is None:
        if channels is None:
            raise InputError("neck: without a size, channels must say how many extra levels to add")
        strides = tuple(first_stride * 2**level for level in range(2 + len(channels)))
        return _Layout(((2, 1, 3),) * len(channels), tuple(channels), strides)
    if size not in LAYOUTS:
        raise InputError(f"neck: size must be one of {[*LAYOUTS, None]}, got {size!r}")
    layout = LAYOUTS[size]
    if layout.strides[0] != first_stride:
        raise InputError(
            f"neck: SSD{size} needs a first map of stride {layout.strides[0]}, got {first_stride}"
        )
    return layout


class SsdNeck(Neck):
    """Levels of SSD300 or SSD512 (Liu et al., ECCV 2016, section 2.1 and 3.1).

    The first map is divided by the length of its vector at each cell and scaled per channel.
    Each extra level is a 1x1 convolution to half its channels and a 3x3 one, with ReLU.

    Args:
        in_channels: channels of the backbone's maps, of which the first two are read.
        size: 300 or 512, side of the image; None: any image, every extra level halves the map.
        channels: channels of the extra levels; default: the published ones.
        l2_norm_scale: scale of every channel before training.
        first_stride: pixels per cell of the first map; of VGG: 8.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        size: int | None = 300,
        channels: Sequence[int] | None = None,
        l2_norm_scale: float = 20.0,
        first_stride: int = 8,
    ) -> None:
        super().__init__()
        layout = _layout(size, channels, first_stride)
        extra = tuple(layout.channels if channels is None else channels)
        if len(extra) != len(layout.convs) or len(in_channels) < 2:
            raise InputError(
                f"neck: SSD{size} needs 2 maps of a backbone and {len(layout.convs)} channels, "
                f"got {len(in_channels)} and {list(extra)}"
            )
        self.end = self.num_backbone_levels = 2
        in_channels = in_channels[:2]
        self.level_channels = (*in_channels, *extra)
        self.strides = layout.strides
        self.scale = nn.Parameter(torch.full((in_channels[0],), float(l2_norm_scale)))
        self.extra = nn.ModuleList()
        previous = in_channels[-1]
        for width, (stride, padding, kernel) in zip(extra, layout.convs, strict=True):
            convs = (
                nn.Conv2d(previous, width // 2, 1),
                nn.Conv2d(width // 2, width, kernel, stride, padding),
            )
            for layer in convs:
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
            self.extra.append(nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU()))
            previous = width

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The backbone's two maps -> all levels, finest first."""
        outputs = [functional.normalize(maps[0]) * self.scale[:, None, None], maps[1]]
        for layers in self.extra:
            outputs.append(layers(outputs[-1]))
        return outputs
