"""Assigners: which ground truth, if any, each anchor or proposal belongs to."""

from collections.abc import Callable
from typing import Any

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment, count_all
from rebalance.config.bind import bind_part
from rebalance.config.options import assigners as options_of

Assigner = Callable[..., Assignment]


def make_assigner(name: str, **options: Any) -> Assigner:
    """The assigner of that name with its options bound.

    It is called as ``assigner(boxes, gt_boxes, gt_labels, ignored_boxes=..., level_sizes=...,
    costs=..., image_size=..., image=...)``; each takes what it needs and accepts all.

    Raises:
        InputError: unknown name or option, or a value that is not allowed.
    """
    return bind_part(options_of.Assigner, name, options)


__all__ = [
    "IGNORED",
    "NEGATIVE",
    "Assigner",
    "Assignment",
    "count_all",
    "make_assigner",
]
