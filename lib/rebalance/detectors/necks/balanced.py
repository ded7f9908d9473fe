"""Balanced feature pyramid of Libra R-CNN."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from rebalance.detectors.context import NonLocal
from rebalance.detectors.necks.pyramid import Pyramid
from rebalance.errors import InputError


class BalancedPyramid(Pyramid):
    """A pyramid whose levels share their mean (Libra R-CNN, Pang et al., CVPR 2019, section 3.2).

    All levels are brought to the size of one, averaged, refined by a non-local block, brought back
    and added.

    Args:
        in_channels: see ``Pyramid``, as all others but
        refine_level: which of the levels has the size of the mean, counted from the finest, 0.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        first_level: int = 2,
        num_levels: int = 5,
        extra: str = "pool",
        extra_from: str = "output",
        extra_relu: bool = True,
        upsample: str = "nearest",
        refine_level: int = 2,
    ) -> None:
        super().__init__(
            in_channels, channels, first_level, num_levels, extra, extra_from, extra_relu, upsample
        )
        if not 0 <= refine_level < num_levels:
            raise InputError(
                f"neck: refine_level must be in [0, {num_levels - 1}], got {refine_level}"
            )
        self.refine_level = refine_level
        self.refine = NonLocal(channels, reduction=1, scaled=False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps of levels 2, 3, ... -> pyramid maps, finest first."""
        levels = super().forward(maps)
        size = levels[self.refine_level].shape[-2:]
        gathered = [_resized(level, size) for level in levels]
        mean = self.refine(sum(gathered[1:], gathered[0]) / len(levels))
        return [level + _resized(mean, level.shape[-2:]) for level in levels]


def _resized(map_: Tensor, size: Sequence[int]) -> Tensor:
    """Shrunk by the largest value, enlarged by the nearest (section 3.2)."""
    if map_.shape[-2] > size[0] or map_.shape[-1] > size[1]:
        return functional.adaptive_max_pool2d(map_, list(size))
    return functional.interpolate(map_, list(size), mode="nearest")
