"""What heads are made from: where they are attached, towers, initial weights, rows."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rebalance.detectors.norms import group_norm
from rebalance.errors import InputError

TOWER_NORMS = ("none", "group")


class HeadContext(NamedTuple):
    """What a head is attached to; the rest of its parameters are its options.

    Attributes:
        level_channels: of each pyramid map.
        num_classes: C.
        num_columns: logits per candidate, C or C + 1.
        nums_per_cell: candidates of a cell of each map; of heads over a grid.
        roi_size: side of the pooled features, in cells; of heads on RoIs.
    """

    level_channels: tuple[int, ...]
    num_classes: int
    num_columns: int
    nums_per_cell: tuple[int, ...] = (1,)
    roi_size: int = 7

    @property
    def channels(self) -> int:
        """The channels that all maps have; InputError if they differ."""
        return _same("channels", self.level_channels)

    @property
    def num_per_cell(self) -> int:
        """The candidates that a cell of every map has; InputError if they differ."""
        return _same("candidates per cell", self.nums_per_cell)


def _same(what: str, values: Sequence[int]) -> int:
    if len(set(values)) != 1:
        raise InputError(f"head: needs the same {what} on all levels, got {list(values)}")
    return values[0]


def tower(
    in_channels: int,
    channels: int,
    num_convs: int,
    norm: str = "none",
    groups: int | None = None,
) -> nn.Sequential:
    """3x3 convolutions, each with ReLU.

    Args:
        in_channels: of the maps.
        channels: of the convolutions.
        num_convs: how many.
        norm: "none" or "group" between convolution and ReLU; convolutions then have no bias.
        groups: of the norm; None: groups of eight channels.

    Raises:
        InputError: an unknown norm, groups that do not divide the channels.
    """
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers += conv_block(in_channels, channels, 3, norm, groups)
        in_channels = channels
    return nn.Sequential(*layers)


def conv_block(
    in_channels: int, channels: int, kernel: int, norm: str = "none", groups: int | None = None
) -> list[nn.Module]:
    """A convolution that keeps the size of the maps, its norm if any, ReLU; see ``tower``."""
    if norm not in TOWER_NORMS:
        raise InputError(f"head: norm must be one of {sorted(TOWER_NORMS)}, got {norm!r}")
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=norm == "none")
    ]
    if norm == "group":
        if groups is not None and (groups < 1 or channels % groups):
            raise InputError(f"head: groups must divide {channels} channels, got {groups}")
        layers.append(group_norm(channels) if groups is None else nn.GroupNorm(groups, channels))
    return [*layers, nn.ReLU(inplace=True)]


def init_normal(module: nn.Module, std: float, published_channels: int) -> None:
    """Normal weights, zero biases; narrow layers get larger weights.

    ``std`` is what the work uses with ``published_channels`` inputs. With it, a head of a quarter
    of the channels would pass on half the signal at each layer, and learn that much later.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            scale = math.sqrt(published_channels / layer.in_channels)
            nn.init.normal_(layer.weight, std=std * scale)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_prior(logits: nn.Conv2d, prior: float) -> None:
    """Every class starts with the score ``prior`` (RetinaNet, section 4.1).

    Raises:
        InputError: a prior outside (0, 1).
    """
    if not 0 < prior < 1:
        raise InputError(f"head: prior must be in (0, 1), got {prior}")
    assert logits.bias is not None
    nn.init.constant_(logits.bias, -math.log((1 - prior) / prior))


def lay_flat(maps: Sequence[Tensor], columns: int) -> Tensor:
    """[B, A * columns, h, w] of each level -> [N, columns] float32, N = B * sum of h * w * A.

    Of one image: level after level, row after row, cell after cell, candidate after candidate.
    """
    rows = [map_.permute(0, 2, 3, 1).reshape(len(map_), -1, columns) for map_ in maps]
    return torch.cat(rows, dim=1).flatten(0, 1).float()
