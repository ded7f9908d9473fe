"""From scored candidates to detections: choices per level, suppression, votes, merged passes.

All functions take a batch laid flat and return rows into what they were given (and scores or boxes
where the method changes them), so that masks and coefficients can follow.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rebalance.config.bind import bind_part
from rebalance.config.options import select as options_of
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
from rebalance.detectors.select.views import Augmentation, View
from rebalance.detectors.select.voting import score_voting

Suppression = Callable[..., tuple[Tensor, Tensor]]
"""(boxes or masks, scores, groups) -> (rows, scores); masks of one image."""


def make_suppression(name: str, **options: Any) -> Suppression:
    """The suppression of that name with its options bound; unknown name or option: InputError."""
    return bind_part(options_of.Suppression, name, options)


__all__ = [
    "CHOICES",
    "Augmentation",
    "Suppression",
    "View",
    "best_anchors",
    "best_of_classes",
    "best_of_groups",
    "best_pairs",
    "box_rows_of_size",
    "fast_nms",
    "make_suppression",
    "matrix_nms",
    "nms",
    "score_voting",
    "select_proposals",
    "soft_nms",
    "top_of_levels",
]
