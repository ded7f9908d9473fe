"""Necks: maps of the backbone -> the maps that heads read, finest first."""

from collections.abc import Callable, Sequence

from rebalance.detectors.necks.balanced import BalancedPyramid
from rebalance.detectors.necks.carafe import CarafePyramid
from rebalance.detectors.necks.neck import Neck
from rebalance.detectors.necks.pyramid import Pyramid
from rebalance.detectors.necks.ssd import SsdNeck
from rebalance.lookup import bind_options

__all__ = [
    "NECKS",
    "BalancedPyramid",
    "CarafePyramid",
    "Neck",
    "Pyramid",
    "SsdNeck",
    "make_neck",
]

NECKS: dict[str, Callable[..., Neck]] = {
    "fpn": Pyramid,
    "balanced_fpn": BalancedPyramid,
    "carafe_fpn": CarafePyramid,
    "ssd": SsdNeck,
}


def make_neck(name: str, in_channels: Sequence[int], **options: object) -> Neck:
    """A neck by name, on a backbone with ``in_channels``; unknown name or option: InputError."""
    return bind_options("neck", NECKS, name, options)(in_channels)
