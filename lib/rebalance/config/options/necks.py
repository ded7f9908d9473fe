"""Necks: a backbone's maps -> the maps that heads see, finest first."""

from typing import Annotated, Literal, Self

from annotated_types import Ge, Le, Len
from pydantic import model_validator

from rebalance.config.bounds import Count, Index, Positive
from rebalance.config.part import Options, Part, refusal

EXTRA_LEVELS = {300: 4, 512: 5}
"""Levels that SSD adds, by the side of the image."""
FIRST_STRIDE = 8


class Neck(Part, noun="neck", given=["in_channels"]):
    """Maps of a backbone -> maps of known strides."""


class PyramidOptions(Options):
    """What pyramids share."""

    channels: Count = 256
    """Of every level."""
    first_level: Annotated[int, Ge(2), Le(5)] = 3
    """Finest level; level k has stride 2^k."""
    num_levels: Count = 5
    """Levels in all; those beyond the backbone's last are extra levels."""


class ExtraOptions(Options):
    """How extra levels are made, and coarser maps enlarged."""

    extra: Literal["conv", "pool"] = "conv"
    """How extra levels are made: strided convolutions (RetinaNet) or subsampling (Faster R-CNN)."""
    extra_from: Literal["output", "input"] = "output"
    """What extra convolutions start from: the last pyramid level, or the backbone's last map."""
    extra_relu: bool = True
    """ReLU before each extra convolution but the first (torchvision; mmdetection has none)."""
    upsample: Literal["nearest", "bilinear"] = "nearest"
    """How a coarser map is enlarged."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.extra == "pool" and self.extra_from != "output":
            raise refusal(
                f"must be 'output' with extra 'pool', got {self.extra_from!r}", at=("extra_from",)
            )
        return self


class Fpn(
    ExtraOptions, PyramidOptions, Neck, name="fpn",
    makes="rebalance.detectors.necks.pyramid:Pyramid",
):  # fmt: skip
    """Feature pyramid (Lin et al., CVPR 2017) with a choice of levels."""


class BalancedFpn(
    ExtraOptions, PyramidOptions, Neck, name="balanced_fpn",
    makes="rebalance.detectors.necks.balanced:BalancedPyramid",
):  # fmt: skip
    """A pyramid whose levels share their mean (Libra R-CNN, section 3.2)."""

    first_level: Annotated[int, Ge(2), Le(5)] = 2
    """Finest level; level k has stride 2^k."""
    extra: Literal["conv", "pool"] = "pool"
    """How extra levels are made: strided convolutions or subsampling."""
    refine_level: Index = 2
    """Which of the levels, from the finest, 0, has the size that all are brought to."""

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        if self.refine_level >= self.num_levels:
            raise refusal(
                f"must be less than num_levels, {self.num_levels}, got {self.refine_level}",
                at=("refine_level",),
            )
        return self


class CarafeFpn(
    PyramidOptions, Neck, name="carafe_fpn",
    makes="rebalance.detectors.necks.carafe:CarafePyramid",
):  # fmt: skip
    """A pyramid that enlarges coarser maps by CARAFE (Wang et al., ICCV 2019, section 4.1)."""

    first_level: Annotated[int, Ge(2), Le(5)] = 2
    """Finest level; level k has stride 2^k."""
    kernel_size: Count = 5
    """Side of the neighbourhood that a new pixel is made of."""
    encoder_kernel_size: Count = 3
    """Of the convolution that predicts its weights."""
    compressed_channels: Count = 64
    """That this convolution reads."""


class SsdLevels(Neck, name="ssd", makes="rebalance.detectors.necks.ssd:SsdNeck"):
    """Levels of SSD300 or SSD512, on VGG's two maps (Liu et al., ECCV 2016)."""

    size: Literal[300, 512] | None = 300
    """Side of the image; null: any image, every extra level halves the map."""
    channels: Annotated[list[Count], Len(1)] | None = None
    """Of the extra levels; null: the published ones."""
    l2_norm_scale: Positive = 20.0
    """Scale of the first map's channels before training."""
    first_stride: Count = 8
    """Pixels per cell of the first map; of VGG: 8."""

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if self.size is None:
            if self.channels is None:
                raise refusal("missing key 'channels', which size null needs")
            return self
        wanted = EXTRA_LEVELS[self.size]
        if self.channels is not None and len(self.channels) != wanted:
            raise refusal(
                f"must be {wanted} numbers with size {self.size}, got {self.channels}",
                at=("channels",),
            )
        if self.first_stride != FIRST_STRIDE:
            raise refusal(
                f"must be {FIRST_STRIDE} with size {self.size}, got {self.first_stride}",
                at=("first_stride",),
            )
        return self
