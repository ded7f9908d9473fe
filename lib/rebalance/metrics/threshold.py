"""LRP-optimal thresholds applied to detections (thesis 5.5.3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rebalance.errors import InputError
from rebalance.inputs import read_json
from rebalance.metrics.annotations import Source
from rebalance.metrics.records import (
    Record,
    column,
    integer_column,
    number_column,
    refuse,
)

UNDEFINED = ("drop", "keep")


def optimal_thresholds(metrics: Source | Mapping[str, Any]) -> dict[int, float]:
    """Category id -> LRP-optimal threshold of a metrics.json; nan where it is undefined."""
    name, content = "metrics", metrics
    if isinstance(metrics, str | Path):
        name, content = str(metrics), read_json(metrics)
    rows = content.get("per_class") if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise InputError(f"{name}: per_class must be a list, as rebalance evaluate writes it")
    label = f"{name}: per_class"
    ids = integer_column(label, rows, "category_id").tolist()
    thresholds = column(label, rows, "threshold")
    for index, value in enumerate(thresholds):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise refuse(label, index, "threshold", value, "a number or null")
    values = (float("nan") if value is None else float(value) for value in thresholds)
    return dict(zip(ids, values, strict=True))


def apply_thresholds(
    metrics: Source | Mapping[str, Any],
    dt: Source | Sequence[Record],
    undefined: str = "drop",
) -> list[Record]:
    """The detections that score at least their class's LRP-optimal threshold, in the file's order.

    Args:
        metrics: what ``rebalance evaluate`` gave, or its file; of a validation set, for use on
            other images.
        dt: COCO results.
        undefined: what becomes of classes without a threshold (no true positive at any threshold,
            or no ground truth): "drop" or "keep" their detections.

    Raises:
        InputError: a file or an argument at fault; a detection of a class that metrics lacks.
    """
    if undefined not in UNDEFINED:
        raise InputError(f"undefined must be one of {UNDEFINED}, got {undefined!r}")
    name, records = "detections", dt
    if isinstance(dt, str | Path):
        name, records = str(dt), read_json(dt)
    if not isinstance(records, list):
        raise InputError(f"{name}: must be a list of results, got {type(records).__name__}")
    label = f"{name}: results"
    thresholds = optimal_thresholds(metrics)
    scores = number_column(label, records, "score")
    categories = integer_column(label, records, "category_id").tolist()
    for index, category in enumerate(categories):
        if category not in thresholds:
            raise refuse(label, index, "category_id", category, "a class of the metrics file")
    limits = np.array([thresholds[category] for category in categories])
    kept = np.where(np.isnan(limits), undefined == "keep", scores >= limits)
    return [record for record, keep in zip(records, kept, strict=True) if keep]
