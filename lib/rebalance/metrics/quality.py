"""Localisation quality of (detection, ground truth) pairs: IoU of boxes or masks, OKS, own ones.

Only pairs of the same class and image that could match matter. They are kept as three flat arrays,
so that one numpy call serves all images.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from rebalance.errors import InputError
from rebalance.metrics.annotations import Detections, GroundTruth
from rebalance.metrics.keypoints import paired_oks

BoxQuality = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
PAIRS_AT_A_TIME = 1_000_000


@dataclass(frozen=True)
class Pairs:
    """Candidate matches.

    Attributes:
        detections: int64 [P], ascending.
        ground_truths: int64 [P].
        quality: float64 [P] in [0, 1].
    """

    detections: NDArray[np.int64]
    ground_truths: NDArray[np.int64]
    quality: NDArray[np.float64]


def candidate_pairs(
    detections: Detections,
    ground_truth: GroundTruth,
    iou_type: str,
    floor: float,
    box_quality: BoxQuality | None = None,
    sigmas: NDArray[np.float64] | None = None,
) -> Pairs:
    """All pairs of one class and image whose quality is at least ``floor``.

    Args:
        iou_type: "bbox", "segm" or "keypoints".
        floor: the lowest threshold that will be asked for.
        box_quality: for bbox, replaces the IoU: two float64 [P, 4] xyxy to [P] in [0, 1].
        sigmas: float64 [K] of the keypoints.

    Raises:
        InputError: ``box_quality`` leaves [0, 1].
    """
    kept = []
    for dt, gt in _same_group(detections, ground_truth):
        if iou_type == "bbox":
            quality = _box_pairs(detections, ground_truth, dt, gt, box_quality)
        elif iou_type == "segm":
            quality = _mask_pairs(detections, ground_truth, dt, gt)
        else:
            assert detections.keypoints is not None
            assert ground_truth.keypoints is not None
            assert sigmas is not None
            quality = paired_oks(
                detections.keypoints[dt],
                ground_truth.keypoints[gt],
                ground_truth.boxes[gt],
                ground_truth.areas[gt],
                sigmas,
            )
        near = quality >= floor
        kept.append((dt[near], gt[near], np.minimum(quality[near], 1.0)))  # 1 + 2e-16 by rounding
    if not kept:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(parts) for parts in zip(*kept, strict=True)))


def paired_intersection(
    boxes: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 [P] px^2 of boxes paired row by row, both [P, 4] xyxy."""
    low = np.maximum(boxes[:, :2], others[:, :2])
    high = np.minimum(boxes[:, 2:], others[:, 2:])
    sides = np.maximum(high - low, 0)
    return sides[:, 0] * sides[:, 1]


def paired_iou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union, in [0, 1], of boxes paired row by row; 0 for two empty boxes."""
    inter = paired_intersection(boxes, others)
    return _ratio(inter, _area(boxes) + _area(others) - inter)


def paired_giou(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """GIoU / 2 + 1/2, in [0, 1]: the normalisation of thesis 5.5.4 for use within LRP."""
    inter = paired_intersection(boxes, others)
    union = _area(boxes) + _area(others) - inter
    low = np.minimum(boxes[:, :2], others[:, :2])
    high = np.maximum(boxes[:, 2:], others[:, 2:])
    hull = (high - low).prod(axis=1)
    giou = _ratio(inter, union) - _ratio(hull - union, hull)
    return giou / 2 + 0.5


BOX_QUALITIES: dict[str, BoxQuality] = {
    "iou": paired_iou,
    "giou": paired_giou,
}


def _same_group(
    detections: Detections, ground_truth: GroundTruth
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index arrays of all same-class, same-image pairs, some whole groups at a time."""
    groups = ground_truth.groups
    first = np.searchsorted(groups, detections.groups, side="left")
    count = np.searchsorted(groups, detections.groups, side="right") - first
    total = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = total[begin - 1] if begin else 0
        end = int(np.searchsorted(total, done + PAIRS_AT_A_TIME, side="right"))
        end = _end_of_group(detections.groups, max(end, begin + 1))
        counts = count[begin:end]
        if counts.any():
            dt = np.repeat(np.arange(begin, end), counts)
            starts = np.cumsum(counts) - counts
            gt = np.repeat(first[begin:end] - starts, counts) + np.arange(counts.sum())
            yield dt, gt
        begin = end


def _end_of_group(groups: NDArray[np.int64], end: int) -> int:
    """The first index >= ``end`` at which a new group starts."""
    return int(np.searchsorted(groups, groups[end - 1], side="right"))


def _box_pairs(
    detections: Detections,
    ground_truth: GroundTruth,
    dt: NDArray[np.int64],
    gt: NDArray[np.int64],
    box_quality: BoxQuality | None,
) -> NDArray[np.float64]:
    """Quality of box pairs; a crowd region's is the share of the detection inside it."""
    inter = paired_intersection(detections.boxes[dt], ground_truth.boxes[gt])
    area, gt_area = detections.box_areas[dt], ground_truth.box_areas[gt]
    crowd = ground_truth.crowd[gt]
    quality = _ratio(inter, np.where(crowd, area, area + gt_area - inter))
    if box_quality is None:
        return quality
    own = np.asarray(box_quality(detections.boxes[dt], ground_truth.boxes[gt]))
    if own.shape != quality.shape or not ((own >= 0) & (own <= 1)).all():
        raise InputError("localisation quality must be one value in [0, 1] for each pair of boxes")
    return np.where(crowd, quality, own)


def _mask_pairs(
    detections: Detections,
    ground_truth: GroundTruth,
    dt: NDArray[np.int64],
    gt: NDArray[np.int64],
) -> NDArray[np.float64]:
    """IoU of mask pairs, which come as whole groups: every detection with every ground truth."""
    assert detections.masks is not None
    assert ground_truth.masks is not None
    quality = np.zeros(len(dt))
    groups = detections.groups[dt]
    bounds = np.flatnonzero(np.diff(groups, prepend=-1, append=-1))  # no groups: no bounds
    for start, end in itertools.pairwise(bounds):
        some_dt = range(dt[start], dt[end - 1] + 1)
        some_gt = range(gt[start], gt[end - 1] + 1)
        iou = coco_mask.iou(
            [detections.masks[index] for index in some_dt],
            [ground_truth.masks[index] for index in some_gt],
            [int(ground_truth.crowd[index]) for index in some_gt],
        )
        quality[start:end] = iou.ravel()
    return quality


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
