"""One greedy matching of detections to ground truths, for all thresholds and area ranges at once.

The rule is COCO's: in each image and class, detections in order of falling score each take the free
ground truth with which they agree best, if by at least the threshold. Ignored ground truths are
taken only when no other is left; crowd regions are never used up.

The images and classes are independent, so the n-th detections of all of them are matched in one
numpy step: the loop runs over ranks, not over images, and there are at most ``maxDets`` ranks. This
is faster than calling faster-coco-eval (see benchmarks/metrics), whose compiled matching does not
say which ground truth, and so which IoU, a detection was given at each threshold: LRP needs that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rebalance.metrics.quality import Pairs

NO_MATCH = -1


@dataclass(frozen=True)
class Matching:
    """What each detection was matched to.

    Attributes:
        pairs: the candidates.
        chosen: int32 [A, T, D], position in ``pairs`` or NO_MATCH, per area range and threshold.
        regular: bool [A, G], ground truths that count (not ignored, inside the area range).
        true_positives: bool [A, T, D], matched to a ground truth that counts.
        ignored: bool [A, T, D], counted neither way: matched to an ignored ground truth, or
            unmatched and outside of the area range.
    """

    pairs: Pairs
    chosen: NDArray[np.int32]
    regular: NDArray[np.bool_]
    true_positives: NDArray[np.bool_]
    ignored: NDArray[np.bool_]

    def quality(
        self, area: int, threshold: int, detections: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Quality of the matches of some detections; 0 where there is none."""
        chosen = self.chosen[area, threshold, detections]
        matched = chosen != NO_MATCH
        quality = np.zeros(len(chosen))
        quality[matched] = self.pairs.quality[chosen[matched]]
        return quality


def match(
    pairs: Pairs,
    detection_groups: NDArray[np.int64],
    detections_in_range: NDArray[np.bool_],
    regular: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> Matching:
    """Match greedily.

    Args:
        pairs: candidates, whose quality reaches the lowest threshold.
        detection_groups: int64 [D], one number per (class, image); falling scores within.
        detections_in_range: bool [A, D], area inside the range.
        regular: bool [A, G], ground truths that count.
        crowd: bool [G].
        thresholds: float64 [T]; a match needs quality >= threshold.
    """
    num_areas, num_thresholds = len(regular), len(thresholds)
    pairs, rounds, starts = _in_rounds(pairs, detection_groups)
    chosen = np.full((num_areas, num_thresholds, len(detection_groups)), NO_MATCH, np.int32)
    taken = np.zeros((num_areas, num_thresholds, len(crowd)), bool)
    reached = np.minimum(thresholds, 1 - 1e-10)[:, None]  # so that a perfect match reaches 1
    for (first, last), start in zip(rounds, starts, strict=True):
        gt = pairs.ground_truths[first:last]
        open_pairs = pairs.quality[first:last] >= reached  # [T, pairs]
        open_pairs = open_pairs & (~taken[:, :, gt] | crowd[gt])  # [A, T, pairs]
        # Pairs of one detection lie in order of quality: the last open one is the best, and any
        # that counts goes before all that are ignored.
        place = np.arange(1, last - first + 1, dtype=np.int32)
        preference = place + np.int32(last - first) * regular[:, None, gt]
        preference = np.where(open_pairs, preference, 0)
        best = np.maximum.reduceat(preference, start, axis=2)  # [A, T, detections]
        area, threshold, which = np.nonzero(best)
        pair = first + (best[area, threshold, which] - 1) % (last - first)
        chosen[area, threshold, pairs.detections[pair]] = pair
        taken[area, threshold, pairs.ground_truths[pair]] = True
    true_positives, ignored = _verdicts(pairs, chosen, regular, detections_in_range)
    return Matching(pairs, chosen, regular, true_positives, ignored)


def _in_rounds(
    pairs: Pairs, detection_groups: NDArray[np.int64]
) -> tuple[Pairs, list[tuple[int, int]], list[NDArray[np.int64]]]:
    """Pairs in the order of use, the slice of each round, and where its detections start in it.

    Round n holds the n-th detection, of those with candidates, of every group; the pairs of a
    detection are in order of rising quality, equal ones in the ground truths' order.
    """
    if not len(pairs.detections):
        return pairs, [], []
    detections, of_pair = np.unique(pairs.detections, return_inverse=True)
    groups = detection_groups[detections]
    new_group = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    size = np.diff(np.r_[new_group, len(groups)])
    rank = (np.arange(len(groups)) - np.repeat(new_group, size))[of_pair]
    order = np.lexsort((pairs.ground_truths, pairs.quality, pairs.detections, rank))
    pairs = Pairs(pairs.detections[order], pairs.ground_truths[order], pairs.quality[order])
    bounds = np.searchsorted(rank[order], np.arange(size.max() + 1))
    rounds = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    starts = [
        np.flatnonzero(np.r_[True, np.diff(pairs.detections[first:last]) != 0])
        for first, last in rounds
    ]
    return pairs, rounds, starts


def _verdicts(
    pairs: Pairs,
    chosen: NDArray[np.int32],
    regular: NDArray[np.bool_],
    detections_in_range: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """True positives and ignored detections, both [A, T, D]."""
    matched = chosen != NO_MATCH
    true_positives = np.zeros_like(matched)
    area, threshold, detection = np.nonzero(matched)
    gt = pairs.ground_truths[chosen[area, threshold, detection]]
    true_positives[area, threshold, detection] = regular[area, gt]
    out_of_range = ~detections_in_range[:, None, :]
    return true_positives, (matched & ~true_positives) | (~matched & out_of_range)
