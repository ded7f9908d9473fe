"""From scored candidates to detections: choices per level, suppression, votes, merged passes.

All functions take a batch laid flat and return rows into what they were given (and scores or boxes
where the method changes them), so that masks and coefficients can follow.
"""

from collections.abc import Callable
from functools import wraps

from torch import Tensor

from rebalance.detectors.select.grouping import best_of_groups
from rebalance.detectors.select.levels import (
    CHOICES,
    best_anchors,
    best_of_classes,
    best_pairs,
    top_of_levels,
)
from rebalance.detectors.select.matrix import matrix_nms
from rebalance.detectors.select.proposals import select_proposals
from rebalance.detectors.select.suppression import box_rows_of_size, fast_nms, nms, soft_nms
from rebalance.detectors.select.views import FLIPS, View
from rebalance.detectors.select.voting import VOTINGS, score_voting

Suppression = Callable[..., tuple[Tensor, Tensor]]


def _with_scores(suppress: Callable[..., Tensor]) -> Suppression:
    @wraps(suppress)
    def rows_and_scores(
        boxes: Tensor, scores: Tensor, groups: Tensor, **options: float
    ) -> tuple[Tensor, Tensor]:
        rows = suppress(boxes, scores, groups, **options)
        return rows, scores[rows]

    return rows_and_scores


# Suppressions of boxes by the name a configuration calls them, all (boxes, scores, groups) ->
# (rows, scores): what one does is the same to whoever uses it.
SUPPRESSIONS: dict[str, Suppression] = {
    "nms": _with_scores(nms),
    "soft_nms": soft_nms,
    "fast_nms": _with_scores(fast_nms),
}

# Those of masks, (masks, scores, groups) -> (rows, scores), one image at a time.
MASK_SUPPRESSIONS: dict[str, Suppression] = {"matrix_nms": matrix_nms}

__all__ = [
    "CHOICES",
    "FLIPS",
    "MASK_SUPPRESSIONS",
    "SUPPRESSIONS",
    "VOTINGS",
    "Suppression",
    "View",
    "best_anchors",
    "best_of_classes",
    "best_of_groups",
    "best_pairs",
    "box_rows_of_size",
    "fast_nms",
    "matrix_nms",
    "nms",
    "score_voting",
    "select_proposals",
    "soft_nms",
    "top_of_levels",
]
