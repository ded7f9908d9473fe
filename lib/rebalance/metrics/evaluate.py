"""Evaluation of a detections file: COCO's AP and AR, and LRP, overall and per class."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.annotations import Source, load_detections, load_ground_truth
from rebalance.metrics.correlation import score_quality_correlation, with_ranking
from rebalance.metrics.evaluation import AREAS_OF_TYPE, Evaluation
from rebalance.metrics.lrp import (
    EQUAL_WEIGHTS,
    OPERATING_POINTS,
    Weights,
    average_lrp,
    mean_of_defined,
    optimal_lrp,
)
from rebalance.metrics.matches import Matches, digest, matches_of
from rebalance.metrics.precision_recall import (
    COCO_THRESHOLDS,
    interpolated_average_precision,
    precision_recall,
    precision_recall_error,
    uninterpolated_average_precision,
)
from rebalance.metrics.quality import BOX_QUALITIES, BoxQuality
from rebalance.metrics.records import Record

MAX_DETS = {"bbox": (1, 10, 100), "segm": (1, 10, 100), "keypoints": (20,)}
AREA_SUFFIXES = {"small": "S", "medium": "M", "large": "L"}
CORRELATIONS = ("Pearson", "Spearman")
PER_CLASS_ONLY = ("threshold", "N_TP", "N_FP", "N_FN", "N_GT")
OPTIMUM_COLUMNS = {
    "oLRP": "olrp",
    "oLRP_Loc": "loc",
    "oLRP_FP": "fp",
    "oLRP_FN": "fn",
    "threshold": "threshold",
    "N_TP": "n_tp",
    "N_FP": "n_fp",
    "N_FN": "n_fn",
}
CLASS_KEYS = ("category_id", "name")
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
    ranking: str = "scores",
    threshold: float | None = None,
    sigmas: Sequence[float] | None = None,
    areas_of: str = "boxes",
    keep_matches: Callable[[Matches], object] | None = None,
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
        ranking: "scores", or a bound of thesis Table 7.4: see
            :func:`rebalance.metrics.correlation.with_ranking`.
        threshold: adds the LRP of the detections that score at least so much, taken as hard
            predictions, over the classes that have ground truth or detections then.
        sigmas: OKS deviations, one per keypoint, needed unless there are COCO's 17.
        areas_of: "boxes" or "masks", see :func:`rebalance.metrics.load_detections`.
        keep_matches: is given the compact records of the matching, by scores and IoU whatever
            ``ranking`` and ``quality`` are, for resampling without matching again.

    Returns:
        - ``AP, AP50, AP75, APS, APM, APL, AR1, AR10, AR100, ARS, ARM, ARL`` (keypoints: ``AP, AP50,
          AP75, APM, APL, AR, AR50, AR75, ARM, ARL``), the ``AP<t>`` asked for, and
          ``AP_uninterpolated`` (COCO's thresholds, exact area under the curve);
        - ``oLRP, oLRP_Loc, oLRP_FP, oLRP_FN, oLRPS, oLRPM, oLRPL``, ``aLRP`` (Eq. F.1) and
          ``PR_error``, 1 - precision x recall at the LRP-optimal threshold; with ``threshold`` also
          ``LRP, LRP_Loc, LRP_FP, LRP_FN``;
        - ``correlation``: ``Pearson`` and ``Spearman``, in [-1, 1], of score and quality over the
          true positives at ``tau``;
        - ``settings``, the arguments;
        - ``per_class``: a list of dicts of ``category_id``, ``name``, the same keys, the
          LRP-optimal ``threshold`` with ``N_TP, N_FP, N_FN`` there, and ``N_GT``, the ground truths
          that count.

    Raises:
        InputError: a file or an argument at fault.
    """
    max_dets = _check_arguments(iou_type, tau, ious, max_dets, operating_points)
    box_quality = _box_quality(quality, iou_type)
    ground_truth = load_ground_truth(gt, iou_type)
    detections = load_detections(dt, ground_truth, iou_type, max_dets[-1], areas_of)
    thresholds = [_nearest_coco(t) for t in (*COCO_THRESHOLDS, *ious, tau)]
    matched = Evaluation(ground_truth, detections, iou_type, thresholds, sigmas=sigmas)
    if keep_matches is not None:
        keep_matches(
            matches_of(matched, iou_type, max_dets[-1], areas_of, (digest(gt), digest(dt)))
        )
    matched_for_lrp = matched
    if box_quality is not None:
        matched_for_lrp = Evaluation(ground_truth, detections, iou_type, [tau], box_quality)
    ranked = with_ranking(matched, ranking)
    ranked_for_lrp = with_ranking(matched_for_lrp, ranking, tau)
    columns = {
        **average_precision_and_recall(ranked, iou_type, [0.5, 0.75, *ious], max_dets),
        **lrp_columns(ranked_for_lrp, tau, operating_points, weights),
        **correlation_columns(ranked_for_lrp, tau),
    }
    if threshold is not None:
        columns |= hard_lrp_columns(ranked_for_lrp, threshold, tau, weights)
    means = {key: mean_of_defined(column) for key, column in columns.items()}
    return {
        **{key: mean for key, mean in means.items() if key not in (*PER_CLASS_ONLY, *CORRELATIONS)},
        "correlation": {key: means[key] for key in CORRELATIONS},
        "settings": {
            "iou_type": iou_type,
            "tau": tau,
            "max_dets": list(max_dets),
            "operating_points": operating_points,
            "weights": asdict(weights),
            "quality": quality if isinstance(quality, str) else "custom",
            "ranking": ranking,
            "threshold": threshold,
        },
        "per_class": _rows(ground_truth.class_ids, ground_truth.class_names, columns),
    }


def evaluate_boxes_and_masks(
    gt: Source | Record, dt: Source | Sequence[Record], **options: Any
) -> dict[str, Any]:
    """What :func:`evaluate` finds for boxes, and for masks under the same names with ``mask_``.

    Small, medium and large masks are so by the area of the mask, as in mmdetection. ``correlation``
    and ``per_class`` have the masks' numbers beside the boxes', too.

    Args:
        gt: COCO instances file, or its content, with segmentations.
        dt: COCO results file, or its content, every result with ``bbox`` and ``segmentation``.
        options: the other arguments of :func:`evaluate`, but for ``iou_type`` and ``areas_of``.

    Raises:
        InputError: a file or an argument at fault.
    """
    boxes = evaluate(gt, dt, iou_type="bbox", **options)
    masks = evaluate(gt, dt, iou_type="segm", areas_of="masks", **options)
    numbers = {key: value for key, value in masks.items() if isinstance(value, float)}
    return {
        **boxes,
        **_of_masks(numbers),
        "correlation": boxes["correlation"] | _of_masks(masks["correlation"]),
        "settings": boxes["settings"] | {"iou_type": "bbox and segm"},
        "per_class": [
            row | _of_masks({key: mask_row[key] for key in mask_row if key not in CLASS_KEYS})
            for row, mask_row in zip(boxes["per_class"], masks["per_class"], strict=True)
        ],
    }


def _of_masks(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {f"mask_{key}": value for key, value in numbers.items()}


def match_files(
    gt: Source | Record,
    dt: Source | Sequence[Record],
    iou_type: str = "bbox",
    thresholds: Sequence[float] = tuple(COCO_THRESHOLDS),
    sigmas: Sequence[float] | None = None,
) -> Evaluation:
    """Detections matched to ground truths at some thresholds; arguments as :func:`evaluate`."""
    max_dets = _check_arguments(iou_type, thresholds[0], thresholds, None, OPERATING_POINTS[0])
    ground_truth = load_ground_truth(gt, iou_type)
    detections = load_detections(dt, ground_truth, iou_type, max_dets[-1])
    return Evaluation(ground_truth, detections, iou_type, thresholds, sigmas=sigmas)


def average_precision_and_recall(
    evaluation: Evaluation, iou_type: str, ap_at: Sequence[float], max_dets: Sequence[int]
) -> Columns:
    """COCO's AP and AR of every class, under COCO's names; float64 [K] each."""
    tables = [_class_tables(evaluation, k, max_dets) for k in range(evaluation.num_classes)]
    ap, area_under, recall = (np.stack(parts, axis=-1) for parts in zip(*tables, strict=True))
    coco = [evaluation.threshold_index(t) for t in COCO_THRESHOLDS]
    small_to_large = [(a, area) for a, area in enumerate(evaluation.areas) if area != "all"]
    columns = {"AP": ap[0, coco].mean(axis=0)}
    for threshold in ap_at:
        columns[f"AP{_percent(threshold)}"] = ap[0, evaluation.threshold_index(threshold)]
    for a, area in small_to_large:
        columns[f"AP{AREA_SUFFIXES[area]}"] = ap[a, coco].mean(axis=0)
    if iou_type == "keypoints":
        columns["AR"] = recall[0, coco, -1].mean(axis=0)
        for threshold in (0.5, 0.75):
            at_threshold = recall[0, evaluation.threshold_index(threshold), -1]
            columns[f"AR{_percent(threshold)}"] = at_threshold
    else:
        for m, count in enumerate(max_dets):
            columns[f"AR{count}"] = recall[0, coco, m].mean(axis=0)
    for a, area in small_to_large:
        columns[f"AR{AREA_SUFFIXES[area]}"] = recall[a, coco, -1].mean(axis=0)
    columns["AP_uninterpolated"] = area_under[coco].mean(axis=0)
    return columns


def lrp_columns(
    evaluation: Evaluation,
    tau: float = 0.5,
    operating_points: str = "detections",
    weights: Weights = EQUAL_WEIGHTS,
) -> Columns:
    """oLRP, its components, threshold and counts, and aLRP of every class; float64 [K] each."""
    classes = range(evaluation.num_classes)
    matches = [evaluation.class_matches(k, tau) for k in classes]
    curves = [match.s_lrp(tau, operating_points, weights) for match in matches]
    optima = [optimal_lrp(curve) for curve in curves]
    columns = {
        name: np.array([getattr(optimum, field) for optimum in optima], np.float64)
        for name, field in OPTIMUM_COLUMNS.items()
    }
    columns["N_GT"] = np.array([match.num_gt for match in matches])
    columns["aLRP"] = np.array([average_lrp(curve) for curve in curves])
    # Without a true positive recall is 0, whatever the precision.
    precision, recall = 1 - np.nan_to_num(columns["oLRP_FP"], nan=1.0), 1 - columns["oLRP_FN"]
    columns["PR_error"] = precision_recall_error(precision, recall)
    for area in evaluation.areas[1:]:
        areas = (evaluation.class_matches(k, tau, area) for k in classes)
        columns[f"oLRP{AREA_SUFFIXES[area]}"] = np.array(
            [optimal_lrp(match.s_lrp(tau, operating_points, weights)).olrp for match in areas]
        )
    return columns


def hard_lrp_columns(
    evaluation: Evaluation, threshold: float, tau: float = 0.5, weights: Weights = EQUAL_WEIGHTS
) -> Columns:
    """LRP and components of the detections with score >= ``threshold``; float64 [K] each."""
    errors = [
        evaluation.class_matches(k, tau).s_lrp(tau, weights=weights).at(threshold)
        for k in range(evaluation.num_classes)
    ]
    fields = {"LRP": "lrp", "LRP_Loc": "loc", "LRP_FP": "fp", "LRP_FN": "fn"}
    return {
        name: np.array([float(getattr(error, field)) for error in errors])
        for name, field in fields.items()
    }


def correlation_columns(evaluation: Evaluation, tau: float = 0.5) -> Columns:
    """Correlation of score and localisation quality in every class; float64 [K] each."""
    pairs = [
        score_quality_correlation(evaluation.class_matches(k, tau))
        for k in range(evaluation.num_classes)
    ]
    return dict(zip(CORRELATIONS, np.array(pairs).T, strict=True))


def _class_tables(
    evaluation: Evaluation, class_index: int, max_dets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """AP [A, T], uninterpolated AP [T] of all areas, recall [A, T, M] of one class.

    Area ranges without ground truth are nan.
    """
    order = evaluation.by_score(class_index)
    ranks = evaluation.detections.ranks[order]
    shape = (len(evaluation.areas), len(evaluation.thresholds))
    ap, recalls = np.full(shape, np.nan), np.full((*shape, len(max_dets)), np.nan)
    uninterpolated = np.full(shape[1], np.nan)
    for a, area in enumerate(evaluation.areas):
        num_gt = evaluation.num_ground_truths(class_index, area)
        if not num_gt:
            continue
        true_positives = evaluation.matching.true_positives[a][:, order]
        ignored = evaluation.matching.ignored[a][:, order]
        precision, recall = precision_recall(true_positives, ~true_positives & ~ignored, num_gt)
        for t, curve in enumerate(zip(precision, recall, strict=True)):
            ap[a, t] = interpolated_average_precision(*curve)
            if area == "all":
                uninterpolated[t] = uninterpolated_average_precision(*curve)
        for m, count in enumerate(max_dets):
            recalls[a, :, m] = true_positives[:, ranks < count].sum(axis=1) / num_gt
    return ap, uninterpolated, recalls


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


def _percent(threshold: float) -> str:
    """0.6 -> "60", 0.625 -> "62.5"."""
    return f"{round(100 * threshold, 6):g}"
