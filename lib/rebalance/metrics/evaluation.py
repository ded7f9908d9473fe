"""Detections matched to ground truths, and what that says about one class or about all."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rebalance.metrics.annotations import Detections, GroundTruth
from rebalance.metrics.keypoints import check_sigmas
from rebalance.metrics.lrp import EQUAL_WEIGHTS, SLrp, Weights, s_lrp
from rebalance.metrics.matching import match
from rebalance.metrics.precision_recall import COCO_THRESHOLDS
from rebalance.metrics.quality import BoxQuality, candidate_pairs

# Area ranges in px^2, both ends inside, as in COCO.
AREA_RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
AREAS_OF_TYPE = {
    "bbox": ("all", "small", "medium", "large"),
    "segm": ("all", "small", "medium", "large"),
    "keypoints": ("all", "medium", "large"),
}


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class, in order of falling score, and what became of them.

    Attributes:
        records: int64 [D], positions in the detections file.
        scores: float64 [D].
        ranks: int64 [D], 0 for the highest score of the class in its image.
        quality: float64 [D], localisation quality of the match, 0 without one.
        true_positives: bool [D].
        ignored: bool [D], neither true nor false positives.
        num_gt: ground truths that count.
    """

    records: NDArray[np.int64]
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]
    quality: NDArray[np.float64]
    true_positives: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    num_gt: int

    @property
    def false_positives(self) -> NDArray[np.bool_]:
        """bool [D]."""
        return ~self.true_positives & ~self.ignored

    def s_lrp(
        self,
        tau: float = 0.5,
        operating_points: str = "detections",
        weights: Weights = EQUAL_WEIGHTS,
    ) -> SLrp:
        """The class's s-LRP curve; ``tau`` is the threshold of the matching."""
        return s_lrp(
            self.scores,
            self.quality,
            self.true_positives,
            self.ignored,
            self.num_gt,
            tau,
            operating_points,
            weights,
        )


class Evaluation:
    """Detections matched once to ground truths; every metric is read off that matching.

    Args:
        ground_truth: of :func:`rebalance.metrics.load_ground_truth`.
        detections: of :func:`rebalance.metrics.load_detections`.
        iou_type: "bbox", "segm" or "keypoints".
        thresholds: localisation qualities at which a match is wanted.
        quality: for bbox, a localisation quality in [0, 1] to use instead of the IoU.
        sigmas: OKS deviations, one per keypoint, needed unless there are COCO's 17.
    """

    def __init__(
        self,
        ground_truth: GroundTruth,
        detections: Detections,
        iou_type: str = "bbox",
        thresholds: Sequence[float] = tuple(COCO_THRESHOLDS),
        quality: BoxQuality | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        self.ground_truth = ground_truth
        self.detections = detections
        self.areas = AREAS_OF_TYPE[iou_type]
        self.thresholds = np.unique(np.asarray(thresholds, np.float64))
        oks_sigmas = None
        if ground_truth.keypoints is not None and len(ground_truth.keypoints):
            oks_sigmas = check_sigmas(sigmas, ground_truth.keypoints.shape[1])
        floor = min(self.thresholds[0], 1 - 1e-10)
        self.matching = match(
            candidate_pairs(detections, ground_truth, iou_type, floor, quality, oks_sigmas),
            detections.groups,
            np.stack([_in_range(detections.areas, area) for area in self.areas]),
            np.stack([_in_range(ground_truth.areas, area) for area in self.areas])
            & ~ground_truth.ignored,
            ground_truth.crowd,
            self.thresholds,
        )
        self._order = np.lexsort((-detections.scores, detections.classes))
        classes = np.arange(self.num_classes + 1)
        self._first_detection = np.searchsorted(detections.classes, classes)
        self._first_ground_truth = np.searchsorted(ground_truth.classes, classes)

    @property
    def num_classes(self) -> int:
        """K, the classes listed in the ground truth file."""
        return len(self.ground_truth.class_ids)

    def by_score(self, class_index: int) -> NDArray[np.int64]:
        """The class's detections in order of falling score; equal scores in order of image."""
        first, last = self._first_detection[class_index : class_index + 2]
        return self._order[first:last]

    def reordered(self, order: NDArray[np.int64]) -> "Evaluation":
        """The same matches, the detections taking each other's scores and places.

        Args:
            order: int64 [D], all classes' ``by_score`` one after the other, as wanted instead.
        """
        other = copy.copy(self)
        scores = np.empty_like(self.detections.scores)
        scores[order] = self.detections.scores[self._order]
        other.detections = replace(self.detections, scores=scores)
        other._order = order
        return other

    def num_ground_truths(self, class_index: int, area: str = "all") -> int:
        """Ground truths of the class that count in that area range."""
        first, last = self._first_ground_truth[class_index : class_index + 2]
        return int(self.matching.regular[self.areas.index(area), first:last].sum())

    def class_matches(
        self,
        class_index: int,
        threshold: float = 0.5,
        area: str = "all",
        max_dets: int | None = None,
    ) -> ClassMatches:
        """One class at one threshold.

        Args:
            class_index: position in ``ground_truth.class_ids``.
            threshold: one of the thresholds matched at (to 1e-9).
            area: "all", "small", "medium" or "large".
            max_dets: leave only so many detections per image.
        """
        order = self.by_score(class_index)
        if max_dets is not None:
            order = order[self.detections.ranks[order] < max_dets]
        a, t = self.areas.index(area), self.threshold_index(threshold)
        return ClassMatches(
            records=self.detections.records[order],
            scores=self.detections.scores[order],
            ranks=self.detections.ranks[order],
            quality=self.matching.quality(a, t, order),
            true_positives=self.matching.true_positives[a, t, order],
            ignored=self.matching.ignored[a, t, order],
            num_gt=self.num_ground_truths(class_index, area),
        )

    def threshold_index(self, threshold: float) -> int:
        """Position in ``thresholds``; ``ValueError`` for one that was not matched at."""
        index = int(np.abs(self.thresholds - threshold).argmin())
        if abs(self.thresholds[index] - threshold) > 1e-9:
            raise ValueError(f"not matched at {threshold}, only at {self.thresholds.tolist()}")
        return index


def _in_range(areas: NDArray[np.float64], name: str) -> NDArray[np.bool_]:
    low, high = AREA_RANGES[name]
    return (low <= areas) & (areas <= high)
