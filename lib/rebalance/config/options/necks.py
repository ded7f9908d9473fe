"""Necks: a backbone's maps -> the pyramid that heads see."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from rebalance.config.bounds import Count
from rebalance.config.part import Part


class Neck(Part, noun="neck"):
    """Maps of a backbone -> maps of one width, finest first."""


class Fpn(Neck, name="fpn", makes="rebalance.detectors.necks:Pyramid"):
    """Feature pyramid (Lin et al., CVPR 2017) with a choice of levels."""

    channels: Count = 256
    """Of every level."""
    first_level: Annotated[int, Ge(2), Le(5)] = 3
    """Finest level; level k has stride 2^k."""
    num_levels: Count = 5
    """Levels in all; those beyond the backbone's last are extra levels."""
    extra: Literal["conv", "pool"] = "conv"
    """How extra levels are made: strided convolutions (RetinaNet) or subsampling (Faster R-CNN)."""
    extra_from: Literal["output", "input"] = "output"
    """What extra convolutions start from: the last pyramid level, or the backbone's last map."""
