"""Backbones: an image -> feature maps of strides 4, 8, 16, 32."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, Len

from rebalance.config.bounds import Count, Text
from rebalance.config.part import Part


class Backbone(Part, noun="backbone"):
    """Image -> maps, finest first."""


class Plain(Backbone, name="plain", makes="rebalance.detectors.backbones:PlainBackbone"):
    """A few 3x3 convolutions with GroupNorm; trains from scratch on a CPU."""

    widths: Annotated[list[Count], Len(1, 4)] = [16, 32, 64, 64]
    """Channels at strides 4, 8, 16, 32."""
    convs: Count = 1
    """Convolutions per stage."""
    stem: Count | None = None
    """Channels at stride 2; null: the first of ``widths``."""


class ResNet(Backbone, name="resnet", makes="rebalance.detectors.backbones:ResNetBackbone"):
    """ResNet (He et al., CVPR 2016), with torchvision's parameter names."""

    depth: Literal[18, 34, 50, 101] = 50
    """Number of layers."""
    width: Count = 64
    """Channels of the first stage."""
    frozen_stages: Annotated[int, Ge(0), Le(4)] = 1
    """The stem and so many stages do not train; 0: everything trains."""
    norm: Literal["frozen_batch", "batch", "group"] = "frozen_batch"
    """Normalisation layers; "frozen_batch" keeps statistics and affine."""
    weights: Text | None = None
    """Published weights by name in a scale, their file in a resolved run; null: none."""
