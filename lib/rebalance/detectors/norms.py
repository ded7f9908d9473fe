"""Normalisation layers by name."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from rebalance.errors import InputError


class FrozenStatisticsBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by its running statistics, in training too; weight and bias train.

    What mmdetection calls ``norm_eval`` with ``requires_grad``, and trains nearly all its detectors
    with: a batch of two images is too small to estimate statistics from.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape."""
        return functional.batch_norm(
            maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with groups of eight channels (or one group, if eight does not divide)."""
    return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frozen_batch": FrozenBatchNorm2d,
    "frozen_statistics": FrozenStatisticsBatchNorm2d,
    "batch": nn.BatchNorm2d,
    "group": group_norm,
}
"""Statistics and affine fixed; only statistics fixed; both train; no statistics at all."""


def find_norm(name: str, where: str) -> Callable[[int], nn.Module]:
    """``NORMS[name]``: channels -> layer; unknown names: InputError that says ``where``."""
    if name not in NORMS:
        raise InputError(f"{where} must be one of {list(NORMS)}, got {name!r}")
    return NORMS[name]
