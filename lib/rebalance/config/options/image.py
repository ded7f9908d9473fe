"""What is done to images before a detector sees them."""

from typing import Annotated, Self

from annotated_types import Len
from pydantic import model_validator

from rebalance.config.bounds import Pixels, Positive, Share
from rebalance.config.part import Options, refusal


class Image(Options):
    """Size, flip and normalisation."""

    min_size: Pixels
    """Pixels, shorter side."""
    max_size: Pixels
    """Pixels, bound of the longer side."""
    horizontal_flip: Share = 0.5
    """Probability, in training."""
    mean: Annotated[list[float], Len(3, 3)] = [123.675, 116.28, 103.53]
    """Of red, green and blue, in 0 ... 255."""
    std: Annotated[list[Positive], Len(3, 3)] = [58.395, 57.12, 57.375]
    """Standard deviations, likewise."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.max_size < self.min_size:
            raise refusal(
                f"must be at least min_size, {self.min_size}, got {self.max_size}",
                at=("max_size",),
            )
        return self
