"""What every neck offers."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from rebalance.detectors.backbones import FIRST_LEVEL
from rebalance.errors import InputError


class Neck(nn.Module):
    """Backbone maps -> the maps that heads read, finest first.

    Attributes:
        level_channels: channels of each map.
        strides: pixels per cell of each map.
        num_backbone_levels: maps made of a map of the backbone; those beyond are extra ones.
        end: number of the backbone's maps needed, from its finest.
    """

    level_channels: tuple[int, ...]
    strides: tuple[int, ...]
    num_backbone_levels: int
    end: int


class Levels(NamedTuple):
    """Levels of a pyramid on a backbone: ``in_channels[begin:end]`` are read, ``extra`` added."""

    begin: int
    end: int
    extra: int
    strides: tuple[int, ...]


def choose_levels(in_channels: Sequence[int], first_level: int, num_levels: int) -> Levels:
    """Levels ``first_level``, ... of stride 2^level; InputError if the backbone lacks the first."""
    last_backbone_level = FIRST_LEVEL + len(in_channels) - 1
    if not FIRST_LEVEL <= first_level <= last_backbone_level:
        raise InputError(
            f"neck: first_level must be in [{FIRST_LEVEL}, {last_backbone_level}], "
            f"got {first_level}"
        )
    if num_levels < 1:
        raise InputError(f"neck: num_levels must be at least 1, got {num_levels}")
    begin = first_level - FIRST_LEVEL
    end = min(begin + num_levels, len(in_channels))
    strides = tuple(2 ** (first_level + index) for index in range(num_levels))
    return Levels(begin, end, num_levels - (end - begin), strides)
