"""Does it really help? Gains of detection results over a baseline, with their uncertainty.

The validation images are a sample; another sample would have given other numbers. A paired
bootstrap with percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 13) draws images with replacement, the same for all results, and takes the difference of the
metric each time. What is hard in an image is hard for both, so the
interval of a gain is much narrower than those of the two values would suggest.

The interval is of the sample of images. What another training seed would change it cannot know: a
result of several seeds has the mean over them, with their standard deviation beside it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.annotations import load_detections, load_ground_truth
from rebalance.metrics.bootstrap import (
    Metrics,
    draw_weights,
    interval,
    mean_over_classes,
    weighted_metrics,
)
from rebalance.metrics.evaluate import MAX_DETS
from rebalance.metrics.evaluation import AREAS_OF_TYPE, Evaluation
from rebalance.metrics.lrp import optimal_lrp
from rebalance.metrics.matches import Matches, digest, matches_of, read_matches
from rebalance.metrics.results import MATCHES, ResultFiles, find_results

LEVEL = 0.95
MOST_CHANGED = 20
"""Images listed, those whose objects changed hands most."""


def compare(
    gt: str | Path,
    dts: Sequence[str | Path],
    iou_type: str = "bbox",
    resamples: int = 1000,
    seed: int = 0,
    areas_of: str = "boxes",
    runs: str | Path | None = None,
    names: Sequence[str] | None = None,
    sigmas: Sequence[float] | None = None,
    progress: Callable[[str], object] = lambda message: None,
) -> dict[str, Any]:
    """Gains over the first result, with 95% intervals; values in [0, 1], undefined is nan.

    Args:
        gt: COCO instances (or person keypoints) file.
        dts: at least two results, the baseline first; files, folders or names of runs, see
            :func:`rebalance.metrics.results.find_results`. Where a ``matches.npz`` lies beside a
            detections file, and is of these very files, nothing is matched again.
        iou_type: "bbox", "segm" or "keypoints".
        resamples: of the images.
        seed: of the resamples.
        areas_of: "boxes" or "masks", see :func:`rebalance.metrics.load_detections`.
        runs: folder in which names of runs are looked for.
        names: what to call the results.
        sigmas: OKS deviations, one per keypoint, needed unless there are COCO's 17.
        progress: is told what is being done.

    Returns:
        - ``settings`` and ``ground_truth``: the arguments, what there was to find;
        - ``results``: one dict per result, the baseline's too, of ``name``, ``seeds``;
          ``metrics``: name -> ``value, low, high`` and, of several seeds, ``std``; ``gains``: name
          -> ``gain, low, high``, result minus baseline (of AP a gain above 0 is better, of oLRP one
          below); ``per_class``: dicts of ``category_id, name, N_GT, metrics, gains``;
          ``changed_hands``: see :func:`changed_hands`.

    Raises:
        InputError: a file or an argument at fault.
    """
    if iou_type not in AREAS_OF_TYPE:
        raise InputError(f"iou_type must be one of {tuple(AREAS_OF_TYPE)}, got {iou_type!r}")
    if len(dts) < 2:
        raise InputError(f"dt: got {len(dts)} results, must be two or more, the baseline first")
    if resamples < 2:
        raise InputError(f"resamples must be at least 2, got {resamples}")
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    found = find_results(dts, None if runs is None else Path(runs), names)
    source = _Source(gt, iou_type, areas_of, sigmas, progress)
    weights: NDArray[np.int32] | None = None
    baseline: _Result | None = None
    results = []
    for files in found:
        matches = [source.matches(path) for path in files.files]
        if weights is None:
            weights = draw_weights(len(matches[0].image_ids), resamples, seed)
        progress(f"{files.name}: resampling {resamples} times")
        result = _Result(files, matches, weights)
        baseline = baseline or result
        results.append(_compared(result, baseline))
    first = baseline.matches[0] if baseline else None
    assert first is not None
    return {
        "settings": {
            "iou_type": iou_type,
            "resamples": resamples,
            "seed": seed,
            "level": LEVEL,
            "areas_of": areas_of,
            "max_dets": first.max_dets,
        },
        "ground_truth": {
            "name": Path(gt).name,
            "images": len(first.image_ids),
            "classes": first.num_classes,
            "objects": int(first.regular[0].sum()),
        },
        "results": results,
    }


class _Source:
    """Matches of detections files, read where they lie beside them, else made."""

    def __init__(
        self,
        gt: str | Path,
        iou_type: str,
        areas_of: str,
        sigmas: Sequence[float] | None,
        progress: Callable[[str], object],
    ) -> None:
        self.gt, self.iou_type, self.areas_of, self.sigmas = gt, iou_type, areas_of, sigmas
        self.progress = progress
        self.ground_truth = load_ground_truth(gt, iou_type)
        self.digest = digest(gt)

    def matches(self, path: Path) -> Matches:
        """Records of the matching of one file."""
        max_dets = MAX_DETS[self.iou_type][-1]
        kept = path.parent / MATCHES
        if kept.is_file():
            known = read_matches(kept).get(self.iou_type)
            wanted = (self.digest, digest(path), self.areas_of, max_dets)
            if known and wanted == (
                known.ground_truth,
                known.detections,
                known.areas_of,
                known.max_dets,
            ):
                return known
        self.progress(f"{path.name}: matching")
        detections = load_detections(
            path, self.ground_truth, self.iou_type, max_dets, self.areas_of
        )
        evaluation = Evaluation(self.ground_truth, detections, self.iou_type, sigmas=self.sigmas)
        return matches_of(evaluation, self.iou_type, max_dets, self.areas_of)


class _Result:
    """One result in every resample: per class, and the mean over classes, of each seed.

    Attributes:
        per_class: name -> float64 [1 + R, K], mean over the seeds; the first row is the images as
            they are.
        overall: name -> float64 [seeds, 1 + R].
    """

    def __init__(
        self, files: ResultFiles, matches: list[Matches], weights: NDArray[np.int32]
    ) -> None:
        self.name = files.name
        self.matches = matches
        seeds = [weighted_metrics(one, weights) for one in matches]
        self.overall: Metrics = {
            name: np.stack([mean_over_classes(metrics[name]) for metrics in seeds])
            for name in seeds[0]
        }
        self.per_class: Metrics = {
            name: np.mean([metrics[name] for metrics in seeds], axis=0) for name in seeds[0]
        }


def _compared(result: _Result, baseline: _Result) -> dict[str, Any]:
    matches = result.matches[0]
    metrics, gains = {}, {}
    for name, values in result.overall.items():
        mean = values.mean(axis=0)
        metrics[name] = _with_interval("value", mean)
        if len(values) > 1:
            metrics[name]["std"] = float(values[:, 0].std(ddof=1))
        gains[name] = _with_interval("gain", mean - baseline.overall[name].mean(axis=0))
    rows = []
    for k, category in enumerate(matches.class_ids.tolist()):
        own = {name: values[:, k] for name, values in result.per_class.items()}
        gain = {name: own[name] - baseline.per_class[name][:, k] for name in own}
        rows.append({
            "category_id": category,
            "name": str(matches.class_names[k]),
            "N_GT": int(matches.regular[0, matches.objects_of(k)].sum()),
            "metrics": {name: _with_interval("value", values) for name, values in own.items()},
            "gains": {name: _with_interval("gain", values) for name, values in gain.items()},
        })  # fmt: skip
    return {
        "name": result.name,
        "seeds": len(result.matches),
        "metrics": metrics,
        "gains": gains,
        "per_class": rows,
        "changed_hands": changed_hands(baseline.matches, result.matches),
    }


def _with_interval(key: str, values: NDArray[np.float64]) -> dict[str, float]:
    """The value of the images as they are, and its interval, of [1 + R]."""
    low, high = interval(values, LEVEL)
    if key == "value":  # a metric ends at 0 and 1, and so does what it can be
        low, high = max(low, 0.0), min(high, 1.0)
    return {key: float(values[0]), "low": low, "high": high}


def found_objects(matches: Matches) -> NDArray[np.bool_]:
    """bool [G]: objects matched by a detection at or above its class's LRP-optimal threshold.

    That threshold is where a user who needs hard decisions would put it: at a lower one false
    positives cost more than the further objects gain. Without it every object would count as found
    that any of 100 detections of an image happens to cover.
    """
    found = np.zeros(len(matches.object_ids), bool)
    for k in range(matches.num_classes):
        at = matches.class_matches(k)
        best = optimal_lrp(at.s_lrp())
        objects = matches.objects[matches.detections_of(k)][at.true_positives]
        found[objects[: best.n_tp]] = True  # true positives are in order of falling score
    return found


def changed_hands(baseline: Sequence[Matches], other: Sequence[Matches]) -> dict[str, Any]:
    """Objects that one result finds and another does not, at IoU 0.5.

    Found is as in :func:`found_objects`; of several seeds, in more than half of them.

    Args:
        baseline, other: matches of the same ground truth, one per seed.

    Returns:
        ``all``, ``small``, ``medium``, ``large``: dicts of ``both, lost, won, neither``, counts of
        objects: lost is found by the baseline alone, won by the other alone; ``per_class``: a list
        of such dicts in the order of the classes; ``lost`` and ``won``: ids of the annotations;
        ``images``: those where most objects changed, dicts of ``image_id, lost, won``.
    """
    truth = baseline[0]
    before, after = (
        np.mean([found_objects(matches) for matches in seeds], axis=0) > 0.5
        for seeds in (baseline, other)
    )
    kinds = {
        "both": before & after,
        "lost": before & ~after,
        "won": ~before & after,
        "neither": ~before & ~after,
    }
    counts: dict[str, Any] = {
        area: {kind: int((flags & regular).sum()) for kind, flags in kinds.items()}
        for area, regular in zip(truth.areas, truth.regular, strict=True)
    }
    regular = truth.regular[0]
    of_class = {
        kind: np.bincount(truth.object_classes[flags & regular], minlength=truth.num_classes)
        for kind, flags in kinds.items()
    }
    counts["per_class"] = [
        {kind: int(numbers[k]) for kind, numbers in of_class.items()}
        for k in range(truth.num_classes)
    ]
    for kind in ("lost", "won"):
        counts[kind] = truth.object_ids[kinds[kind] & regular].tolist()
    of_image = {
        kind: np.bincount(
            truth.object_images[kinds[kind] & regular], minlength=len(truth.image_ids)
        )
        for kind in ("lost", "won")
    }
    changed = of_image["lost"] + of_image["won"]
    order = np.argsort(-changed, kind="stable")[:MOST_CHANGED]
    counts["images"] = [
        {
            "image_id": int(truth.image_ids[index]),
            "lost": int(of_image["lost"][index]),
            "won": int(of_image["won"][index]),
        }
        for index in order[changed[order] > 0]
    ]
    return counts
