"""Precision, recall, and the averages taken of them: COCO's, Pascal VOC's two, the uninterpolated.

Everywhere: detections are in order of falling score; undefined (no ground truth) is nan.
"""

import numpy as np
from numpy.typing import NDArray

COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
COCO_RECALLS = np.linspace(0, 1, 101)  # as pycocotools has them; some are 1e-17 above n/100
VOC_RECALLS = np.arange(11) / 10  # exact, so that a recall of 3/10 reaches 0.3


def precision_recall(
    true_positives: NDArray[np.bool_], false_positives: NDArray[np.bool_], num_gt: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall after each detection, [..., D]; a detection that is neither repeats.

    Precision is 0 where neither a true nor a false positive has been seen.
    """
    n_tp = np.cumsum(true_positives, axis=-1, dtype=np.float64)
    n_fp = np.cumsum(false_positives, axis=-1, dtype=np.float64)
    recall = n_tp / num_gt if num_gt else np.full_like(n_tp, np.nan)
    return n_tp / (n_tp + n_fp + np.spacing(1)), recall


def interpolated_average_precision(
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    recalls: NDArray[np.float64] = COCO_RECALLS,
) -> float:
    """Mean, over ``recalls``, of the best precision at that recall or a higher one; [D] each.

    ``COCO_RECALLS`` gives COCO's AP, ``VOC_RECALLS`` the 11-point AP of VOC 2007.
    """
    if np.isnan(recall).any():
        return float("nan")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, recalls, side="left")
    reached = at < len(envelope)
    return float(envelope[at[reached]].sum() / len(recalls))


def area_average_precision(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    """Area under the interpolated precision-recall curve, VOC 2010 and later; [D] each."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return uninterpolated_average_precision(envelope, recall)


def uninterpolated_average_precision(
    precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> float:
    """Area under the precision-recall steps as they are: mean precision at the true positives.

    Ground truths that are never found count with precision 0.
    """
    return float((np.diff(recall, prepend=0) * precision).sum())


def precision_recall_error(
    precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> NDArray[np.float64]:
    """1 - precision x recall, the error form of AP for hard predictions (thesis 5.6)."""
    return 1 - precision * recall
