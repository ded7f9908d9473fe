"""Average precision as Pascal VOC defines it (Everingham et al., IJCV 2010), for COCO files.

Unlike COCO, a detection is judged against the one object it overlaps most: it is a true positive if
the IoU reaches the threshold and no detection with a higher score claimed the object before, and a
false positive otherwise. Detections of difficult objects (marked ``ignore`` or ``iscrowd``) count
neither way. Boxes are continuous; the original kit adds a pixel to widths and heights.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.annotations import (
    Detections,
    GroundTruth,
    Source,
    load_detections,
    load_ground_truth,
)
from rebalance.metrics.precision_recall import (
    VOC_RECALLS,
    area_average_precision,
    interpolated_average_precision,
    precision_recall,
)
from rebalance.metrics.quality import candidate_pairs
from rebalance.metrics.records import Record

RULES = ("11-point", "area")


def voc_average_precision(
    gt: Source | Record,
    dt: Source | Sequence[Record],
    iou: float = 0.5,
    rule: str = "area",
) -> dict[str, float]:
    """AP of every class, by name; nan for a class without objects.

    Args:
        gt: COCO instances file, or its content.
        dt: COCO results file, or its content.
        iou: IoU of a true positive, in (0, 1].
        rule: "11-point" (VOC 2007) or "area" (from 2010 on).

    Raises:
        InputError: a file or an argument at fault.
    """
    if rule not in RULES:
        raise InputError(f"rule must be one of {RULES}, got {rule!r}")
    if not 0 < iou <= 1:
        raise InputError(f"iou must be in (0, 1], got {iou}")
    ground_truth = load_ground_truth(gt)
    detections = load_detections(dt, ground_truth)
    true_positives, ignored = voc_verdicts(detections, ground_truth, iou)
    result = {}
    for k, name in enumerate(ground_truth.class_names):
        members = np.flatnonzero(detections.classes == k)
        order = members[np.argsort(-detections.scores[members], kind="stable")]
        hits = true_positives[order]
        num_gt = int(((ground_truth.classes == k) & ~ground_truth.ignored).sum())
        precision, recall = precision_recall(hits, ~hits & ~ignored[order], num_gt)
        if not num_gt:
            result[name] = float("nan")
        elif rule == "area":
            result[name] = area_average_precision(precision, recall)
        else:
            result[name] = interpolated_average_precision(precision, recall, VOC_RECALLS)
    return result


def voc_verdicts(
    detections: Detections, ground_truth: GroundTruth, iou: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """True positives and ignored detections, bool [D] each; all others are false positives."""
    all_by_iou = replace(ground_truth, crowd=np.zeros_like(ground_truth.crowd))
    pairs = candidate_pairs(detections, all_by_iou, "bbox", floor=iou)
    # The pair of highest IoU of each detection; of equal ones, the first object's.
    order = np.lexsort((pairs.ground_truths, -pairs.quality, pairs.detections))
    found, first = np.unique(pairs.detections[order], return_index=True)
    claimed = pairs.ground_truths[order][first]
    ignored = np.zeros(len(detections), bool)
    ignored[found[ground_truth.ignored[claimed]]] = True
    # Detections are in order of falling score within a class and image.
    _, first_claim = np.unique(claimed, return_index=True)
    true_positives = np.zeros(len(detections), bool)
    true_positives[found[first_claim]] = True
    return true_positives & ~ignored, ignored
