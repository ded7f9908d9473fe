"""Evaluation of a detections file: COCO's AP and AR, and LRP, overall and per class."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.annotations import Source, load_detections, load_ground_truth
from rebalance.metrics.evaluation import AREAS_OF_TYPE, Evaluation
from rebalance.metrics.lrp import EQUAL_WEIGHTS, OPERATING_POINTS, Weights, optimal_lrp
from rebalance.metrics.precision_recall import (
    COCO_THRESHOLDS,
    interpolated_average_precision,
    precision_recall,
)
from rebalance.metrics.quality import BOX_QUALITIES, BoxQuality
from rebalance.metrics.records import Record

MAX_DETS = {"bbox": (1, 10, 100), "segm": (1, 10, 100), "keypoints": (20,)}
AREA_SUFFIXES = {"small": "S", "medium": "M", "large": "L"}
PER_CLASS_ONLY = ("threshold", "N_TP", "N_FP", "N_FN", "N_GT")
Columns = dict[str, NDArray[np.float64]]


def evaluate(
    gt: Source | Record,
    dt: Source | Sequence[Record],
    iou_type: str = "bbox",
    tau: float = 0.5,
    ious: Sequence[float] = (),
    max_dets: Sequence[int] | None = None,
    operating_points: str = "detections",
    weights: Weights = EQUAL_WEIGHTS,
    quality: str | BoxQuality = "iou",
    sigmas: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Every metric of a detections file; values in [0, 1], undefined is nan.

    Args:
        gt: COCO instances (or person keypoints) file, or its content.
        dt: COCO results file, or its content; an empty list is a result.
        iou_type: "bbox", "segm" or "keypoints".
        tau: the localisation quality a true positive of LRP needs, in (0, 1).
        ious: thresholds in (0, 1) whose ``AP<100 t>`` is wanted too: 0.6 gives AP60.
        max_dets: detections counted per class and image, rising; ``AR<n>`` is reported for each,
            all else for the last. COCO's (1, 10, 100), and (20,) for keypoints, unless given.
        operating_points: "detections" as in the published LRP code, or "scores", which keeps
            detections of equal score together.
        weights: importance of localisation, false positives and false negatives in LRP (Eq. E.1).
        quality: localisation quality of LRP for bbox: a name in ``BOX_QUALITIES`` or a function of
            two float64 [N, 4] xyxy paired by row to [N] in [0, 1]. AP and AR stay with the IoU.
        sigmas: OKS deviations, one per keypoint, needed unless there are COCO's 17.

    Returns:
        ``AP, AP50, AP75, APS, APM, APL, AR1, AR10, AR100, ARS, ARM, ARL`` (keypoints: ``AP, AP50,
        AP75, APM, APL, AR, AR50, AR75, ARM, ARL``), ``oLRP, oLRP_Loc, oLRP_FP, oLRP_FN, oLRPS,
        oLRPM, oLRPL``, the ``AP<t>`` asked for, ``settings``, and ``per_class``: a list of dicts of
        ``category_id, name``, the same keys, the LRP-optimal ``threshold``, and ``N_TP, N_FP,
        N_FN`` there; ``N_GT`` is the number of ground truths that count.

    Raises:
        InputError: a file or an argument at fault.
    """
    max_dets = _check_arguments(iou_type, tau, ious, max_dets, operating_points)
    box_quality = _box_quality(quality, iou_type)
    ground_truth = load_ground_truth(gt, iou_type)
    detections = load_detections(dt, ground_truth, iou_type, max_dets[-1])
    thresholds = [_nearest_coco(t) for t in (*COCO_THRESHOLDS, *ious, tau)]
    matched = Evaluation(ground_truth, detections, iou_type, thresholds, sigmas=sigmas)
    matched_for_lrp = matched
    if box_quality is not None:
        matched_for_lrp = Evaluation(ground_truth, detections, iou_type, [tau], box_quality)
    columns = {
        **average_precision_and_recall(matched, iou_type, [0.5, 0.75, *ious], max_dets),
        **optimal_lrps(matched_for_lrp, tau, operating_points, weights),
    }
    return {
        **{
            key: mean_of_defined(column)
            for key, column in columns.items()
            if key not in PER_CLASS_ONLY
        },
        "settings": {
            "iou_type": iou_type,
            "tau": tau,
            "max_dets": list(max_dets),
            "operating_points": operating_points,
            "weights": asdict(weights),
            "quality": quality if isinstance(quality, str) else "custom",
        },
        "per_class": _rows(ground_truth.class_ids, ground_truth.class_names, columns),
    }


def average_precision_and_recall(
    evaluation: Evaluation, iou_type: str, ap_at: Sequence[float], max_dets: Sequence[int]
) -> Columns:
    """COCO's AP and AR of every class, under COCO's names; float64 [K] each."""
    precisions, recalls = zip(
        *(_class_tables(evaluation, k, max_dets) for k in range(evaluation.num_classes)),
        strict=True,
    )
    ap, ar = np.stack(precisions, axis=2), np.stack(recalls, axis=2)  # [A, T, K], [A, T, K, M]
    coco = [evaluation.threshold_index(t) for t in COCO_THRESHOLDS]
    small_to_large = [(a, area) for a, area in enumerate(evaluation.areas) if area != "all"]
    columns = {"AP": ap[0, coco].mean(axis=0)}
    for threshold in ap_at:
        columns[_ap_name(threshold)] = ap[0, evaluation.threshold_index(threshold)]
    for a, area in small_to_large:
        columns[f"AP{AREA_SUFFIXES[area]}"] = ap[a, coco].mean(axis=0)
    if iou_type == "keypoints":
        columns["AR"] = ar[0, coco, :, -1].mean(axis=0)
        for threshold in (0.5, 0.75):
            name = _ap_name(threshold).replace("AP", "AR")
            columns[name] = ar[0, evaluation.threshold_index(threshold), :, -1]
    else:
        for m, count in enumerate(max_dets):
            columns[f"AR{count}"] = ar[0, coco, :, m].mean(axis=0)
    for a, area in small_to_large:
        columns[f"AR{AREA_SUFFIXES[area]}"] = ar[a, coco, :, -1].mean(axis=0)
    return columns


def optimal_lrps(
    evaluation: Evaluation,
    tau: float = 0.5,
    operating_points: str = "detections",
    weights: Weights = EQUAL_WEIGHTS,
) -> Columns:
    """oLRP, its components, threshold and counts of every class; float64 [K] each."""
    columns: dict[str, list[float]] = {}
    for area in evaluation.areas:
        for k in range(evaluation.num_classes):
            matches = evaluation.class_matches(k, tau, area)
            optimum = optimal_lrp(matches.s_lrp(tau, operating_points, weights), matches.num_gt)
            if area != "all":
                columns.setdefault(f"oLRP{AREA_SUFFIXES[area]}", []).append(optimum.olrp)
                continue
            for name, value in (
                ("oLRP", optimum.olrp),
                ("oLRP_Loc", optimum.loc),
                ("oLRP_FP", optimum.fp),
                ("oLRP_FN", optimum.fn),
                ("threshold", optimum.threshold),
                ("N_TP", optimum.n_tp),
                ("N_FP", optimum.n_fp),
                ("N_FN", optimum.n_fn),
                ("N_GT", matches.num_gt),
            ):
                columns.setdefault(name, []).append(value)
    return {name: np.asarray(values) for name, values in columns.items()}


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan if none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _class_tables(
    evaluation: Evaluation, class_index: int, max_dets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AP [A, T] and recall [A, T, M] of one class; nan in area ranges without ground truth."""
    order = evaluation.by_score(class_index)
    ranks = evaluation.detections.ranks[order]
    shape = (len(evaluation.areas), len(evaluation.thresholds))
    ap, recalls = np.full(shape, np.nan), np.full((*shape, len(max_dets)), np.nan)
    for a, area in enumerate(evaluation.areas):
        num_gt = evaluation.num_ground_truths(class_index, area)
        if not num_gt:
            continue
        true_positives = evaluation.matching.true_positives[a][:, order]
        ignored = evaluation.matching.ignored[a][:, order]
        precision, recall = precision_recall(true_positives, ~true_positives & ~ignored, num_gt)
        ap[a] = [
            interpolated_average_precision(*curve) for curve in zip(precision, recall, strict=True)
        ]
        for m, count in enumerate(max_dets):
            recalls[a, :, m] = true_positives[:, ranks < count].sum(axis=1) / num_gt
    return ap, recalls


def _rows(
    class_ids: NDArray[np.int64], class_names: Sequence[str], columns: Columns
) -> list[dict[str, Any]]:
    """One dict per class; counts as integers."""
    return [
        {
            "category_id": int(class_id),
            "name": name,
            **{
                key: int(values[k]) if key.startswith("N_") else float(values[k])
                for key, values in columns.items()
            },
        }
        for k, (class_id, name) in enumerate(zip(class_ids, class_names, strict=True))
    ]


def _check_arguments(
    iou_type: str,
    tau: float,
    ious: Sequence[float],
    max_dets: Sequence[int] | None,
    operating_points: str,
) -> tuple[int, ...]:
    """Refuse what has no meaning; the numbers of detections to count."""
    if iou_type not in AREAS_OF_TYPE:
        raise InputError(f"iou_type must be one of {tuple(AREAS_OF_TYPE)}, got {iou_type!r}")
    for name, threshold in [("tau", tau), *(("ious", t) for t in ious)]:
        if not 0 < threshold < 1:
            raise InputError(f"{name} must be in (0, 1), got {threshold}")
    if operating_points not in OPERATING_POINTS:
        raise InputError(
            f"operating_points must be one of {OPERATING_POINTS}, got {operating_points!r}"
        )
    if max_dets is None:
        return MAX_DETS[iou_type]
    if not max_dets or min(max_dets) < 1 or list(max_dets) != sorted(set(max_dets)):
        raise InputError(f"max_dets must be positive and rising, got {list(max_dets)}")
    return tuple(max_dets)


def _box_quality(quality: str | BoxQuality, iou_type: str) -> BoxQuality | None:
    """The function that replaces the IoU in LRP; None for the IoU type's own quality."""
    if quality == "iou":
        return None
    if iou_type != "bbox":
        raise InputError(f"quality is a function of boxes, but iou_type is {iou_type!r}")
    if not isinstance(quality, str):
        return quality
    if quality not in BOX_QUALITIES:
        raise InputError(f"quality must be one of {sorted(BOX_QUALITIES)}, got {quality!r}")
    return BOX_QUALITIES[quality]


def _nearest_coco(threshold: float) -> float:
    """COCO's own threshold where it is meant: 0.6 for its 0.6000000000000001."""
    nearest = COCO_THRESHOLDS[np.abs(COCO_THRESHOLDS - threshold).argmin()]
    return float(nearest) if abs(nearest - threshold) < 1e-9 else threshold


def _ap_name(threshold: float) -> str:
    """0.6 -> AP60, 0.625 -> AP62.5."""
    return f"AP{round(100 * threshold, 6):g}"
