"""Box coders: what a head regresses."""

from typing import Annotated

from annotated_types import Len

from rebalance.config.bounds import Positive
from rebalance.config.part import Part


class Coder(Part, noun="box coder"):
    """Boxes <-> what a head predicts of them."""


class Deltas(Coder, name="deltas", makes="rebalance.detectors.box_coder:BoxCoder"):
    """Shifts in units of the reference's sides, log size ratios (Girshick et al., 2014)."""

    weights: Annotated[list[Positive], Len(4, 4)] = [1.0, 1.0, 1.0, 1.0]
    """Factors of the four deltas."""
