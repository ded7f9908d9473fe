"""Assigners: which ground truth, if any, each anchor or proposal belongs to."""

from collections.abc import Callable
from typing import Any

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment, count_all
from rebalance.assigners.atss import assign_atss
from rebalance.assigners.foveabox import assign_foveabox
from rebalance.assigners.max_iou import assign_max_iou
from rebalance.assigners.paa import assign_paa
from rebalance.assigners.ssd import assign_ssd
from rebalance.lookup import bind_options

Assigner = Callable[..., Assignment]

ASSIGNERS: dict[str, Assigner] = {
    "max_iou": assign_max_iou,
    "atss": assign_atss,
    "paa": assign_paa,
    "foveabox": assign_foveabox,
    "ssd": assign_ssd,
}


def make_assigner(name: str, **options: Any) -> Assigner:
    """The assigner of that name with its options bound.

    It is called as ``assigner(boxes, gt_boxes, gt_labels, ignored_boxes=..., level_sizes=...,
    costs=..., image_size=..., image=...)``; each takes what it needs and accepts all.

    Raises:
        InputError: unknown name or option.
    """
    return bind_options("assigner", ASSIGNERS, name, options)


__all__ = [
    "ASSIGNERS",
    "IGNORED",
    "NEGATIVE",
    "Assigner",
    "Assignment",
    "count_all",
    "make_assigner",
]
