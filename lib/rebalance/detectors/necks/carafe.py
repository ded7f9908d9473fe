"""Feature pyramid with content-aware upsampling."""

from collections.abc import Sequence

from torch import Tensor, nn

from rebalance.detectors.carafe import Carafe
from rebalance.detectors.necks.neck import Neck, choose_levels


class CarafePyramid(Neck):
    """A pyramid that enlarges coarser maps by CARAFE (Wang et al., ICCV 2019, section 4.1).

    As published, extra levels take part in the way down: strided convolutions of the backbone's
    last map (and of each other) come before it, 3x3 convolutions after it.

    Args:
        in_channels: channels of the backbone's levels 2, 3, ...
        channels: channels of every pyramid level.
        first_level: finest level used, for example 2 for stride 4.
        num_levels: levels in all; those beyond the backbone's last are extra levels.
        kernel_size: see ``Carafe``, as the two that follow.
        encoder_kernel_size: see ``Carafe``.
        compressed_channels: see ``Carafe``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        first_level: int = 2,
        num_levels: int = 5,
        kernel_size: int = 5,
        encoder_kernel_size: int = 3,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        levels = choose_levels(in_channels, first_level, num_levels)
        used = in_channels[levels.begin : levels.end]
        self.begin, self.end, self.strides = levels.begin, levels.end, levels.strides
        self.num_backbone_levels = len(used)
        self.level_channels = (channels,) * num_levels
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in used)
        for index in range(levels.extra):
            source = channels if index else used[-1]
            self.laterals.append(nn.Conv2d(source, channels, 3, stride=2, padding=1))
        self.outputs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(num_levels)
        )
        for layer in (*self.laterals, *self.outputs):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.upsamplers = nn.ModuleList(
            Carafe(channels, 2, kernel_size, encoder_kernel_size, compressed_channels)
            for _ in range(num_levels - 1)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of levels 2, 3, ... -> pyramid maps, finest first."""
        hidden: list[Tensor] = []
        for index, lateral in enumerate(self.laterals):
            read = (
                hidden[-1]
                if index > self.num_backbone_levels
                else (maps[min(self.begin + index, self.end - 1)])
            )
            hidden.append(lateral(read))
        for index in reversed(range(len(hidden) - 1)):
            height, width = hidden[index].shape[-2:]
            # A map of odd size is doubled to one cell too many.
            enlarged = self.upsamplers[index](hidden[index + 1])[:, :, :height, :width]
            hidden[index] = hidden[index] + enlarged
        return [output(map_) for output, map_ in zip(self.outputs, hidden, strict=True)]
