"""The learning rate as a pure function of the iteration."""

import math
from collections.abc import Mapping
from typing import Any

from rebalance.errors import InputError


def learning_rate(iteration: int, schedule: Mapping[str, Any]) -> float:
    """Learning rate of an iteration (from 0): warm-up times step or cosine decay.

    Args:
        iteration: 0 ... iterations - 1.
        schedule: "lr", "iterations", "warmup" {name, iterations, factor}, which rises from the
            factor ("linear", the default) or stays at it ("constant"), and "decay", which is
            {name: step, at: [iterations], factor} or {name: cosine, final}; ``final`` is the share
            of ``lr`` that is left at the end.

    Raises:
        InputError: unknown warm-up or decay.
    """
    return float(
        schedule["lr"] * _warmup(iteration, schedule["warmup"]) * _decay(iteration, schedule)
    )


def _warmup(iteration: int, warmup: Mapping[str, Any]) -> float:
    if iteration >= warmup["iterations"]:
        return 1.0
    name = warmup.get("name", "linear")
    if name == "constant":
        return float(warmup["factor"])
    if name == "linear":
        return float(warmup["factor"] + (1 - warmup["factor"]) * iteration / warmup["iterations"])
    raise InputError(f"schedule.warmup.name must be one of ['constant', 'linear'], got {name!r}")


def _decay(iteration: int, schedule: Mapping[str, Any]) -> float:
    decay = schedule["decay"]
    if decay["name"] == "step":
        return decay["factor"] ** sum(iteration >= step for step in decay["at"])
    if decay["name"] == "cosine":
        progress = iteration / schedule["iterations"]
        return decay["final"] + (1 - decay["final"]) * (1 + math.cos(math.pi * progress)) / 2
    raise InputError(
        f"schedule.decay.name must be one of ['cosine', 'step'], got {decay['name']!r}"
    )
