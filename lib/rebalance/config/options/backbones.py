"""Backbones: an image -> feature maps, finest first."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Le, Len
from pydantic import model_validator

from rebalance.config.bounds import Count, ShareAboveZero, Text
from rebalance.config.part import Part, refusal

Norm = Literal["frozen_batch", "frozen_statistics", "batch", "group"]
Stages = Annotated[list[Annotated[int, Ge(1), Le(4)]], Len(0, 4)]
BOTTLENECK_DEPTHS = (50, 101)


class Backbone(Part, noun="backbone"):
    """Image -> maps of strides 4, 8, 16, 32; of VGG 8 and 16."""


class Plain(Backbone, name="plain", makes="rebalance.detectors.backbones.plain:PlainBackbone"):
    """A few 3x3 convolutions with GroupNorm; trains from scratch on a CPU."""

    widths: Annotated[list[Count], Len(1, 4)] = [16, 32, 64, 64]
    """Channels at strides 4, 8, 16, 32."""
    convs: Count = 1
    """Convolutions per stage."""
    stem: Count | None = None
    """Channels at stride 2; null: the first of ``widths``."""


class ResNet(Backbone, name="resnet", makes="rebalance.detectors.backbones.resnet:ResNetBackbone"):
    """ResNet (He et al., CVPR 2016) and ResNeXt, with torchvision's parameter names."""

    depth: Literal[18, 34, 50, 101] = 50
    """Number of layers."""
    width: Count = 64
    """Channels of the first stage."""
    groups: Count = 1
    """Of the 3x3 convolutions; ResNeXt-101 64x4d has 64."""
    width_per_group: Count | None = None
    """Channels of each group in the first stage; null: width / groups."""
    frozen_stages: Annotated[int, Ge(0), Le(4)] = 1
    """The stem and so many stages do not train; 0: everything trains."""
    norm: Norm = "frozen_batch"
    """Of batch norm nothing trains, its affine, or all; or group norm."""
    deformable_stages: Stages = []
    """Stages, counted from 1, whose 3x3 convolutions are deformable (Dai et al., ICCV 2017)."""
    modulated: bool = False
    """Whether deformable convolutions have a modulation, too (Zhu et al., CVPR 2019)."""
    context_stages: Stages = []
    """Stages whose blocks end in a global context block (GCNet, Cao et al., ICCVW 2019)."""
    context_ratio: ShareAboveZero = 1 / 16
    """Hidden channels of these, as a share of the block's."""
    stem: Count | None = None
    """Channels of the stem; null: ``width``."""
    weights: Text | None = None
    """Published weights by name in a scale, their file in a resolved run; null: none."""

    @model_validator(mode="after")
    def _check_bottlenecks(self) -> Self:
        if self.depth in BOTTLENECK_DEPTHS:
            return self
        for option, plain in (
            ("groups", 1), ("width_per_group", None), ("deformable_stages", []),
            ("context_stages", []),
        ):  # fmt: skip
            if getattr(self, option) != plain:
                raise refusal(f"needs depth 50 or 101, got depth {self.depth}", at=(option,))
        return self


class Vgg(Backbone, name="vgg", makes="rebalance.detectors.backbones.vgg:VGGBackbone"):
    """VGG-16 as SSD reads it (Liu et al., ECCV 2016, section 3.1)."""

    width: Count = 64
    """Channels of the first stage."""
    weights: Text | None = None
    """Published weights by name in a scale, their file in a resolved run; null: none."""
