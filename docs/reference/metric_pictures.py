"""One picture for each metric: what it reads off the detections of a small example."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rebalance.figures.metric_behaviour import draw
from rebalance.figures.metric_behaviour.compute import TAU, curve_example, detector_curves
from rebalance.figures.style import INK, LINE, PALETTE, SOFT, figure
from rebalance.metrics import (
    area_average_precision,
    average_lrp,
    compare,
    evaluate,
    interpolated_average_precision,
    match_files,
    pearson,
    precision_recall,
    spearman,
    uninterpolated_average_precision,
    voc_average_precision,
)
from rebalance.metrics.precision_recall import COCO_RECALLS, VOC_RECALLS


def metric_pictures() -> dict[str, Callable[[], Figure]]:
    """Name of the metric -> what draws it."""
    return {
        "evaluate": of_evaluate,
        "precision_recall": draw.plot_curves,
        "interpolated_average_precision": partial(of_average, interpolated_average_precision),
        "area_average_precision": partial(of_average, area_average_precision),
        "uninterpolated_average_precision": partial(of_average, uninterpolated_average_precision),
        "voc_average_precision": of_voc,
        "lrp_error": draw.plot_grid,
        "optimal_lrp": draw.plot_equal_ap,
        "average_lrp": of_average_lrp,
        "panoptic_quality": draw.plot_growth,
        "pearson": of_pearson,
        "spearman": draw.plot_correlation,
        "compare": of_compare,
    }


def of_evaluate() -> Figure:
    """AP over the IoU threshold, and AR over the detections that count."""
    objects, detections = crowded_example()
    thresholds = [round(0.5 + 0.05 * k, 2) for k in range(10)]
    counts = (1, 2, 3, 5, 10, 20, 50, 100)
    found = evaluate(objects, detections, ious=thresholds, max_dets=counts)
    drawing, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.55)
    left.plot(thresholds, [found[f"AP{100 * t:.0f}"] for t in thresholds], "o-", color=PALETTE[0])
    left.axhline(found["AP"], color=INK, linewidth=0.9, label=f"mean: AP {found['AP']:.2f}")
    for at, place in ((0.5, 0), (0.75, 5)):
        name = f"AP{100 * at:.0f}"
        left.plot(at, found[name], "o", color=PALETTE[1 + place], markersize=7,
                  label=f"{name} {found[name]:.2f}")  # fmt: skip
    left.set(xlabel="IoU threshold", ylabel="AP", ylim=(0, 1), title="AP")
    left.legend()
    right.plot(counts, [found[f"AR{n}"] for n in counts], "o-", color=PALETTE[0])
    for n, colour in zip((1, 10, 100), (PALETTE[1], PALETTE[2], PALETTE[6]), strict=True):
        right.plot(n, found[f"AR{n}"], "o", color=colour, markersize=7,
                   label=f"AR{n} {found[f'AR{n}']:.2f}")  # fmt: skip
    right.set(xlabel="detections of an image and class that count", ylabel="AR", ylim=(0, 1))
    right.set(xscale="log", xticks=counts, xticklabels=[str(n) for n in counts], title="AR")
    right.minorticks_off()
    right.legend()
    return drawing


def crowded_example() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """20 images with 8 objects and 40 detections each, in COCO's form."""
    rng = np.random.default_rng(0)
    images = range(1, 21)
    lefts = 60.0 * np.arange(8)
    annotations = [
        {"id": 8 * (i - 1) + k + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
         "bbox": [lefts[k], 0.0, 50.0, 50.0], "area": 2500.0}
        for i in images for k in range(8)
    ]  # fmt: skip
    detections = []
    for i in images:
        for shift, score in zip(rng.normal(0, 12, 40), rng.random(40), strict=True):
            box = [float(rng.choice(lefts) + shift), 0.0, 50.0, 50.0]
            better = float(np.exp(-abs(shift) / 12))
            detections.append(
                {"image_id": i, "category_id": 1, "bbox": box, "score": (better + score) / 2}
            )
    objects = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 500, "height": 50} for i in images],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": annotations,
    }
    return objects, detections


def of_average(average: Callable[[Any, Any], float]) -> Figure:
    """What an average takes of precision over recall: 20 detections of 10 objects."""
    hit = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0], dtype=bool)
    precision, recall = precision_recall(hit, ~hit, 10)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    drawing, axis = figure(columns=2, aspect=0.32)
    axis.plot(recall, precision, ".-", color=SOFT, label="after each detection")
    value = f"AP50 {average(precision, recall):.3f}"
    if average is interpolated_average_precision:
        axis.plot(*best_at(COCO_RECALLS, recall, best), "o", color=PALETTE[0], markersize=2.5,
                  label=f"{value}: mean of 101 best precisions")  # fmt: skip
    else:
        raw = average is uninterpolated_average_precision
        # A recall is reached at a true positive; misses after it lower the precision alone.
        heights = (precision if raw else best)[hit]
        what = "precision at the true positives" if raw else "best precision from there on"
        axis.fill_between([0, *recall[hit]], [heights[0], *heights], step="pre", linewidth=0,
                          color=PALETTE[4], alpha=0.4, label=f"{value}: area, {what}")  # fmt: skip
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.05))
    axis.legend(loc="lower left")
    return drawing


def best_at(recalls: Any, recall: Any, best: Any) -> tuple[Any, Any]:
    """Some recalls and the best precision at each or a higher one, 0 above the last."""
    places = np.searchsorted(recall, recalls, side="left")
    return recalls, np.append(best, 0.0)[places]


def of_voc() -> Figure:
    """Both of Pascal VOC's rules on one curve."""
    curves = detector_curves()
    recall, precision = curves["recall"].to_numpy(), curves["precision"].to_numpy()
    best = np.maximum.accumulate(precision[::-1])[::-1]
    example = curve_example()
    values = {
        rule: next(iter(voc_average_precision(*example, rule=rule).values()))
        for rule in ("11-point", "area")
    }
    drawing, axis = figure(columns=2, aspect=0.32)
    axis.fill_between([0, *recall], [best[0], *best], step="pre", color=PALETTE[4], alpha=0.35,
                      linewidth=0, label=f"area: {values['area']:.3f}")  # fmt: skip
    axis.plot(*best_at(VOC_RECALLS, recall, best), "o", color=PALETTE[1],
              label=f"11-point: {values['11-point']:.3f}, the mean of these")  # fmt: skip
    axis.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.03, 1.05))
    axis.legend(loc="lower left")
    return drawing


def of_average_lrp() -> Figure:
    """LRP at every operating point, and its mean beside its minimum."""
    curve = match_files(*curve_example(), thresholds=[TAU]).class_matches(0, TAU).s_lrp(TAU)
    mean, errors = average_lrp(curve), curve.errors.lrp
    ranks = np.arange(1, len(errors) + 1)
    drawing, axis = figure(columns=2, aspect=0.3)
    axis.fill_between(ranks, errors, color=PALETTE[4], alpha=0.3, linewidth=0)
    axis.plot(ranks, errors, color=PALETTE[0], label="LRP of the first detections")
    axis.axhline(mean, color=PALETTE[1], label=f"their mean: {mean:.2f}")
    least = int(errors.argmin())
    axis.plot(ranks[least], errors[least], "o", color=INK, label=f"oLRP {errors[least]:.2f}")
    axis.set(xlabel="number of detections, best scores first", ylabel="LRP", ylim=(0, 1.02))
    axis.legend(loc="lower left")
    return drawing


def of_pearson() -> Figure:
    """It asks for a line, Spearman's for an order."""
    scores = np.linspace(0.1, 0.95, 18)
    noise = np.random.default_rng(1).normal(0, 0.07, 18)
    drawing, axes = figure(columns=2, grid=(1, 3), aspect=0.8, sharey=True)
    for axis, (title, ious) in zip(
        axes,
        {
            "on a line": 0.5 + 0.45 * scores,
            "in order, on a curve": 0.5 + 0.45 * scores**8,
            "on a line, with noise": 0.5 + 0.4 * scores + noise,
        }.items(),
        strict=True,
    ):
        axis.plot(scores, ious, "o", color=PALETTE[0])
        text = f"Pearson {pearson(scores, ious):.2f}\nSpearman {spearman(scores, ious):.2f}"
        axis.text(0.04, 0.96, text, transform=axis.transAxes, va="top")
        axis.set(xlabel="score", title=title, ylim=(0.45, 1.1))
    axes[0].set_ylabel("IoU of the true positives")
    return drawing


def of_compare() -> Figure:
    """Gains with their intervals: a real one, and one that chance could explain."""
    objects, baseline = curve_example()
    found = [one for one in baseline if one["bbox"][0] < 100]
    false = [one for one in baseline if one["bbox"][0] >= 100]
    better = [one | {"bbox": [one["bbox"][0] / 2, *one["bbox"][1:]]} for one in found]
    results = {"baseline": baseline, "closer boxes": better + false, "one box less": baseline[1:]}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"objects": objects, **results}.items():
            (Path(folder) / f"{name}.json").write_text(json.dumps(content))
        files = [f"{folder}/{name}.json" for name in results]
        gains = compare(f"{folder}/objects.json", files, resamples=300)["results"][1:]
    drawing, axes = figure(columns=2, grid=(1, 2), aspect=0.35, sharey=True)
    for axis, metric, better_is in zip(axes, ("AP", "oLRP"), ("higher", "lower"), strict=True):
        for row, one in enumerate(gains):
            gain, low, high = (one["gains"][metric][key] for key in ("gain", "low", "high"))
            axis.plot([low, high], [row, row], color=PALETTE[row], linewidth=3)
            axis.plot(gain, row, "o", color=PALETTE[row], markersize=7)
        axis.axvline(0, color=INK, linewidth=0.9)
        axis.set(xlabel=f"gain in {metric} with its 95 % interval", ylim=(1.6, -0.6))
        axis.set(yticks=range(len(gains)), yticklabels=list(results)[1:])
        axis.set_title(f"{metric}: {better_is} is better")
        axis.grid(axis="y", color=LINE)
    return drawing
