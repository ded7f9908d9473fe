"""What is done to images before a detector sees them."""

from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import Discriminator, Tag, model_validator

from rebalance.config.bounds import Pixels, Positive, Share
from rebalance.config.part import Options, Part, refusal


def _form(side: Any) -> str:
    return "<range>" if isinstance(side, list) else "<side>"


SideOrRange = Annotated[
    Annotated[Pixels, Tag("<side>")]
    | Annotated[Annotated[list[Pixels], Len(2, 2)], Tag("<range>")],
    Discriminator(_form),
]


class Resize(Part, noun="resize"):
    """The size that an image gets."""


class KeepRatio(Resize, name="keep_ratio", makes="rebalance.engine.transforms:KeepRatio"):
    """The shorter side becomes ``min_size``, or less; the longer one stays below a bound."""

    min_size: SideOrRange
    """Pixels; of [low, high] each image draws in training."""
    max_size: Pixels
    """Pixels, bound of the longer side."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        side = self.min_size
        if isinstance(side, list) and side[0] > side[1]:
            raise refusal(f"must be [low, high], got {side}", at=("min_size",))
        largest = side[1] if isinstance(side, list) else side
        if self.max_size < largest:
            raise refusal(
                f"must be at least min_size, {largest}, got {self.max_size}", at=("max_size",)
            )
        return self


class Square(Resize, name="square", makes="rebalance.engine.transforms:Square"):
    """Both sides become ``size``, whatever the image's ratio."""

    size: Pixels
    """Pixels."""


class ImageInTraining(Options):
    """In training."""

    resize: Resize
    """The size for the network."""
    horizontal_flip: Share = 0.5
    """Probability."""
    augment: Literal["ssd"] | None = None
    """SSD's photometric distortion, expansion and crop, before a square resize; null: nothing."""

    @model_validator(mode="after")
    def _check_crop(self) -> Self:
        if self.augment is not None and not isinstance(self.resize, Square):
            raise refusal(
                f"must be {Square.called!r} with augment {self.augment!r}, which crops, "
                f"got {self.resize.called!r}",
                at=("resize", "name"),
            )
        return self


class ImageAtTest(Options):
    """At test."""

    resize: Resize
    """The size for the network."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if isinstance(self.resize, KeepRatio) and isinstance(self.resize.min_size, list):
            raise refusal(
                f"must be a whole number at test, got {self.resize.min_size}",
                at=("resize", "min_size"),
            )
        return self


class Image(Options):
    """Size, augmentation and normalisation."""

    train: ImageInTraining
    """In training."""
    test: ImageAtTest
    """At test."""
    mean: Annotated[list[float], Len(3, 3)] = [123.675, 116.28, 103.53]
    """Of red, green and blue, in 0 ... 255."""
    std: Annotated[list[Positive], Len(3, 3)] = [58.395, 57.12, 57.375]
    """Standard deviations, likewise."""
