"""Panoptic segmentation: PQ (Kirillov et al., CVPR 2019) and LRP (thesis 5.7.3).

Files are COCO's: a JSON that lists each image's segments, and a PNG per image whose colour is the
segment's id (R + 256 G + 65536 B, 0 is void).

- A predicted and an annotated segment of one class match if their IoU exceeds tau, at least 1/2, so
  that a segment has at most one match. Pixels that are void in the ground truth are no part of the
  prediction in that IoU.
- Crowd segments are no false negatives. An unmatched prediction is no false positive if more than
  half of it is void or crowd of its own class.
- Averages: PQ, its parts and LRP over the classes with ground truth or predictions; the LRP
  components over the classes where they are defined. SQ of a class without a true positive counts
  as 0, as in the published evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rebalance.errors import InputError
from rebalance.inputs import check_is_file, is_inside, read_json
from rebalance.metrics.lrp import lrp_error, mean_of_defined
from rebalance.metrics.records import (
    Record,
    column,
    flag_column,
    integer_column,
    positions_of,
    refuse,
    unique_ids,
)

VOID = 0
GROUPS = ("All", "Things", "Stuff")


@dataclass
class PanopticCounts:
    """Per class, in the order of the class ids: counts float64 [K] and the IoUs of the matches."""

    n_tp: NDArray[np.float64]
    n_fp: NDArray[np.float64]
    n_fn: NDArray[np.float64]
    iou_sum: NDArray[np.float64]

    @classmethod
    def zeros(cls, num_classes: int) -> "PanopticCounts":
        """Nothing seen yet."""
        return cls(*(np.zeros(num_classes) for _ in range(4)))


@dataclass(frozen=True)
class Segments:
    """The segments of one image.

    Attributes:
        ids: int64 [S], ascending.
        classes: int64 [S], position among the class ids.
        crowd: bool [S].
    """

    ids: NDArray[np.int64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]


def evaluate_panoptic(
    gt: str | Path,
    dt: str | Path,
    gt_folder: str | Path | None = None,
    dt_folder: str | Path | None = None,
    tau: float = 0.5,
) -> dict[str, Any]:
    """PQ and LRP of panoptic predictions, for all classes, things and stuff; undefined is nan.

    Args:
        gt: COCO panoptic JSON.
        dt: predictions, COCO panoptic JSON with an entry for each image of ``gt``.
        gt_folder, dt_folder: their PNGs; the JSON's path without its suffix unless given.
        tau: IoU that a match must exceed, in [0.5, 1).

    Returns:
        ``All``, ``Things`` and ``Stuff``, each with ``PQ, SQ, RQ, LRP, LRP_Loc, LRP_FP, LRP_FN``
        and the number of classes ``N``; and ``per_class``, a list of dicts of the same keys and
        ``category_id, name, isthing, N_TP, N_FP, N_FN``.

    Raises:
        InputError: a file or an argument at fault.
    """
    if not 0.5 <= tau < 1:
        raise InputError(f"tau must be in [0.5, 1) for panoptic segmentation, got {tau}")
    gt, dt = Path(gt), Path(dt)
    truth, prediction = _read_panoptic(gt), _read_panoptic(dt)
    categories = _categories(gt, truth)
    class_ids = np.array([category["id"] for category in categories])
    predicted = {entry["image_id"]: (n, entry) for n, entry in enumerate(prediction["annotations"])}
    counts = PanopticCounts.zeros(len(class_ids))
    for index, entry in enumerate(truth["annotations"]):
        if entry["image_id"] not in predicted:
            raise InputError(f"{dt}: annotations: has no entry for image_id {entry['image_id']}")
        other_index, other = predicted[entry["image_id"]]
        truth_pixels = _read_png(gt, index, entry, gt_folder)
        pixels = _read_png(dt, other_index, other, dt_folder)
        if truth_pixels.shape != pixels.shape:
            raise refuse(
                f"{dt}: annotations",
                other_index,
                "file_name",
                f"{other['file_name']} of shape {pixels.shape}",
                f"of the ground truth's shape {truth_pixels.shape}",
            )
        count_matches(
            counts,
            truth_pixels,
            _segments(gt, index, entry, class_ids, truth_pixels),
            pixels,
            _segments(dt, other_index, other, class_ids, pixels),
            tau,
        )
    return _report(counts, categories, tau)


def count_matches(
    counts: PanopticCounts,
    truth_pixels: NDArray[np.int64],
    truth: Segments,
    pixels: NDArray[np.int64],
    predicted: Segments,
    tau: float = 0.5,
) -> None:
    """Add one image to ``counts``.

    Args:
        counts: changed in place.
        truth_pixels, pixels: int64 [H, W], the segment id of every pixel, VOID for none.
        truth, predicted: the segments; every id but VOID in the pixels is listed.
        tau: IoU that a match must exceed.
    """
    overlap = _overlaps(truth_pixels, truth.ids, pixels, predicted.ids)  # [1 + S, 1 + P]
    inter, on_void = overlap[1:, 1:], overlap[0, 1:]
    truth_area, area = overlap[1:].sum(axis=1), overlap[:, 1:].sum(axis=0)
    union = truth_area[:, None] + area - inter - on_void
    same_class = truth.classes[:, None] == predicted.classes
    iou = inter / np.maximum(union, 1)
    match = (iou > tau) & same_class & ~truth.crowd[:, None]
    matched_truth = np.nonzero(match)[0]
    num_classes = len(counts.n_tp)

    def per_class(classes: NDArray[np.int64], weights: Any = None) -> NDArray[np.float64]:
        return np.bincount(classes, weights, num_classes).astype(np.float64)

    counts.n_tp += per_class(truth.classes[matched_truth])
    counts.iou_sum += per_class(truth.classes[matched_truth], iou[match])
    missed = ~match.any(axis=1) & ~truth.crowd
    counts.n_fn += per_class(truth.classes[missed])
    on_crowd = (inter * (same_class & truth.crowd[:, None])).sum(axis=0)
    excused = (on_void + on_crowd) / np.maximum(area, 1) > 0.5
    counts.n_fp += per_class(predicted.classes[~match.any(axis=0) & ~excused])


def panoptic_quality(
    iou_sum: NDArray[np.float64],
    n_tp: NDArray[np.float64],
    n_fp: NDArray[np.float64],
    n_fn: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """PQ, SQ and RQ (Eq. 5.1; PQ = SQ x RQ); nan with nothing to compare, SQ 0 without TP."""
    total = n_tp + n_fp / 2 + n_fn / 2
    nothing = total == 0
    total = np.where(nothing, 1, total)
    segmentation = iou_sum / np.maximum(n_tp, 1)
    values = (iou_sum / total, segmentation, n_tp / total)
    pq, sq, rq = (np.where(nothing, np.nan, value) for value in values)
    return pq, sq, rq


def _overlaps(
    truth_pixels: NDArray[np.int64],
    truth_ids: NDArray[np.int64],
    pixels: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Pixels that each truth segment (row) shares with each prediction (column); void is first."""
    row = np.searchsorted(np.r_[VOID, truth_ids], truth_pixels.ravel())
    col = np.searchsorted(np.r_[VOID, ids], pixels.ravel())
    shape = (len(truth_ids) + 1, len(ids) + 1)
    return np.bincount(row * shape[1] + col, minlength=shape[0] * shape[1]).reshape(shape)


def _report(counts: PanopticCounts, categories: Sequence[Record], tau: float) -> dict[str, Any]:
    pq, sq, rq = panoptic_quality(counts.iou_sum, counts.n_tp, counts.n_fp, counts.n_fn)
    lrp = lrp_error(counts.n_tp - counts.iou_sum, counts.n_tp, counts.n_fp, counts.n_fn, tau)
    values = {
        "PQ": pq,
        "SQ": sq,
        "RQ": rq,
        "LRP": lrp.lrp,
        "LRP_Loc": lrp.loc,
        "LRP_FP": lrp.fp,
        "LRP_FN": lrp.fn,
    }
    is_thing = np.array([bool(category["isthing"]) for category in categories])
    report: dict[str, Any] = {}
    for group, members in zip(GROUPS, (np.ones_like(is_thing), is_thing, ~is_thing), strict=True):
        report[group] = {key: mean_of_defined(value[members]) for key, value in values.items()} | {
            "N": int((~np.isnan(lrp.lrp[members])).sum())
        }
    report["settings"] = {"tau": tau}
    report["per_class"] = [
        {
            "category_id": int(category["id"]),
            "name": str(category.get("name", category["id"])),
            "isthing": int(is_thing[k]),
            **{key: float(value[k]) for key, value in values.items()},
            "N_TP": int(counts.n_tp[k]),
            "N_FP": int(counts.n_fp[k]),
            "N_FN": int(counts.n_fn[k]),
        }
        for k, category in enumerate(categories)
    ]
    return report


def _read_panoptic(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise InputError(f"{path}: must be an object with a list of annotations")
    name = f"{path}: annotations"
    unique_ids(name, content["annotations"], "image_id")
    for index, value in enumerate(column(name, content["annotations"], "file_name")):
        if not is_inside(value):
            raise refuse(name, index, "file_name", value, "the name of a PNG in the folder")
    for index, value in enumerate(column(name, content["annotations"], "segments_info")):
        if not isinstance(value, list):
            raise refuse(name, index, "segments_info", value, "a list")
    return content


def _categories(path: Path, content: dict[str, Any]) -> list[Record]:
    """The ground truth's categories by rising id."""
    categories = content.get("categories")
    if not isinstance(categories, list) or not categories:
        raise InputError(f"{path}: categories must be a list that is not empty")
    name = f"{path}: categories"
    order = np.argsort(unique_ids(name, categories))
    column(name, categories, "isthing")
    return [categories[index] for index in order]


def _segments(
    path: Path,
    index: int,
    entry: Record,
    class_ids: NDArray[np.int64],
    pixels: NDArray[np.int64],
) -> Segments:
    """The segments of an entry, which must be exactly the ids in its picture."""
    name = f"{path}: annotations[{index}].segments_info"
    records = entry["segments_info"]
    ids = unique_ids(name, records)
    category = integer_column(name, records, "category_id")
    classes = positions_of(name, "category_id", category, class_ids, "categories")
    painted = np.setdiff1d(pixels, [VOID])
    for segment in np.setdiff1d(painted, ids)[:1]:
        raise InputError(f"{name}: does not list segment {segment} of {entry['file_name']}")
    for segment in np.setdiff1d(ids, painted)[:1]:
        at = int(np.flatnonzero(ids == segment)[0])
        raise refuse(name, at, "id", int(segment), f"a colour in {entry['file_name']}")
    order = np.argsort(ids)
    return Segments(ids[order], classes[order], flag_column(records, "iscrowd")[order])


def _read_png(
    path: Path, index: int, entry: Record, folder: str | Path | None
) -> NDArray[np.int64]:
    """int64 [H, W], the segment id of every pixel."""
    file = Path(folder if folder is not None else path.with_suffix("")) / entry["file_name"]
    name = f"{path}: annotations"
    try:
        check_is_file(file, "PNG")
        with Image.open(file) as image:
            mode, colours = image.mode, np.asarray(image, dtype=np.int64)
    # What Pillow reports damage by, see ``read_image``.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise refuse(name, index, "file_name", str(file), f"a readable PNG ({error})") from error
    if mode != "RGB":
        raise refuse(name, index, "file_name", f"{file} of mode {mode}", "an RGB PNG")
    return colours @ np.array([1, 1 << 8, 1 << 16])
