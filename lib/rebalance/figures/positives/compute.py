"""What positives of trained detectors say (bbgen 5, 6; thesis 3.12, 3.14, 4.5, 4.6; r3cnn 2).

Numbers come from positives.json, see ``rebalance.engine.positives``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rebalance.boxes import paired_iou
from rebalance.errors import InputError
from rebalance.figures.box_generator.compute import (
    REFERENCE,
    iou_shares,
    roi_source_ious,
    shares_in_words,
)
from rebalance.figures.checks import Check, printed_claim, printed_number
from rebalance.generators.regions import feasible_region, quadrant_areas
from rebalance.inputs import read_json
from rebalance.samplers.statistics import CornerShares, corner_shares

BINS_PER_TENTH = 10
"""Bins of width 0.01 in one of width 0.1."""
ABOUT = 0.5
"""What counts as "about" a printed number: up to this part of it more or less."""
OF_A_SHARE = 0.03
"""By which shares of 2,500 points may differ: three standard deviations."""
CROWD_RADIUS = 0.05
"""Around the reference's corner; its sides are 0.3 long."""
ALIKE = 0.1
"""Largest difference of two shares that look alike."""
BIN_OF_LOOPS = 5
"""Bins of width 0.01 in one of those that loops are drawn in."""
FLOAT_SLACK = 1e-4
"""Corners are kept to six decimals."""


@dataclass(frozen=True)
class Positives:
    """Positives of one run, pooled over its seeds.

    Attributes:
        iou_edges: [51], 0.5 ... 1.
        iou_counts: [50], positives by IoU with their ground truth.
        loops: [H, 50], the same of every head, in order.
        mean_positives: per image.
        corners: [K, 2] xy relative to the reference box, of the first seed.
        corners_near_half: [K, 2], of positives with an IoU in [0.5, 0.6], of the first seed.
        after_edges: [51], 0 ... 1.
        counts: [50, 50], positives by IoU before and after regression.
        bins: low, high, num, degraded, lost (shares), error_before, error_after (means), one line
            per 0.1 of the IoU before.
    """

    iou_edges: NDArray[np.float64]
    iou_counts: NDArray[np.int64]
    loops: NDArray[np.int64]
    mean_positives: float
    corners: torch.Tensor
    corners_near_half: torch.Tensor
    after_edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    bins: pd.DataFrame

    @property
    def tenth_shares(self) -> list[float]:
        """Shares of the five bins of width 0.1; nan without positives."""
        return tenth_shares(self.iou_counts)


def tenth_shares(iou_counts: NDArray[np.int64]) -> list[float]:
    """Shares of the five bins of width 0.1, of [50] counts; nan without positives."""
    counts = iou_counts.reshape(-1, BINS_PER_TENTH).sum(axis=1)
    return [float(count) / (int(counts.sum()) or math.nan) for count in counts]


Series = Mapping[str, Positives]


def load_positives(runs: Mapping[str, Sequence[str]]) -> dict[str, Positives]:
    """The positives of each run; of several heads those of the first, but for their IoUs.

    Args:
        runs: label -> one positives.json per seed.

    Raises:
        InputError: a file is absent, not JSON, or lacks a field.
    """
    return {label: _pooled([_heads(Path(file)) for file in files])
            for label, files in runs.items()}  # fmt: skip


def _heads(path: Path) -> list[Mapping[str, Any]]:
    content = read_json(path, "file of positives")
    heads = content.get("heads") if isinstance(content, Mapping) else None
    if not isinstance(heads, list) or not heads:
        raise InputError(f"{path}: heads: must be a list of one entry or more")
    needed = {"mean_positives", "iou_edges", "iou_counts", "corners", "corners_near_half",
              "regression"}  # fmt: skip
    for place, head in enumerate(heads):
        if missing := sorted(needed - set(head)):
            raise InputError(f"{path}: heads[{place}] has no {', '.join(missing)}")
    return heads


def _pooled(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> Positives:
    heads = [seed[0] for seed in seeds]
    first = heads[0]
    regressions = [head["regression"] for head in heads]
    return Positives(
        iou_edges=np.array(first["iou_edges"]),
        iou_counts=np.sum([head["iou_counts"] for head in heads], axis=0),
        loops=np.sum([[head["iou_counts"] for head in seed] for seed in seeds], axis=0),
        mean_positives=float(np.mean([head["mean_positives"] for head in heads])),
        corners=torch.tensor(first["corners"], dtype=torch.float64).view(-1, 2),
        corners_near_half=torch.tensor(first["corners_near_half"], dtype=torch.float64).view(-1, 2),
        after_edges=np.array(regressions[0]["after_edges"]),
        counts=np.sum([regression["counts"] for regression in regressions], axis=0),
        bins=_pooled_bins([pd.DataFrame(regression["bins"]) for regression in regressions]),
    )


def _pooled_bins(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Means over all positives of the seeds, not over the seeds."""
    total = pd.concat([frame["num"] for frame in frames], axis=1).sum(axis=1)
    pooled = frames[0][["low", "high"]].assign(num=total)
    for name in ("degraded", "lost", "error_before", "error_after"):
        sums = sum(frame[name].astype(float).fillna(0) * frame["num"] for frame in frames)
        pooled[name] = sums / total.where(total > 0)
    return pooled


def roi_source_checks(series: Series, numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 5, thesis 4.5: RPN and base are concentrated near 0.5, the RPN less so."""
    base = iou_shares(roi_source_ious()["base, T = 0.5"])
    found = []
    for label, positives in series.items():
        shares = positives.tenth_shares
        found += [
            printed_claim(f"RoIs of the {label} are concentrated near 0.5",
                          shares == sorted(shares, reverse=True), shares_in_words(shares)),
            printed_claim(f"those of the {label} less so than those of the base source, T = 0.5",
                          shares[0] < base[0], f"{shares[0]:.3f} against {base[0]:.3f} below 0.6"),
        ]  # fmt: skip
    return found


def roi_source_table(series: Series) -> pd.DataFrame:
    """RoIs of the generated sources and the trained ones, and their shares by IoU."""
    lines = {name: [len(ious), *iou_shares(ious)] for name, ious in roi_source_ious().items()}
    for label, positives in series.items():
        lines[label] = [int(positives.iou_counts.sum()), *positives.tenth_shares]
    names = ["RoIs", *(f"{low / 10:.1f} to {low / 10 + 0.1:.1f}" for low in range(5, 10))]
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=names)
    return frame.rename_axis("source").reset_index()


def points_beyond(points: torch.Tensor, min_iou: float = 0.5) -> int:
    """Corners from which no box reaches ``min_iou``: the best ends where the reference ends."""
    boxes = torch.cat([points, REFERENCE[2:].expand(len(points), 2)], dim=1)
    return int((paired_iou(boxes, REFERENCE.expand(len(points), 4)) < min_iou - FLOAT_SLACK).sum())


def corner_checks(series: Series, numbers: Mapping[str, Any]) -> list[Check]:
    """bbgen Figure 6, thesis 4.6: corners of the RPN's RoIs lie inside more often than outside."""
    shares = [value for key, value in numbers.items() if key.startswith("share_")]
    beyond = next(value for key, value in numbers.items() if key.startswith("points_outside"))
    areas = quadrant_areas(torch.tensor([0.5]))
    uniform = float(areas.inside / (areas.inside + areas.outside + 2 * areas.mixed))
    found = []
    for label, positives in series.items():
        ours = corner_shares(positives.corners)
        found += [
            printed_number(f"share of corners of the {label} inside the box", ours.inside,
                           shares[0], tolerance=OF_A_SHARE),
            printed_number(f"share of corners of the {label} outside on both axes", ours.outside,
                           shares[1], tolerance=OF_A_SHARE),
            printed_number(f"points of the {label} beyond the limit of 0.5",
                           points_beyond(positives.corners), beyond),
            printed_claim(
                f"more corners of the {label} inside the box than outside on both axes",
                ours.inside > ours.outside, f"{ours.inside:.3f} and {ours.outside:.3f}"),
            printed_claim(
                "more of them inside than in a source that is uniform in space",
                ours.inside > uniform, f"{ours.inside:.3f} against {uniform:.3f} of the area"),
        ]  # fmt: skip
    return found


def corner_table(series: Series) -> pd.DataFrame:
    """Where the corners lie: source, number, shares inside, outside, mixed."""
    return pd.DataFrame([
        _corner_line(label, len(positives.corners), corner_shares(positives.corners))
        for label, positives in series.items()
    ])  # fmt: skip


def _corner_line(label: str, num: int, shares: CornerShares) -> dict[str, Any]:
    names = ("inside", "outside on both axes", "in between")
    return {"source": label, "corners": num, **dict(zip(names, shares, strict=True))}


def crowding(points: torch.Tensor) -> float:
    """How much denser points lie near the reference's corner than over the feasible region of 0.5.

    Near is within CROWD_RADIUS; 1 means evenly spread.
    """
    if len(points) == 0:
        return math.nan
    x, y = feasible_region(REFERENCE, 0.5, "top_left").T
    area = float((x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2)
    near = (points - REFERENCE[:2]).norm(dim=1) < CROWD_RADIUS
    return float(near.double().mean()) / (math.pi * CROWD_RADIUS**2 / area)


def near_half_checks(series: Series, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.14: points are denser around the corner of the reference box."""
    found = []
    for label, positives in series.items():
        points = positives.corners_near_half
        density = crowding(points)
        found += [
            printed_claim(
                f"{len(points)} RoIs of the {label} are denser around the top-left corner of the "
                "reference box", density > 1,
                f"{density:.1f} times as dense within {CROWD_RADIUS} of it as over all"),
        ]  # fmt: skip
    return found


def near_half_table(series: Series) -> pd.DataFrame:
    """As ``corner_table``, of the positives with an IoU of 0.5 to 0.6."""
    return pd.DataFrame([
        _corner_line(label, len(points), corner_shares(points))
        for label, points in ((name, made.corners_near_half) for name, made in series.items())
    ])  # fmt: skip


def bin_names(bins: pd.DataFrame) -> list[str]:
    """``0.5-0.6``, ``0.6-0.7``, ..."""
    return [f"{low:.1f}-{high:.1f}" for low, high in zip(bins["low"], bins["high"], strict=True)]


def regressor_checks(series: Series, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.12: where the regressor helps, where it harms."""
    printed_lost = numbers["lost_share_in_bin_0_5_to_0_6_about"]
    printed_worse = [str(name).replace("1.0", "1") for name in
                     numbers["bins_where_no_regression_is_better"]]  # fmt: skip
    found = []
    for label, positives in series.items():
        bins = positives.bins
        lost = float(bins["lost"].iloc[0])
        grows = bins["error_after"] > bins["error_before"]
        worse = [name for name, grown in zip(bin_names(bins), grows, strict=True) if grown]
        found += [
            printed_number(
                f"share of the positives of {label} with an IoU of 0.5 to 0.6 that fall under 0.5",
                lost, printed_lost, note="printed as about", tolerance=ABOUT * printed_lost),
            printed_claim(
                f"the mean error grows for an IoU of {' and '.join(printed_worse)}, and only there",
                [name.replace("1.0", "1") for name in worse] == printed_worse,
                ", ".join(worse) or "nowhere"),
        ]  # fmt: skip
    return found


def regressor_table(series: Series) -> pd.DataFrame:
    """thesis Figure 3.12 (c): one line per 0.1 of the IoU before regression."""
    frames = []
    for label, positives in series.items():
        bins = positives.bins
        frames.append(pd.DataFrame({
            "run": label,
            "IoU before": bin_names(bins),
            "positives": bins["num"],
            "degraded (%)": 100 * bins["degraded"],
            "under 0.5 after (%)": 100 * bins["lost"],
            "mean error before": bins["error_before"],
            "mean error after": bins["error_after"],
        }))  # fmt: skip
    table = pd.concat(frames, ignore_index=True)
    return table.drop(columns="run") if len(series) == 1 else table


def loop_checks(series: Series, numbers: Mapping[str, Any]) -> list[Check]:
    """r3cnn Figure 2: what each loop adds to the IoUs that a detector is trained on.

    Args:
        series: Mask R-CNN, R3-CNN with falling thresholds, R3-CNN with rising ones.
        numbers: none are printed.
    """
    mask, falling, rising = series.values()
    first, alone = tenth_shares(rising.loops[0]), tenth_shares(mask.loops[0])
    two = tenth_shares(rising.loops[:2].sum(axis=0))
    last = tenth_shares(rising.loops[-1])
    low, high = sum(last[:2]), sum(last[3:])
    falling_last = tenth_shares(falling.loops[-1])
    falling_low, falling_high = sum(falling_last[:2]), sum(falling_last[3:])
    difference = max(abs(a - b) for a, b in zip(first, alone, strict=True))
    return [
        printed_claim("the first loop alone looks like Mask R-CNN", difference < ALIKE,
                      f"{shares_in_words(first)}; Mask R-CNN: {shares_in_words(alone)}",
                      f"shares of the tenths from 0.5 on, less than {ALIKE} apart"),
        printed_claim("the first two loops together are more balanced", max(two) < max(first),
                      f"{max(two):.3f} against {max(first):.3f}", "by the largest share"),
        printed_claim("the third loop adds many RoIs of high IoU", last[-1] > first[-1],
                      f"{last[-1]:.3f} of its RoIs are above 0.9, {first[-1]:.3f} of the first's"),
        printed_claim("rising thresholds end skewed to high IoUs, falling ones to low ones",
                      high > low and falling_high < falling_low,
                      f"above 0.8 and below 0.7: {high:.3f} and {low:.3f}, "
                      f"falling {falling_high:.3f} and {falling_low:.3f}"),
    ]  # fmt: skip


def loop_table(series: Series) -> pd.DataFrame:
    """Positives of each loop, and their shares by IoU."""
    names = [f"{low / 10:.1f} to {low / 10 + 0.1:.1f}" for low in range(5, 10)]
    return pd.DataFrame([
        {"detector": label, "loop": str(loop), "positives": int(counts.sum()),
         **dict(zip(names, tenth_shares(counts), strict=True))}
        for label, made in series.items()
        for loop, counts in enumerate(made.loops, start=1)
    ])  # fmt: skip
