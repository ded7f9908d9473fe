"""Box coders: what a head regresses."""

from typing import Annotated

from annotated_types import Gt, Len

from rebalance.config.bounds import Positive
from rebalance.config.part import Part


class Coder(Part, noun="box coder"):
    """Boxes <-> what a head predicts of them."""


class Deltas(Coder, name="deltas", makes="rebalance.detectors.coders.deltas:DeltaCoder"):
    """Shifts in units of the reference's sides, log size ratios (Girshick et al., 2014)."""

    weights: Annotated[list[Positive], Len(4, 4)] = [1.0, 1.0, 1.0, 1.0]
    """Factors of the four deltas."""
    two_sided: bool = False
    """Whether decoding limits how much a side shrinks, too (mmdetection)."""


class Distances(
    Coder, name="distances", makes="rebalance.detectors.coders.distances:DistanceCoder"
):
    """Logarithms of the distances of a point to the four sides (FoveaBox)."""

    limit: Annotated[float, Gt(1)] = 16.0
    """Encoded distances are cut to [1 / limit, limit] units."""
