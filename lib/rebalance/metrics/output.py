"""Metrics in files: JSON, in which undefined is ``null``, a per-class CSV and a summary."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rebalance.config.reading import load_yaml
from rebalance.errors import InputError
from rebalance.inputs import read_json


def to_json(content: Any) -> str:
    """JSON text in which nan is ``null``."""
    return json.dumps(_nan_to_none(content), indent=1, allow_nan=False) + "\n"


def read_metrics(path: Path, names: Sequence[str], of: str | None = None) -> dict[str, float]:
    """The named numbers of one metrics.json or the like; null (undefined) becomes nan.

    Args:
        path: JSON, or YAML by its suffix.
        names: keys; a point leads one level down: ``correlation.Spearman``.
        of: the class, or of panoptic metrics the group of classes, whose numbers are wanted; None:
            those of all.

    Raises:
        InputError: no such file, not JSON, no such class, or a metric is absent or not a number.
    """
    content = load_yaml(path) if path.suffix == ".yaml" else read_json(path, "file of metrics")
    if of is not None:
        groups = {row["name"]: row for row in content["per_class"]} | content
        if of not in groups:
            raise InputError(f"{path}: no class {of!r}, it has {sorted(groups)}")
        content = groups[of]
    return numbers_of(content, names, str(path))


def numbers_of(content: Any, names: Sequence[str], where: str) -> dict[str, float]:
    """As ``read_metrics``, of what was read already; ``where`` begins messages.

    Raises:
        InputError: a metric is absent or not a number.
    """
    values = {}
    for name in names:
        value = content
        for key in name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise InputError(f"{where}: no metric {name!r}, it has {sorted(content)}")
            value = value[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(f"{where}: {name} must be a number or null, got {value!r}")
        values[name] = float("nan") if value is None else float(value)
    return values


def per_class_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line per class under one header; undefined values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_nan_to_none(list(rows)))
    return text.getvalue()


def summary(metrics: dict[str, Any]) -> str:
    """One line per number, in percent, as the tables of the works show them."""
    numbers = {key: value for key, value in metrics.items() if isinstance(value, float)}
    width = max(map(len, numbers)) + 1
    return "\n".join(
        f"{key:<{width}}{'undefined' if value != value else f'{100 * value:6.1f}'}"
        for key, value in numbers.items()
    )


def _nan_to_none(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _nan_to_none(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_nan_to_none(value) for value in content]
    if isinstance(content, float) and content != content:
        return None
    return content
