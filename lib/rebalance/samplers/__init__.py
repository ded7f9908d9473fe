"""Samplers: which of the assigned candidates take part in the loss."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rebalance.lookup import bind_options
from rebalance.samplers.combined import (
    sample_combined,
    sample_iou_balanced_negatives,
    sample_ofb,
    sample_random,
)
from rebalance.samplers.everything import sample_all
from rebalance.samplers.mining import sample_hard_negatives, sample_ohem, sample_ohpm

Sampler = Callable[..., Tensor]

SAMPLERS: dict[str, Sampler] = {
    "all": sample_all,
    "random": sample_random,
    "combined": sample_combined,
    "ofb": sample_ofb,
    "iou_balanced_negatives": sample_iou_balanced_negatives,
    "ohem": sample_ohem,
    "ohpm": sample_ohpm,
    "hard_negative": sample_hard_negatives,
}


def make_sampler(name: str, **options: Any) -> Sampler:
    """The sampler of that name with its options bound.

    It is called as ``sampler(assignment, rng=..., boxes=..., losses=...)``; ``losses`` is a
    function that gives the losses [K] of the candidates at positions [K].

    Raises:
        InputError: unknown name or option.
    """
    return bind_options("sampler", SAMPLERS, name, options)


__all__ = ["SAMPLERS", "Sampler", "make_sampler"]
