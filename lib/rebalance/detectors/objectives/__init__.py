"""Objectives: what a step is trained for.

An objective sees the predictions of a step beside their targets (``Matched``), and gives a dict of
weighted scalar losses. It knows no head; it asks for what its losses take by name. Objectives are
modules, so that what they keep between iterations travels in checkpoints.
"""

from collections.abc import Callable
from typing import Any

from rebalance.detectors.objectives.base import Objective, is_loss, total_loss
from rebalance.detectors.objectives.coupled import CoupledRanking, make_coupled_ranking
from rebalance.detectors.objectives.linear import Linear, Term, make_linear
from rebalance.detectors.objectives.ranking import Ranking, make_ranking
from rebalance.errors import InputError

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "linear": make_linear,
    "ranking": make_ranking,
    "coupled_ranking": make_coupled_ranking,
}


def make_objective(name: str, **options: Any) -> Objective:
    """The objective of that name; its other settings are tasks and options.

    Raises:
        InputError: unknown name, or settings that it does not take.
    """
    if name not in OBJECTIVES:
        raise InputError(f"objective must be one of {sorted(OBJECTIVES)}, got {name!r}")
    return OBJECTIVES[name](**options)


__all__ = [
    "OBJECTIVES",
    "CoupledRanking",
    "Linear",
    "Objective",
    "Ranking",
    "Term",
    "is_loss",
    "make_objective",
    "total_loss",
]
