"""Objectives: what a step is trained for.

An objective sees the predictions of a step beside their targets (``Matched``), and gives a dict of
weighted scalar losses. It knows no head; it asks for what its losses take by name. Objectives are
modules, so that what they keep between iterations travels in checkpoints.
"""

from typing import Any

from rebalance.config.bind import bind_part
from rebalance.config.options import objectives as options_of
from rebalance.detectors.objectives.base import Objective, is_loss, total_loss
from rebalance.detectors.objectives.coupled import CoupledRanking
from rebalance.detectors.objectives.linear import Linear, Term
from rebalance.detectors.objectives.ranking import Ranking


def make_objective(name: str, **options: Any) -> Objective:
    """The objective of that name; its other settings are tasks and options.

    Raises:
        InputError: unknown name, or settings that it does not take.
    """
    objective: Objective = bind_part(options_of.Objective, name, options)()
    return objective


__all__ = [
    "CoupledRanking",
    "Linear",
    "Objective",
    "Ranking",
    "Term",
    "is_loss",
    "make_objective",
    "total_loss",
]
