"""The answer of every RoI source."""

from typing import NamedTuple

from torch import Tensor


class Rois(NamedTuple):
    """RoIs of one image that a stage trains on.

    Attributes:
        boxes: [N, 4] xyxy, pixels; the proposals first.
        num_proposals: how many of them are proposals. Only these are refined for the next stage,
            which asks the source for the others again.
        has_truths: the others are the ground truths, in order; each belongs to itself, whatever
            the assigner does with the proposals.
    """

    boxes: Tensor
    num_proposals: int
    has_truths: bool = False
