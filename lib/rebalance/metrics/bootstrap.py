"""Metrics of many resamples of the images at once, from one matching.

A resample of the images, drawn with replacement, is a weight per image: how often it was drawn.
Detections keep their order, whatever their weights, so every metric of a resample is a weighted
count along the order of the one matching. What makes that fast:

- Counts are needed only at true positives. AP: the interpolated precision is a maximum of
  precisions, and precision rises only there. LRP: a false positive never lowers it (it adds as much
  to the error as to the worst case), so the optimum is a true positive, too.
- Detections that are false positives at every IoU threshold, most of them, are counted once for
  all thresholds.

An image drawn w times puts w copies of its detections one after the other. Copies of a true
positive only raise precision and lower LRP, so the last copy decides and the weights are exact: the
numbers are those of evaluating a data set in which the image is there w times. (Only where
detections of one image have equal scores does the order of the copies matter; it is that of the
matching here.)
"""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from rebalance.metrics.lrp import lrp_error
from rebalance.metrics.matches import TAU, Matches
from rebalance.metrics.precision_recall import COCO_RECALLS, COCO_THRESHOLDS

#: "all" gives the names as they are, the others a suffix.
SUFFIXES = {"all": "", "small": "S", "medium": "M", "large": "L"}
LRP_NAMES = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
AT_A_TIME = 1_000_000
Metrics = dict[str, NDArray[np.float64]]
Counts = NDArray[np.int32]


def draw_weights(num_images: int, resamples: int, seed: int) -> Counts:
    """int32 [1 + R, I]: the images as they are, then how often each resample draws each of them."""
    drawn = np.random.default_rng(seed).multinomial(
        num_images, np.full(num_images, 1 / num_images), size=resamples
    )
    return np.concatenate([np.ones((1, num_images), np.int32), drawn.astype(np.int32)])


def weighted_metrics(matches: Matches, weights: Counts) -> Metrics:
    """AP and oLRP of every class in every resample.

    Args:
        matches: of one result.
        weights: int32 [R, I], how often each image is there.

    Returns:
        name -> float64 [R, K] of ``AP, AP50, AP75, APS, APM, APL, oLRP, oLRP_Loc, oLRP_FP, oLRP_FN,
        oLRPS, oLRPM, oLRPL`` (keypoints: without the S), as :func:`rebalance.metrics.evaluate`
        defines them: nan where it is undefined, that is without ground truth in the resample, and
        for components of oLRP also without a true positive.
    """
    classes = [_class_metrics(matches, k, weights) for k in range(matches.num_classes)]
    return {name: np.stack([metrics[name] for metrics in classes], axis=1) for name in classes[0]}


def mean_over_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64 [R] of [R, K]: the mean over the classes that are defined, nan if none is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Low and high end: the value, give or take 1.96 (at 95%) bootstrap standard errors.

    Symmetric on purpose. Percentiles of the resamples inherit their bias (a resample has fewer
    distinct objects, which favours AP and oLRP, most in small classes) and are too wide for the
    components of oLRP, whose optimal thresholds jump; reversed, or corrected for bias, they are far
    too narrow there. See tests/metrics/test_bootstrap.py for the coverage.

    Args:
        values: float64 [1 + R], of the images as they are, then of resamples; undefined resamples
            are left out, nan is returned if the value itself or all but one of them are.
        level: of confidence.
    """
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or len(defined) < 2:
        return float("nan"), float("nan")
    half = NormalDist().inv_cdf((1 + level) / 2) * defined.std(ddof=1)
    return float(values[0] - half), float(values[0] + half)


def _class_metrics(matches: Matches, class_index: int, weights: Counts) -> Metrics:
    """float64 [R] each."""
    here = matches.detections_of(class_index)
    objects = matches.objects_of(class_index)
    images = matches.images[here]
    metrics: Metrics = {}
    for a, area in enumerate(matches.areas):
        regular = matches.regular[a, objects]
        num_gt = weights[:, matches.object_images[objects][regular]].sum(axis=1)
        ap, lrp = _area_metrics(
            weights,
            images,
            num_gt,
            matches.true_positives[a, :, here],
            matches.ignored[a, :, here],
            matches.quality[a, here],
        )
        suffix = SUFFIXES[area]
        metrics[f"AP{suffix}"] = ap.mean(axis=0)
        metrics[f"oLRP{suffix}"] = lrp[0]
        if area == "all":
            for threshold in (0.5, 0.75):
                at = int(np.abs(COCO_THRESHOLDS - threshold).argmin())
                metrics[f"AP{100 * threshold:.0f}"] = ap[at]
            metrics |= dict(zip(LRP_NAMES[1:], lrp[1:], strict=True))
    return metrics


def _area_metrics(
    weights: Counts,
    images: NDArray[np.int32],
    num_gt: NDArray[np.int64],
    true_positives: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    quality: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AP [T, R], and oLRP with its components [4, R], of one class and area range."""
    ap = np.zeros((len(true_positives), len(weights)))
    lrp = np.array([1.0, np.nan, np.nan, 1.0])[:, None].repeat(len(weights), axis=1)
    counted = ~ignored
    always = np.flatnonzero(counted.all(axis=0))
    found = np.flatnonzero(true_positives.any(axis=0))
    rows = [np.flatnonzero(flags) for flags in true_positives]
    always_until = np.searchsorted(always, found, side="right")
    # The few that are ignored at some thresholds only.
    counted[:, always] = False
    others = [np.flatnonzero(flags) for flags in counted]
    tau = int(np.abs(COCO_THRESHOLDS - TAU).argmin())
    if num_gt.any() and len(found):
        levels, place = _recall_levels(num_gt)
        for some in _chunks(len(weights), len(images)):
            drawn = weights[some]
            n_always = _count_until(drawn, images[always], always_until)
            for t, at in enumerate(rows):
                if not len(at):
                    continue
                n_tp = np.cumsum(drawn.take(images[at], axis=1), axis=1, dtype=np.int32)
                count = n_always.take(np.searchsorted(found, at), axis=1)
                if len(others[t]):
                    until = np.searchsorted(others[t], at, side="right")
                    count += _count_until(drawn, images[others[t]], until)
                ap[t, some] = _average_precision(n_tp, count, levels, place[some])
                if t == tau:
                    error = (1 - quality[at]) * drawn.take(images[at], axis=1)
                    lrp[:, some] = _optimal_lrp(error, n_tp, count, num_gt[some])
    ap[:, num_gt == 0] = np.nan
    lrp[:, num_gt == 0] = np.nan
    return ap, lrp


def _chunks(resamples: int, detections: int) -> Iterator[slice]:
    """Some resamples at a time, so that the arrays stay in the processor's cache."""
    step = max(AT_A_TIME // (detections + 1), 8)
    yield from (slice(start, start + step) for start in range(0, resamples, step))


def _count_until(
    weights: Counts, images: NDArray[np.int32], until: NDArray[np.int64]
) -> NDArray[np.int32]:
    """int32 [R, M]: weight of the first ``until[m]`` of ``images``."""
    total = np.zeros((len(weights), len(images) + 1), np.int32)
    np.cumsum(weights.take(images, axis=1), axis=1, out=total[:, 1:])
    return total.take(until, axis=1)


def _recall_levels(
    num_gt: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How many of ``COCO_RECALLS`` n true positives reach, as one flat table, and where in it.

    Returns:
        float64 [distinct numbers of ground truths x (largest + 1)] and int64 [R]: resample r with n
        true positives is at ``place[r] + n``.
    """
    distinct, which = np.unique(num_gt, return_inverse=True)
    n_tp = np.arange(distinct[-1] + 1)
    recall = n_tp / np.maximum(distinct, 1)[:, None]
    levels = np.searchsorted(COCO_RECALLS, recall, side="right").astype(np.float64)
    levels[:, 0] = 0  # recall 0 is reached by any detection; what matters is the best precision
    return levels.ravel(), which * len(n_tp)


def _average_precision(
    n_tp: NDArray[np.int32],
    count: NDArray[np.int32],
    levels: NDArray[np.float64],
    place: NDArray[np.int64],
) -> NDArray[np.float64]:
    """COCO's AP, [R], from true positives and detections that count, [R, M], at true positives."""
    precision = n_tp / np.maximum(count, 1)
    # Floats that are not negative are in the order of their bits, and the running maximum of
    # integers is several times as fast.
    backwards = precision.view(np.int64)[:, ::-1]
    best = np.maximum.accumulate(backwards, axis=1).view(np.float64)[:, ::-1]
    reached = levels.take(n_tp + place[:, None])
    newly = reached[:, 1:] - reached[:, :-1]
    total = best[:, 0] * reached[:, 0] + np.einsum("rm,rm->r", best[:, 1:], newly)
    return total / len(COCO_RECALLS)


def _optimal_lrp(
    localisation_error: NDArray[np.float64],
    n_tp: NDArray[np.int32],
    count: NDArray[np.int32],
    num_gt: NDArray[np.int64],
) -> NDArray[np.float64]:
    """oLRP, localisation, FP and FN components, [4, R]; inputs [R, M] at true positives."""
    total = np.cumsum(localisation_error, axis=1)
    worst = count - n_tp + num_gt[:, None]
    error = (total / (1 - TAU) + (worst - n_tp)) / np.maximum(worst, 1)
    best = error.argmin(axis=1)[:, None]
    loc, tp, counted = (
        np.take_along_axis(values, best, axis=1)[:, 0].astype(np.float64)
        for values in (total, n_tp, count)
    )
    at = lrp_error(loc, tp, counted - tp, num_gt - tp, TAU)
    none_found = tp == 0
    return np.stack([
        np.where(none_found, 1.0, at.lrp),
        at.loc,
        np.where(none_found, np.nan, at.fp),
        at.fn,
    ])  # fmt: skip
