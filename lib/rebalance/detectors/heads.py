"""Heads: feature maps or pooled RoIs -> class logits and box deltas."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rebalance.config.bind import bind_part
from rebalance.config.options import heads as options_of
from rebalance.detectors.backbones import group_norm
from rebalance.detectors.types import Predictions
from rebalance.errors import InputError


class HeadContext(NamedTuple):
    """What a head is attached to; the rest of its parameters are its options.

    Attributes:
        channels: of the pyramid maps.
        num_classes: C.
        num_columns: logits per candidate, C or C + 1.
        num_per_cell: candidates of each cell of the maps; of heads over a grid.
        roi_size: side of the pooled features, in cells; of heads on RoIs.
    """

    channels: int
    num_classes: int
    num_columns: int
    num_per_cell: int = 1
    roi_size: int = 7


class RetinaHead(nn.Module):
    """Two towers of 3x3 convolutions shared by all levels (RetinaNet, Lin et al., ICCV 2017).

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of each tower.
        channels: of the towers.
        prior: score of every class before training (section 4.1 of RetinaNet).
        norm: "none" or "group" after each convolution of the towers.
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 256,
        prior: float = 0.01,
        norm: str = "none",
    ) -> None:
        super().__init__()
        if norm not in ("none", "group"):
            raise InputError(f"head: norm must be one of ['group', 'none'], got {norm!r}")
        if not 0 < prior < 1:
            raise InputError(f"head: prior must be in (0, 1), got {prior}")
        self.num_columns = context.num_columns
        self.class_tower = _tower(context.channels, channels, num_convs, norm)
        self.box_tower = _tower(context.channels, channels, num_convs, norm)
        last = channels if num_convs else context.channels
        per_cell = context.num_per_cell
        self.class_logits = nn.Conv2d(last, per_cell * self.num_columns, 3, padding=1)
        self.box_deltas = nn.Conv2d(last, per_cell * 4, 3, padding=1)
        _init_normal(self, std=0.01, published_channels=256)
        assert self.class_logits.bias is not None
        nn.init.constant_(self.class_logits.bias, -math.log((1 - prior) / prior))

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, C, h, w] -> logits [N, columns] and deltas [N, 1, 4], ordered as anchors are."""
        logits = [self.class_logits(self.class_tower(map_)) for map_ in maps]
        deltas = [self.box_deltas(self.box_tower(map_)) for map_ in maps]
        return Predictions(lay_flat(logits, self.num_columns), lay_flat(deltas, 4)[:, None])


class RpnHead(nn.Module):
    """One 3x3 convolution, then objectness and deltas (Faster R-CNN, Ren et al., NeurIPS 2015).

    Args:
        context: see ``HeadContext``.
        channels: of the convolution.
    """

    def __init__(self, context: HeadContext, *, channels: int = 256) -> None:
        super().__init__()
        self.tower = _tower(context.channels, channels, 1, "none")
        self.objectness = nn.Conv2d(channels, context.num_per_cell, 1)
        self.box_deltas = nn.Conv2d(channels, context.num_per_cell * 4, 1)
        _init_normal(self, std=0.01, published_channels=256)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, C, h, w] -> logits [N, 1] and deltas [N, 1, 4], in the order of anchors."""
        hidden = [self.tower(map_) for map_ in maps]
        logits = lay_flat([self.objectness(map_) for map_ in hidden], 1)
        return Predictions(logits, lay_flat([self.box_deltas(map_) for map_ in hidden], 4)[:, None])


class FcHead(nn.Module):
    """Fully connected layers on pooled RoIs (Fast R-CNN, Girshick, ICCV 2015).

    Args:
        context: see ``HeadContext``.
        num_fcs: hidden layers.
        channels: of the hidden layers.
        class_agnostic: one set of deltas instead of one per class.
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_fcs: int = 2,
        channels: int = 1024,
        class_agnostic: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_columns = context.num_classes, context.num_columns
        layers: list[nn.Module] = [nn.Flatten()]
        features = context.channels * context.roi_size**2
        for _ in range(num_fcs):
            linear = nn.Linear(features, channels)
            nn.init.kaiming_uniform_(linear.weight, a=1)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU(inplace=True)]
            features = channels
        self.hidden = nn.Sequential(*layers)
        self.class_logits = nn.Linear(features, context.num_columns)
        self.box_deltas = nn.Linear(features, 4 * (1 if class_agnostic else context.num_classes))
        widening = math.sqrt(1024 / features)  # the published width; see _init_normal
        nn.init.normal_(self.class_logits.weight, std=0.01 * widening)
        nn.init.normal_(self.box_deltas.weight, std=0.001 * widening)
        nn.init.zeros_(self.class_logits.bias)
        nn.init.zeros_(self.box_deltas.bias)

    def forward(self, pooled: Tensor) -> Predictions:
        """[R, C, s, s] -> logits [R, columns] and deltas [R, K, 4]."""
        hidden = self.hidden(pooled)
        deltas = self.box_deltas(hidden).unflatten(1, (-1, 4))
        return Predictions(self.class_logits(hidden).float(), deltas.float())


class MaskHead(nn.Module):
    """Convolutions, a transposed one, and a mask of each class (Mask R-CNN, He et al., ICCV 2017).

    Args:
        context: see ``HeadContext``.
        num_convs: 3x3 convolutions.
        channels: of them.
        class_agnostic: one mask instead of one per class.
        residual: the mask feature of the step before passes a 1x1 convolution and ReLU and is
            added to the pooled features (mask information flow, HTC).
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 256,
        class_agnostic: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.convs = _tower(context.channels, channels, num_convs, "none")
        last = channels if num_convs else context.channels
        self.upsample = nn.ConvTranspose2d(last, channels, 2, stride=2)
        self.mask_logits = nn.Conv2d(channels, 1 if class_agnostic else context.num_classes, 1)
        self.residual = nn.Conv2d(channels, context.channels, 1) if residual else None
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor, before: Tensor | None = None) -> Predictions:
        """[R, C, s, s] and the mask feature of the step before -> "mask_logits" [R, K, 2s, 2s].

        Without a feature of the step before zeros take its place.
        """
        if self.residual is not None:
            before = torch.zeros_like(pooled) if before is None else before
            pooled = pooled + self.residual(before).relu()
        feature = self.convs(pooled)
        logits = self.mask_logits(self.upsample(feature).relu())
        return Predictions(extra={"mask_logits": logits.float(), "mask_feature": feature})


def _tower(in_channels: int, channels: int, num_convs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers.append(nn.Conv2d(in_channels, channels, 3, padding=1, bias=norm == "none"))
        if norm == "group":
            layers.append(group_norm(channels))
        layers.append(nn.ReLU(inplace=True))
        in_channels = channels
    return nn.Sequential(*layers)


def _init_normal(module: nn.Module, std: float, published_channels: int) -> None:
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


def lay_flat(maps: Sequence[Tensor], columns: int) -> Tensor:
    """[B, A * columns, h, w] of each level -> [N, columns] float32, N = B * sum of h * w * A.

    Of one image: level after level, row after row, cell after cell, candidate after candidate.
    """
    rows = [map_.permute(0, 2, 3, 1).reshape(len(map_), -1, columns) for map_ in maps]
    return torch.cat(rows, dim=1).flatten(0, 1).float()


def make_head(context: HeadContext, name: str, **options: Any) -> nn.Module:
    """The head of that name; unknown name or option: InputError."""
    head: nn.Module = bind_part(options_of.Head, name, options)(context)
    return head
