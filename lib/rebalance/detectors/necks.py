"""Feature pyramid (Lin et al., CVPR 2017) from torchvision, with a choice of levels."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from rebalance.detectors.backbones import FIRST_LEVEL
from rebalance.errors import InputError


class ExtraConvs(ExtraFPNBlock):
    """Coarser levels by strided convolutions on the last pyramid level (RetinaNet's P6, P7)."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(count)]
        for convolution in convolutions:
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        self.convs = nn.ModuleList(convolutions)

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Append the extra levels to ``results`` and their names to ``names``."""
        hidden = results[-1]
        for index, convolution in enumerate(self.convs):
            hidden = convolution(functional.relu(hidden) if index else hidden)
            results.append(hidden)
            names.append(f"extra{index}")
        return results, names


class ExtraPools(ExtraFPNBlock):
    """Coarser levels by subsampling the last pyramid level (Faster R-CNN's P6); no parameters."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(
        self, results: list[Tensor], x: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Append the extra levels to ``results`` and their names to ``names``."""
        for index in range(self.count):
            results.append(functional.max_pool2d(results[-1], 1, stride=2))
            names.append(f"extra{index}")
        return results, names


EXTRA_LEVELS: dict[str, type[ExtraConvs] | type[ExtraPools]] = {
    "conv": ExtraConvs,
    "pool": ExtraPools,
}


class Pyramid(nn.Module):
    """Backbone maps -> ``num_levels`` maps of ``channels``, from ``first_level`` (stride 2^level).

    Attributes:
        num_backbone_levels: maps used as they are; the levels beyond are extra ones.
        end: number of the backbone's maps needed, from its finest.

    Args:
        in_channels: channels of the backbone's levels 2, 3, ...
        channels: channels of every pyramid level.
        first_level: finest level used, for example 3 for stride 8.
        num_levels: levels in all; those beyond the backbone's last are extra levels.
        extra: how extra levels are made, "conv" or "pool".
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        first_level: int = 3,
        num_levels: int = 5,
        extra: str = "conv",
    ) -> None:
        super().__init__()
        if extra not in EXTRA_LEVELS:
            raise InputError(f"neck: extra must be one of {list(EXTRA_LEVELS)}, got {extra!r}")
        last_backbone_level = FIRST_LEVEL + len(in_channels) - 1
        if not FIRST_LEVEL <= first_level <= last_backbone_level:
            raise InputError(
                f"neck: first_level must be in [{FIRST_LEVEL}, {last_backbone_level}], "
                f"got {first_level}"
            )
        self.begin = first_level - FIRST_LEVEL
        used = in_channels[self.begin : self.begin + num_levels]
        self.end = self.begin + len(used)
        self.strides = tuple(2 ** (first_level + index) for index in range(num_levels))
        self.channels = channels
        self.num_backbone_levels = len(used)
        num_extra = num_levels - len(used)
        self.fpn = FeaturePyramidNetwork(
            list(used),
            channels,
            extra_blocks=EXTRA_LEVELS[extra](channels, num_extra) if num_extra else None,
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of levels 2, 3, ... -> pyramid maps, finest first."""
        used = OrderedDict(
            (str(index), map_) for index, map_ in enumerate(maps[self.begin : self.end])
        )
        return list(self.fpn(used).values())
