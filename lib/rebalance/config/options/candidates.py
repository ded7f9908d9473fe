"""Candidates of a dense step: the boxes or points that it starts from."""

from typing import Annotated

from annotated_types import Len

from rebalance.config.bounds import Count, Positive
from rebalance.config.part import Part


class CandidateGrid(Part, noun="candidates"):
    """Maps -> candidates, the same for each cell."""


class Anchors(CandidateGrid, name="anchors", makes="rebalance.detectors.anchors:AnchorGrid"):
    """Boxes of a few sizes and aspect ratios around each cell."""

    base_scale: Positive = 4.0
    """Side of the smallest anchor of a level, in strides."""
    scales_per_octave: Count = 3
    """Sizes per level."""
    ratios: Annotated[list[Positive], Len(1)] = [0.5, 1.0, 2.0]
    """Heights over widths."""
