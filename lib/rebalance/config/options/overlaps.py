"""Overlaps of candidates and ground truths that an assigner may go by."""

from typing import Literal

from rebalance.config.bounds import Positive, Share
from rebalance.config.part import Part


class Overlap(Part, noun="overlap"):
    """Pairwise: every candidate with every ground truth."""


class IouOverlap(Overlap, name="iou", makes="rebalance.assigners.overlaps:pairwise_iou"):
    """Intersection over union."""


class GgiouOverlap(Overlap, name="ggiou", makes="rebalance.boxes:pairwise_ggiou"):
    """IoU and the distance of the centres (GGIoU paper, Eq. 2-4)."""

    alpha: Share = 0.3
    """Share of the centre distance; 0 gives IoU."""
    beta: Positive = 1 / 6
    """Standard deviation of the Gaussian, in widths and heights of ``sigma_from``."""
    sigma_from: Literal["overlap", "boxes2"] = "overlap"
    """What beta is measured in: the overlap (Eq. 3) or the ground truth (Table 1)."""
