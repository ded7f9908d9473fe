"""What rows of a table gain over a baseline, and what of it the choice of images could explain.

Gains are of measured over measured and of printed over printed numbers, never of one over the
other: levels of two scales say nothing about each other, gains may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rebalance.figures.checks import Gain
from rebalance.figures.comparison.compute import ROUNDING, read_metric
from rebalance.metrics.bootstrap import (
    Counts,
    draw_weights,
    interval,
    mean_over_classes,
    weighted_metrics,
)
from rebalance.metrics.correlation import spearman
from rebalance.metrics.matches import read_matches

RESAMPLES, SEED = 1000, 0
"""Of the validation images, the same for every row."""
PREFIXES = {"bbox": "", "segm": "mask_"}
"""What metrics.json puts before the metrics of an IoU type."""
LEAST_ROWS = 3
"""Of which an order is worth a number."""
NOTHING = 0.05
"""AP50 below which a detector has learnt nothing to compare."""


@dataclass(frozen=True)
class _Resampled:
    """A row's metrics in every resample.

    Attributes:
        truth: digest of the ground truth.
        values: name -> float64 [1 + R], mean over seeds; the first is of the images as they are.
    """

    truth: str
    values: dict[str, NDArray[np.float64]]


def with_gains(
    tidy: pd.DataFrame,
    metrics: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Sequence[str]]],
    baselines: Sequence[int | None],
) -> pd.DataFrame:
    """The tidy table with what each row gains over its baseline: itself minus the baseline.

    Args:
        tidy: what ``assemble`` returned for the same metrics and files.
        metrics: see ``assemble``.
        files: see ``assemble``; kind "matches" has the matches.npz of each seed.
        baselines: for each row the one that it is compared with, None: it has no gain; empty: no
            row has.

    Returns:
        A frame with further columns: "baseline" (its row; nan: none), "gain" and its 95% interval
        "low" and "high" (nan where the metric cannot be resampled), "reported_gain", and "best":
        whether the row is the best of its column by more than the images could explain.

    Raises:
        InputError: a file of matches is no such file.
    """
    samples = _resample(files)
    baseline_of = dict(enumerate(baselines))
    numbers = tidy.set_index(["row", "metric"])
    found = []
    for row, name in numbers.index:
        baseline = baseline_of.get(row)
        if baseline is None:
            found.append({"baseline": np.nan, "gain": np.nan, "low": np.nan, "high": np.nan,
                          "reported_gain": np.nan})  # fmt: skip
            continue
        here, there = numbers.loc[(row, name)], numbers.loc[(baseline, name)]
        low, high = _interval(samples, numbers["measured"], row, baseline, name)
        found.append({
            "baseline": baseline,
            "gain": here["measured"] - there["measured"],
            "low": low,
            "high": high,
            "reported_gain": here["reported"] - there["reported"],
        })  # fmt: skip
    extended = pd.concat([tidy, pd.DataFrame(found, index=tidy.index)], axis=1)
    best = {metric.name: _clear_best(samples, numbers["measured"], metric.name, metric.better)
            for metric in map(read_metric, metrics)}  # fmt: skip
    extended["best"] = [best[name] == row for row, name in numbers.index]
    return extended


def _resample(files: Sequence[Mapping[str, Sequence[str]]]) -> dict[int, _Resampled]:
    """Metrics of every row that has matches, in resamples that are the same for all of them."""
    weights: dict[str, Counts] = {}
    samples = {}
    for row, kinds in enumerate(files):
        seeds = [read_matches(Path(path)) for path in kinds.get("matches", ())]
        if not seeds:
            continue
        first = seeds[0]["bbox"]
        truth = first.ground_truth
        if truth not in weights:
            weights[truth] = draw_weights(len(first.image_ids), RESAMPLES, SEED)
        values = {}
        for iou_type in seeds[0]:
            of_seeds = [weighted_metrics(seed[iou_type], weights[truth]) for seed in seeds]
            for name in of_seeds[0]:
                means = [mean_over_classes(one[name]) for one in of_seeds]
                values[PREFIXES[iou_type] + name] = np.mean(means, axis=0)
        samples[row] = _Resampled(truth, values)
    return samples


def _interval(
    samples: Mapping[int, _Resampled], measured: pd.Series, row: int, other: int, name: str
) -> tuple[float, float]:
    """95% interval of the first row minus the other; nan where there is none.

    There is none for a metric that is not resampled (AP60), for rows measured on different images,
    and where the number shown is not that of the records (LRP at another tau).
    """
    rows = (row, other)
    undefined = float("nan"), float("nan")
    if not all(index in samples and name in samples[index].values for index in rows):
        return undefined
    first, second = (samples[index] for index in rows)
    shown = all(
        np.isclose(samples[index].values[name][0], measured[index, name], rtol=0, atol=1e-9)
        for index in rows
    )
    if first.truth != second.truth or not shown:
        return undefined
    return interval(first.values[name] - second.values[name])


def gains_over(
    files: Sequence[Sequence[str]], baselines: Sequence[int], name: str
) -> list[tuple[float, float, float]]:
    """Gain of each result over another and its 95% interval, as a table has them.

    Args:
        files: of each result the matches.npz of each seed.
        baselines: of each result the one that it is compared with.
        name: of a metric of boxes, "AP".

    Returns:
        (gain, low, high) of each; the interval is nan for results of different images.

    Raises:
        InputError: a file of matches is no such file.
    """
    samples = _resample([{"matches": seeds} for seeds in files])
    measured = pd.Series({(row, name): of.values[name][0] for row, of in samples.items()})
    return [
        (
            measured[row, name] - measured[baseline, name],
            *_interval(samples, measured, row, baseline, name),
        )
        for row, baseline in enumerate(baselines)
    ]


def _clear_best(
    samples: Mapping[int, _Resampled], measured: pd.Series, name: str, better: str | None
) -> int | None:
    """The best row, if the interval of what it has over each other one leaves out 0."""
    values = measured.xs(name, level="metric").dropna()
    if better is None or len(values) < 2:
        return None
    # Not the second best alone: a worse one that errs in other images can be harder to tell apart.
    first, *others = values.sort_values(ascending=better == "lower", kind="stable").index
    intervals = (_interval(samples, measured, first, other, name) for other in others)
    return first if all(low > 0 or high < 0 for low, high in intervals) else None


@dataclass(frozen=True)
class Agreement:
    """How far the rows of a column behave as in the work.

    Attributes:
        metric: name of the column.
        rows: measured and reported.
        order: rank correlation of measured and reported numbers, in [-1, 1]; nan for few rows.
        gains: measured and reported.
        same_sign: those of the gains that point where the reported ones do.
        clear: those of the gains whose interval leaves out 0.
        size: mean size of the measured gains by that of the reported ones; nan without any.
    """

    metric: str
    rows: int
    order: float
    gains: int
    same_sign: int
    clear: int
    size: float


def agreement(tidy: pd.DataFrame) -> list[Agreement]:
    """Of each column that is measured and reported, from what ``with_gains`` returned."""
    found = []
    for name, lines in tidy.groupby("metric", sort=False):
        both = lines.dropna(subset=["measured", "reported"])
        gains = both.dropna(subset=["gain", "reported_gain"])
        if both.empty:
            continue
        few = len(both) < LEAST_ROWS
        order = spearman(both["measured"].to_numpy(), both["reported"].to_numpy())
        signs = np.sign(gains["gain"]) == np.sign(gains["reported_gain"])
        clear = (gains["low"] > 0) | (gains["high"] < 0)
        reported = gains["reported_gain"].abs().mean()
        size = gains["gain"].abs().mean() / reported if reported > 0 else np.nan
        found.append(
            Agreement(str(name), len(both), float("nan") if few else order, len(gains),
                      int(signs.sum()), int(clear.sum()), float(size))
        )  # fmt: skip
    return found


def printed_gains(
    tidy: pd.DataFrame, names: Sequence[str], metrics: Sequence[Mapping[str, Any]]
) -> list[Gain]:
    """Every gain that a work prints, in its unit, beside ours.

    Args:
        tidy: what ``with_gains`` returned for the same metrics.
        names: what the rows are called.
        metrics: see ``assemble``; those of which neither is better have no gains.
    """
    columns = {metric.name: metric for metric in map(read_metric, metrics)}
    found = []
    for _, line in tidy.dropna(subset=["reported_gain"]).iterrows():
        metric = columns[line["metric"]]
        if metric.better is None or abs(line["reported_gain"]) < ROUNDING:
            continue
        unit = 100 if metric.percent else 1
        measured, low, high = (
            None if np.isnan(line[key]) else float(line[key]) * unit
            for key in ("gain", "low", "high")
        )
        name = f"{names[line['row']]} over {names[int(line['baseline'])]}: {metric.name}"
        printed = round(float(line["reported_gain"]) * unit, 6)
        found.append(Gain(name, printed, measured, low, high))
    return found


def says_nothing(tidy: pd.DataFrame) -> bool:
    """Whether every row measured has an AP50 (or AP, of a table without it) below NOTHING."""
    for name in ("AP50", "AP"):
        values = tidy.loc[tidy["metric"] == name, "measured"].dropna()
        if len(values):
            return bool((values < NOTHING).all())
    return False
