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
from rebalance.metrics.matches import Matches

SIZES = {"S": "small", "M": "medium", "L": "large"}
MEANINGS = {
    "AP": "average precision, mean over IoU 0.5 to 0.95",
    "AP_uninterpolated": "the same, exact area under the curve",
    "AR": "recall, mean over IoU 0.5 to 0.95",
    "AR50": "recall at IoU 0.5",
    "AR75": "recall at IoU 0.75",
    "oLRP": "LRP error at the best threshold of each class",
    "oLRP_Loc": "mean 1 - IoU of the true positives there",
    "oLRP_FP": "1 - precision there",
    "oLRP_FN": "1 - recall there",
    "aLRP": "LRP error, mean over all score thresholds",
    "PR_error": "1 - precision x recall at the threshold of oLRP",
    "LRP": "LRP error",
    "LRP_Loc": "mean 1 - IoU of the true positives",
    "LRP_FP": "1 - precision",
    "LRP_FN": "1 - recall",
    "PQ": "panoptic quality, SQ x RQ",
    "SQ": "mean IoU of the true positives",
    "RQ": "F1 of the segments found",
}
"""Metric -> what it is, for the terminal."""


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


def summary(metrics: Mapping[str, Any]) -> str:
    """A line per number in percent, what it is beside it, grouped by which direction is better."""
    numbers = {key: value for key, value in metrics.items() if isinstance(value, float)}
    width = max(map(len, numbers)) + 1
    lines = []
    for direction, lower in (("higher", False), ("lower", True)):
        group = {key: value for key, value in numbers.items() if lower_is_better(key) == lower}
        lines += [f"in percent, {direction} is better:"] if group else []
        for key, value in group.items():
            shown = "undefined" if value != value else f"{100 * value:6.1f}"
            lines.append(f"{key:<{width}}{shown:<10}{meaning(key)}".rstrip())
    return "\n".join(lines)


def lower_is_better(name: str) -> bool:
    """Whether a metric is an error: LRP, its parts and averages, and PR_error."""
    return "LRP" in name or name.endswith("error")


def counts_line(matches: Matches) -> str:
    """How much was looked at: images, objects, detections."""
    objects = int(matches.regular[0].sum())
    ignored = len(matches.object_ids) - objects
    return (
        f"{len(matches.image_ids):,} images, {objects:,} objects of {matches.num_classes:,} classes"
        f"{f' ({ignored:,} more are ignored)' if ignored else ''}, {len(matches.scores):,} "
        f"detections (at most {matches.max_dets:,} of a class in an image)"
    )


def coco_lines(metrics: Mapping[str, Any], iou_type: str) -> str:
    """The lines that pycocotools prints: twelve of boxes and masks, ten of keypoints.

    Args:
        metrics: of :func:`rebalance.metrics.evaluate.evaluate`, with COCO's numbers of detections.
        iou_type: "bbox", "segm" or "keypoints".
    """
    return "\n".join(
        f" {'Average Precision' if name[:2] == 'AP' else 'Average Recall':<18} ({name[:2]}) @[ "
        f"IoU={iou:<9} | area={area:>6} | maxDets={max_dets:>3} ] = "
        f"{-1.0 if metrics[name] != metrics[name] else metrics[name]:0.3f}"
        for name, iou, area, max_dets in _coco_numbers(iou_type)
    )


def _coco_numbers(iou_type: str) -> list[tuple[str, str, str, int]]:
    """Name, IoU, area, detections of a class in an image."""
    mean = "0.50:0.95"
    if iou_type == "keypoints":
        most, letters = 20, "ML"
        recalls = [
            ("AR", mean, "all", 20),
            ("AR50", "0.50", "all", 20),
            ("AR75", "0.75", "all", 20),
        ]
    else:
        most, letters = 100, "SML"
        recalls = [(f"AR{count}", mean, "all", count) for count in (1, 10, 100)]
    return [
        ("AP", mean, "all", most),
        ("AP50", "0.50", "all", most),
        ("AP75", "0.75", "all", most),
        *((f"AP{letter}", mean, SIZES[letter], most) for letter in letters),
        *recalls,
        *((f"AR{letter}", mean, SIZES[letter], most) for letter in letters),
    ]


def meaning(name: str) -> str:
    """What a metric is, in a few words; "" of those that this file does not know."""
    if name.startswith("mask_"):
        return f"of masks: {meaning(name.removeprefix('mask_'))}"
    if name in MEANINGS:
        return MEANINGS[name]
    stem, rest = name[:2], name[2:]
    if name[:-1] in {"AP", "AR", "oLRP"} and name[-1] in SIZES:
        return f"{MEANINGS[name[:-1]]}, {SIZES[name[-1]]} objects"
    if stem == "AP" and rest:
        return f"average precision at IoU {float(rest) / 100:g}"
    if stem == "AR" and rest:
        return f"{MEANINGS['AR']}, {rest} detections of a class in an image"
    return ""


def _nan_to_none(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _nan_to_none(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_nan_to_none(value) for value in content]
    if isinstance(content, float) and content != content:
        return None
    return content
