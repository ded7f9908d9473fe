"""Samplers: which of the assigned candidates take part in the loss."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rebalance.config.bind import bind_part
from rebalance.config.options import samplers as options_of

Sampler = Callable[..., Tensor]


def make_sampler(name: str, **options: Any) -> Sampler:
    """The sampler of that name with its options bound.

    It is called as ``sampler(assignment, rng=..., boxes=..., losses=...)``; ``losses`` is a
    function that gives the losses [K] of the candidates at positions [K].

    Raises:
        InputError: unknown name or option, or a value that is not allowed.
    """
    return bind_part(options_of.Sampler, name, options)


__all__ = ["Sampler", "make_sampler"]
