"""Feature pyramid (Lin et al., CVPR 2017) on torchvision's, with a choice of levels."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork

from rebalance.detectors.necks.neck import Neck, choose_levels
from rebalance.errors import InputError

UPSAMPLING = ("nearest", "bilinear")
SOURCES = ("output", "input")


class ExtraConvs(nn.Module):
    """Coarser levels by strided convolutions (RetinaNet's P6, P7).

    Args:
        in_channels: of the map that the first convolution reads.
        channels: of the levels made.
        count: levels to make.
        relu: before each convolution but the first.
    """

    def __init__(self, in_channels: int, channels: int, count: int, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.convs = nn.ModuleList()
        for index in range(count):
            convolution = nn.Conv2d(
                channels if index else in_channels, channels, 3, stride=2, padding=1
            )
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
            self.convs.append(convolution)

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """The map to start from -> the extra levels."""
        levels: list[Tensor] = []
        for convolution in self.convs:
            hidden = convolution(functional.relu(hidden) if levels and self.relu else hidden)
            levels.append(hidden)
        return levels


class ExtraPools(nn.Module):
    """Coarser levels by taking every other cell (Faster R-CNN's P6); no parameters.

    Args:
        count: levels to make.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """The map to start from -> the extra levels."""
        return [hidden[:, :, :: 2**k, :: 2**k] for k in range(1, self.count + 1)]


class TopDown(FeaturePyramidNetwork):
    """torchvision's pyramid, with a choice of how the coarser map is enlarged."""

    def __init__(self, in_channels: Sequence[int], channels: int, upsample: str) -> None:
        super().__init__(list(in_channels), channels)
        self.upsample = upsample

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps -> pyramid maps, both finest first."""
        outputs: list[Tensor] = []
        hidden = None
        for index in reversed(range(len(maps))):
            lateral = self.inner_blocks[index](maps[index])
            if hidden is None:
                hidden = lateral
            else:
                size = lateral.shape[-2:]
                hidden = lateral + functional.interpolate(hidden, size, mode=self.upsample)
            outputs.insert(0, self.layer_blocks[index](hidden))
        return outputs


class Pyramid(Neck):
    """Backbone maps -> ``num_levels`` maps of ``channels``, from ``first_level`` (stride 2^level).

    Args:
        in_channels: channels of the backbone's levels 2, 3, ...
        channels: channels of every pyramid level.
        first_level: finest level used, for example 3 for stride 8.
        num_levels: levels in all; those beyond the backbone's last are extra levels.
        extra: how extra levels are made, "conv" or "pool".
        extra_from: what the first extra convolution reads: the "output" of the last level (P5), or
            its "input", the backbone's map (C5), as in section 4 of RetinaNet.
        extra_relu: ReLU before each extra convolution but the first, as there (and in torchvision;
            mmdetection has none).
        upsample: how a coarser map is enlarged, "nearest" or "bilinear" (YOLACT).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        first_level: int = 3,
        num_levels: int = 5,
        extra: str = "conv",
        extra_from: str = "output",
        extra_relu: bool = True,
        upsample: str = "nearest",
    ) -> None:
        super().__init__()
        for option, value, allowed in (
            ("extra", extra, ("conv", "pool")),
            ("extra_from", extra_from, SOURCES if extra == "conv" else SOURCES[:1]),
            ("upsample", upsample, UPSAMPLING),
        ):
            if value not in allowed:
                raise InputError(f"neck: {option} must be one of {list(allowed)}, got {value!r}")
        levels = choose_levels(in_channels, first_level, num_levels)
        used = in_channels[levels.begin : levels.end]
        self.begin, self.end, self.strides = levels.begin, levels.end, levels.strides
        self.num_backbone_levels = len(used)
        self.level_channels = (channels,) * num_levels
        self.extra_from = extra_from
        self.fpn = TopDown(used, channels, upsample)
        if levels.extra:
            source = used[-1] if extra_from == "input" else channels
            self.fpn.extra_blocks = (
                ExtraConvs(source, channels, levels.extra, extra_relu)
                if extra == "conv"
                else ExtraPools(levels.extra)
            )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of levels 2, 3, ... -> pyramid maps, finest first."""
        used = maps[self.begin : self.end]
        outputs = self.fpn(used)
        if self.fpn.extra_blocks is not None:
            outputs += self.fpn.extra_blocks(
                used[-1] if self.extra_from == "input" else outputs[-1]
            )
        return outputs
