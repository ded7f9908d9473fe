"""Necks: maps of the backbone -> the maps that heads read, finest first."""

from collections.abc import Sequence

from rebalance.config.bind import bind_part
from rebalance.config.options import necks as options_of
from rebalance.detectors.necks.balanced import BalancedPyramid
from rebalance.detectors.necks.carafe import CarafePyramid
from rebalance.detectors.necks.neck import Neck
from rebalance.detectors.necks.pyramid import Pyramid
from rebalance.detectors.necks.ssd import SsdNeck

__all__ = [
    "BalancedPyramid",
    "CarafePyramid",
    "Neck",
    "Pyramid",
    "SsdNeck",
    "make_neck",
]


def make_neck(name: str, in_channels: Sequence[int], **options: object) -> Neck:
    """A neck by name, on a backbone with ``in_channels``; unknown name or option: InputError."""
    neck: Neck = bind_part(options_of.Neck, name, options)(in_channels)
    return neck
