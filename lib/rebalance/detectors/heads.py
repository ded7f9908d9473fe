"""Heads: feature maps or pooled RoIs -> class logits and box deltas."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rebalance.config.bind import bind_part
from rebalance.config.options import heads as options_of
from rebalance.detectors.head_parts import HeadContext, init_normal, init_prior, lay_flat, tower
from rebalance.detectors.types import Predictions


class RetinaHead(nn.Module):
    """Two towers of 3x3 convolutions shared by all levels (RetinaNet, Lin et al., ICCV 2017).

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of each tower.
        channels: of the towers.
        prior: score of every class before training (section 4.1 of RetinaNet).
        norm: "none" or "group" after each convolution of the towers.
        groups: of the norm; None: groups of eight channels.
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
    ) -> None:
        super().__init__()
        self.num_columns = context.num_columns
        self.class_tower = tower(context.channels, channels, num_convs, norm, groups)
        self.box_tower = tower(context.channels, channels, num_convs, norm, groups)
        last = channels if num_convs else context.channels
        per_cell = context.num_per_cell
        self.class_logits = nn.Conv2d(last, per_cell * self.num_columns, 3, padding=1)
        self.box_deltas = nn.Conv2d(last, per_cell * 4, 3, padding=1)
        init_normal(self, std=0.01, published_channels=256)
        init_prior(self.class_logits, prior)

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
        self.tower = tower(context.channels, channels, 1)
        self.objectness = nn.Conv2d(channels, context.num_per_cell, 1)
        self.box_deltas = nn.Conv2d(channels, context.num_per_cell * 4, 1)
        init_normal(self, std=0.01, published_channels=256)

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
        widening = math.sqrt(1024 / features)  # the published width; see init_normal
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
        self.convs = tower(context.channels, channels, num_convs)
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

        Without a feature of the step before zeros take its place. Also "mask_feature" [R, c, s, s]
        for the step after, and "roi_feature", what was pooled.
        """
        roi_feature = pooled
        if self.residual is not None:
            before = torch.zeros_like(pooled) if before is None else before
            pooled = pooled + self.residual(before).relu()
        feature = self.convs(pooled)
        logits = self.mask_logits(self.upsample(feature).relu())
        return Predictions(
            extra={
                "mask_logits": logits.float(),
                "mask_feature": feature,
                "roi_feature": roi_feature,
            }
        )


def make_head(context: HeadContext, name: str, **options: Any) -> nn.Module:
    """The head of that name; unknown name or option: InputError."""
    head: nn.Module = bind_part(options_of.Head, name, options)(context)
    return head
