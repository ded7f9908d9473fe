"""How a run is trained."""

from typing import Annotated, Literal, Self

from annotated_types import Len
from pydantic import Field, model_validator

from rebalance.config.bounds import (
    Count,
    Index,
    NonNegative,
    Positive,
    Share,
    ShareAboveZero,
    ShareBelowOne,
)
from rebalance.config.part import Options, Part, refusal, section


class Decay(Part, noun="decay"):
    """How the learning rate falls."""


class StepDecay(Decay, name="step"):
    """By a factor, at some iterations."""

    at: Annotated[list[Count], Len(1)]
    """Iterations."""
    factor: ShareAboveZero = 0.1
    """Of each fall."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.at != sorted(set(self.at)):
            raise refusal(f"must ascend, got {self.at}", at=("at",))
        return self


class CosineDecay(Decay, name="cosine"):
    """Along half a cosine."""

    final: Share = 0.0
    """Share of the rate that is left at the end."""


class Warmup(Options):
    """How the learning rate rises at the start."""

    name: Literal["linear", "constant"] = "linear"
    """Whether it rises evenly, or stays low and then jumps."""
    iterations: Index = 500
    """After which it is reached; 0: none."""
    factor: ShareAboveZero = 0.1
    """Share of the rate at the start."""


class BiasFactors(Options):
    """What biases of convolutions and linear layers have instead of the rate and decay of all."""

    lr_factor: Positive = 1.0
    """Of the learning rate."""
    decay_factor: NonNegative = 1.0
    """Of the weight decay."""


class Schedule(Options):
    """Stochastic gradient descent with momentum."""

    iterations: Count
    """Steps of the optimiser."""
    batch_size: Count
    """Images over all devices."""
    lr: Positive
    """Learning rate after warm-up and before decay."""
    momentum: ShareBelowOne = 0.9
    """Of the optimiser."""
    weight_decay: NonNegative = 1.0e-4
    """Of the optimiser."""
    warmup: Warmup = Field(default_factory=Warmup)
    """Of the learning rate."""
    bias: BiasFactors | None = section()
    """Of biases (Caffe's detectors); without it they train as everything else."""
    decay: Decay
    """After the warm-up."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient; null: any."""
    checkpoint_every: Count = 1000
    """Iterations."""
