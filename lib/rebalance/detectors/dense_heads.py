"""Heads of the one-stage detectors beside RetinaNet: ATSS and PAA, FoveaBox, SSD."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from rebalance.detectors.head_parts import (
    HeadContext,
    conv_block,
    init_normal,
    init_prior,
    lay_flat,
    tower,
)
from rebalance.detectors.types import Predictions
from rebalance.errors import InputError


class AtssHead(nn.Module):
    """Two towers with group norm, deltas scaled per level, and how good each box is.

    ATSS (Zhang et al., CVPR 2020), which has it from FCOS (Tian et al., ICCV 2019); PAA (Kim and
    Lee, ECCV 2020) differs in what the third output is trained for.

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of each tower.
        channels: of the towers.
        prior: score of every class before training.
        norm: "none" or "group" after each convolution of the towers.
        groups: of the norm; None: groups of eight channels, which are 32 of the published 256.
        quality: name of the third output, a logit per candidate from the tower of boxes:
            "centerness" (ATSS) or "iou" (PAA); None: there is none (Rank & Sort).
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 256,
        prior: float = 0.01,
        norm: str = "group",
        groups: int | None = None,
        quality: str | None = "centerness",
    ) -> None:
        super().__init__()
        self.num_columns, self.quality = context.num_columns, quality
        self.class_tower = tower(context.channels, channels, num_convs, norm, groups)
        self.box_tower = tower(context.channels, channels, num_convs, norm, groups)
        last = channels if num_convs else context.channels
        per_cell = context.num_per_cell
        self.class_logits = nn.Conv2d(last, per_cell * self.num_columns, 3, padding=1)
        self.box_deltas = nn.Conv2d(last, per_cell * 4, 3, padding=1)
        self.quality_logits = nn.Conv2d(last, per_cell, 3, padding=1) if quality else None
        self.scales = nn.ParameterList(torch.ones(()) for _ in context.level_channels)
        init_normal(self, std=0.01, published_channels=256)
        init_prior(self.class_logits, prior)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, C, h, w] -> logits [N, columns], deltas [N, 1, 4] and the third output [N]."""
        logits = [self.class_logits(self.class_tower(map_)) for map_ in maps]
        hidden = [self.box_tower(map_) for map_ in maps]
        deltas = [
            self.box_deltas(map_) * scale for map_, scale in zip(hidden, self.scales, strict=True)
        ]
        extra = {}
        if self.quality is not None and self.quality_logits is not None:
            qualities = [self.quality_logits(map_) for map_ in hidden]
            extra[self.quality] = lay_flat(qualities, 1)[:, 0]
        return Predictions(lay_flat(logits, self.num_columns), lay_flat(deltas, 4)[:, None], extra)


class FoveaHead(nn.Module):
    """Two towers (FoveaBox, Kong et al., TIP 2020); optionally classes look where the box is.

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of each tower.
        channels: of the towers.
        prior: score of every class before training.
        norm: "none" or "group" after each convolution of the towers.
        groups: of the norm; None: groups of eight channels.
        aligned: instead of its tower the branch of classes has a deformable convolution whose
            offsets come from the predicted box (section 3.5), a 3x3 and a 1x1 convolution of four
            times the channels.
        offset_groups: of the deformable convolution: groups of channels with offsets of their own.
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 256,
        prior: float = 0.01,
        norm: str = "none",
        groups: int | None = None,
        aligned: bool = False,
        offset_groups: int = 4,
    ) -> None:
        super().__init__()
        self.num_columns = context.num_columns
        self.box_tower = tower(context.channels, channels, num_convs, norm, groups)
        last = channels if num_convs else context.channels
        per_cell = context.num_per_cell
        self.box_deltas = nn.Conv2d(last, per_cell * 4, 3, padding=1)
        if aligned:
            if per_cell != 1:
                raise InputError(
                    f"head: an aligned FoveaBox head needs 1 candidate per cell, got {per_cell}"
                )
            last = channels * 4
            self.class_tower = nn.Sequential(
                *conv_block(channels, last, 3, norm, groups),
                *conv_block(last, last, 1, norm, groups),
            )
        else:
            self.class_tower = tower(context.channels, channels, num_convs, norm, groups)
        self.class_logits = nn.Conv2d(last, per_cell * self.num_columns, 3, padding=1)
        init_normal(self, std=0.01, published_channels=256)
        init_prior(self.class_logits, prior)
        self.alignment = (
            BoxAlignment(context.channels, channels, offset_groups) if aligned else None
        )

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, C, h, w] -> logits [N, columns] and deltas [N, 1, 4]."""
        deltas = [self.box_deltas(self.box_tower(map_)) for map_ in maps]
        if self.alignment is not None:
            maps = [self.alignment(*pair) for pair in zip(maps, deltas, strict=True)]
        logits = [self.class_logits(self.class_tower(map_)) for map_ in maps]
        return Predictions(lay_flat(logits, self.num_columns), lay_flat(deltas, 4)[:, None])


class BoxAlignment(nn.Module):
    """A deformable convolution that looks at the predicted box (FoveaBox, section 3.5).

    Args:
        in_channels: of the maps.
        channels: of the result.
        groups: of channels with offsets of their own.
    """

    def __init__(self, in_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        if in_channels % groups:
            raise InputError(
                f"head: offset_groups must divide {in_channels} channels, got {groups}"
            )
        self.offsets = nn.Conv2d(4, groups * 2 * 9, 1, bias=False)
        self.weight = nn.Parameter(torch.empty(channels, in_channels, 3, 3))
        nn.init.normal_(self.offsets.weight, std=0.1)
        nn.init.normal_(self.weight, std=0.01 * math.sqrt(256 / in_channels))  # see init_normal

    def forward(self, maps: Tensor, deltas: Tensor) -> Tensor:
        """[B, C, h, w] and log distances to the sides [B, 4, h, w] -> [B, channels, h, w]."""
        offsets = self.offsets(deltas.exp())
        return deform_conv2d(maps, offsets, self.weight, padding=1).relu()


class SsdHead(nn.Module):
    """A 3x3 convolution of each level for classes and one for boxes (SSD, Liu et al., ECCV 2016).

    Args:
        context: see ``HeadContext``; levels may differ in channels and in candidates per cell.
    """

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.num_columns = context.num_columns
        levels = list(zip(context.level_channels, context.nums_per_cell, strict=True))
        self.class_logits = nn.ModuleList(
            nn.Conv2d(channels, per_cell * self.num_columns, 3, padding=1)
            for channels, per_cell in levels
        )
        self.box_deltas = nn.ModuleList(
            nn.Conv2d(channels, per_cell * 4, 3, padding=1) for channels, per_cell in levels
        )
        for layer in (*self.class_logits, *self.box_deltas):
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, C, h, w] -> logits [N, columns] and deltas [N, 1, 4], ordered as anchors are."""
        logits = [layer(map_) for layer, map_ in zip(self.class_logits, maps, strict=True)]
        deltas = [layer(map_) for layer, map_ in zip(self.box_deltas, maps, strict=True)]
        return Predictions(lay_flat(logits, self.num_columns), lay_flat(deltas, 4)[:, None])
