"""Assigners: which ground truth, if any, each anchor or proposal belongs to."""

from collections.abc import Callable
from typing import Any

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment
from rebalance.assigners.max_iou import assign_max_iou
from rebalance.lookup import bind_options

Assigner = Callable[..., Assignment]

ASSIGNERS: dict[str, Assigner] = {
    "max_iou": assign_max_iou,
}


def make_assigner(name: str, **options: Any) -> Assigner:
    """The assigner of that name with its options bound.

    It is called as ``assigner(boxes, gt_boxes, gt_labels, ignored_boxes=..., level_sizes=...,
    costs=..., image_size=..., image=...)``; each takes what it needs and accepts all.

    Raises:
        InputError: unknown name or option.
    """
    return bind_options("assigner", ASSIGNERS, name, options)


__all__ = ["ASSIGNERS", "IGNORED", "NEGATIVE", "Assigner", "Assignment", "make_assigner"]
