"""Figures with a point or a line per run (focal_eiou Figure 4, thesis 3.17, 7.3 and 7.4; cross)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rebalance.errors import InputError
from rebalance.figures.checks import POINTS, Check, named_numbers, printed_claim, printed_number
from rebalance.figures.comparison.gains import gains_over
from rebalance.figures.family import Row
from rebalance.figures.training_curves.compute import load_logs, smooth
from rebalance.metrics.output import read_metrics

Runs = Mapping[str, Sequence[str]]

BASELINE = "baseline"
OWN = "its own"
"""What the row of a detector with the loss that it comes with is called."""
START_PART, SPAN_PART = 0.02, 0.05
"""Parts of a training: what its losses are compared with, and what they are smoothed over."""
EARLY_PART, LATE_PART = 0.2, 0.5
"""Parts of a training: what counts as quickly, and from where on losses are compared."""
NEAR = 0.25
"""How far from 1 a ratio of losses that are balanced may be."""
BALANCED = 0.001
"""How far from 1 the ratio of gradients may be that is 1."""
UNSTEADY = 1.5
"""From what ratio of the 95th to the 5th percentile on a curve fluctuates strongly."""
DIVERGED = 1.5
"""From what multiple of its lowest value on a smoothed loss that is finite has diverged."""
RPN_LOSSES = {"classification": "rpn_class_loss", "regression": "rpn_box_loss"}


def loss_settings(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """AP of each run by what was set.

    Args:
        runs: label -> one metrics.json per seed, in the order of ``rows``.
        rows: settings ``panel`` (a, b, c or BASELINE), ``series``, ``value``; reported AP in per
            cent where it is printed.

    Returns:
        panel, series, value, AP, spread (standard deviation over seeds, nan for one) and reported,
        the last three in per cent.
    """
    lines = []
    for row, files in zip(rows, runs.values(), strict=True):
        seeds = np.array([read_metrics(Path(file), ["AP"])["AP"] for file in files]) * 100
        lines.append({
            **row["setting"],
            "AP": float(seeds.mean()),
            "spread": float(seeds.std(ddof=1)) if len(seeds) > 1 else float("nan"),
            "reported": row["reported"].get("AP", float("nan")),
        })  # fmt: skip
    return pd.DataFrame(lines).astype({"value": float})


def _curve(points: pd.DataFrame, series: str) -> pd.Series:
    """AP over the value set, of one series."""
    return points[points["series"] == series].set_index("value")["AP"].sort_index()


def _values(curve: pd.Series) -> str:
    return ", ".join(f"{value:g}: {ap:.1f}" for value, ap in curve.items())


def loss_setting_checks(points: pd.DataFrame, numbers: Mapping[str, Any]) -> list[Check]:
    """focal_eiou Figure 4: where the curves peak, and how they fall."""
    eiou, l1 = _curve(points, "EIoU"), _curve(points, "FocalL1")
    v1, focal, star = (_curve(points, f"Focal-EIoU{end}") for end in (" (v1)", "", "*"))
    baseline = float(points.loc[points["panel"] == BASELINE, "AP"].iloc[0])
    weight = float(numbers["a"]["best_loss_weight"])
    beta = float(numbers["b"]["best_beta_focal_l1"])
    gamma = float(numbers["c"]["best_gamma_focal_eiou"])
    own = eiou[weight]
    drops = [float(curve.max() - curve.iloc[-1]) for curve in (star, focal)]
    printed = [
        printed_number(f"AP of {point['series']} at {point['value']:g}", point["AP"],
                       point["reported"], tolerance=POINTS)
        for point in points.to_dict("records") if not math.isnan(point["reported"])
    ]  # fmt: skip
    return [
        *printed,
        printed_number("(a) gain of that weight over the baseline", own - baseline,
                       numbers["a"]["best_gain_over_baseline"], tolerance=POINTS),
        printed_claim(f"(a) EIoU is best with a loss weight of {weight}", eiou.idxmax() == weight,
                      _values(eiou)),
        printed_claim(f"(a) AP drops for weights above {weight}",
                      bool((eiou[eiou.index > weight] < own).all()),
                      _values(eiou[eiou.index >= weight])),
        printed_claim(
            "(a) that weight gains over the baseline", own > baseline, f"{own - baseline:+.1f}"),
        printed_claim(f"(b) FocalL1 is best with a beta of {beta}", l1.idxmax() == beta,
                      _values(l1)),
        printed_claim("(b) Focal-EIoU (v1) never improves on EIoU", bool((v1 <= own).all()),
                      f"{_values(v1)} against {own:.1f}"),
        printed_claim(f"(c) Focal-EIoU is best with a gamma of {gamma}", focal.idxmax() == gamma,
                      _values(focal)),
        printed_claim("(c) Focal-EIoU is below the baseline at gamma 2", focal[2.0] < baseline,
                      f"{focal[2.0]:.1f} against {baseline:.1f}; EIoU has {own:.1f}",
                      "the baseline is taken to be RetinaNet's smooth L1"),
        printed_claim("(c) Focal-EIoU* gains over EIoU at its best gamma", star.max() > own,
                      f"{star.max():.1f} at {star.idxmax():g} against {own:.1f}",
                      "over what it gains is not said; EIoU is our reading"),
        printed_claim("(c) it drops more from there to the largest gamma than Focal-EIoU does",
                      drops[0] > drops[1], f"{drops[0]:.1f} against {drops[1]:.1f}"),
    ]  # fmt: skip


def rpn_losses(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """The two losses of the region proposal network over the training.

    Args:
        runs: label -> one log.csv per seed.
        rows: not used.

    Returns:
        run, loss (classification, regression), iteration, value (mean over seeds, smoothed over
        SPAN_PART of the training), left (value by the mean over the first START_PART).

    Raises:
        InputError: a log that lacks one of the two losses.
    """
    frames = []
    for label, logs in load_logs(runs).items():
        for name, column in RPN_LOSSES.items():
            for log, file in zip(logs, runs[label], strict=True):
                if column not in log:
                    raise InputError(f"{file}: no column {column!r}, it has {list(log)}")
            series = [log.set_index("iteration")[column] for log in logs]
            mean = pd.concat(series, axis=1, join="inner").mean(axis=1)
            start = float(mean.iloc[: max(1, round(START_PART * len(mean)))].mean())
            value = smooth(mean.to_numpy(), SPAN_PART * len(mean))
            frames.append(pd.DataFrame({
                "run": label, "loss": name, "iteration": mean.index, "value": value,
                "left": value / start,
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def rpn_loss_checks(losses: pd.DataFrame, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 3.17: classification falls faster."""
    found = []
    for label, some in losses.groupby("run"):
        left = {name: group["left"].to_numpy() for name, group in some.groupby("loss")}
        means = [float(left[name].mean()) for name in RPN_LOSSES]
        lower = float((left["classification"] < left["regression"]).mean())
        found += [
            printed_claim(f"{label}: the classification loss falls faster", means[0] < means[1],
                          f"of its start {means[0]:.2f} is left, against {means[1]:.2f}, on "
                          "average",
                          "both relative to their own start, averaged over the training"),
            printed_claim(f"{label}: less of it is left at most iterations", lower > 0.5,
                          f"{100 * lower:.0f} % of them"),
        ]  # fmt: skip
    return found


def _mean_columns(runs: Runs, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Columns of each run's logs, mean over its seeds, by iteration.

    Raises:
        InputError: a log that lacks one of them.
    """
    found = {}
    for label, logs in load_logs(runs).items():
        for log, file in zip(logs, runs[label], strict=True):
            for column in columns:
                if column not in log:
                    raise InputError(f"{file}: no column {column!r}, it has {list(log)}")
        several = pd.concat([log.set_index("iteration")[list(columns)] for log in logs])
        found[label] = several.groupby(level=0).mean()
    return found


def alrp_parts(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """aLRP loss and its components over the training; the localisation as it is weighed.

    Args:
        runs: one label -> one log.csv per seed, of a coupled objective with ``log``.
        rows: not used.

    Returns:
        part (aLRP, classification, localisation), iteration, value (mean over seeds, smoothed).

    Raises:
        InputError: a log without the components.
    """
    (losses,) = _mean_columns(runs, ["class_loss", "box_loss", "localisation"]).values()
    parts = {
        "aLRP": losses["class_loss"] + losses["localisation"],
        "classification": losses["class_loss"],
        "localisation, weighed": losses["box_loss"],
    }
    return pd.concat([
        pd.DataFrame({"part": part, "iteration": values.index,
                      "value": smooth(values.to_numpy(), SPAN_PART * len(values))})
        for part, values in parts.items()
    ], ignore_index=True)  # fmt: skip


def alrp_part_checks(parts: pd.DataFrame, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 7.3: the localisation component is balanced with the whole."""
    whole, _, weighed = (group["value"].to_numpy() for _, group in
                         parts.groupby("part", sort=False))  # fmt: skip
    late = slice(round(LATE_PART * len(whole)), None)
    ratio = float((weighed[late] / whole[late]).mean())
    return [
        printed_claim("the localisation component is self-balanced", abs(ratio - 1) < NEAR,
                      f"{ratio:.2f} of the aLRP loss in the second half",
                      f"as it is weighed; from {1 - NEAR:g} to {1 + NEAR:g} counts as balanced"),
        printed_claim("the aLRP loss falls", whole[-1] < whole[0],
                      f"{whole[0]:.2f} to {whole[-1]:.2f}"),
    ]  # fmt: skip


def gradient_balance(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """Gradients of negatives over those of positives, and the loss of the classes.

    Args:
        runs: label -> one log.csv per seed, of an objective with ``log``.
        rows: not used.

    Returns:
        run, iteration, ratio (mean over seeds; nan without positives), loss (mean over seeds,
        smoothed), left (loss by its first value).

    Raises:
        InputError: a log without gradients.
    """
    frames = []
    for label, log in _mean_columns(runs, ["gradient_ratio", "class_loss"]).items():
        loss = smooth(log["class_loss"].to_numpy(), SPAN_PART * len(log))
        frames.append(pd.DataFrame({
            "run": label, "iteration": log.index,
            "ratio": log["gradient_ratio"].where(log["gradient_ratio"] > 0).to_numpy(),
            "loss": loss, "left": loss / loss[0],
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def gradient_balance_checks(curves: pd.DataFrame, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure 7.4: aLRP is balanced at every iteration, the others are not.

    Args:
        curves: of cross entropy, focal loss and aLRP, in this order; see ``gradient_balance``.
        numbers: not used.
    """
    groups = {str(name): group for name, group in curves.groupby("run", sort=False)}
    entropy, *_, alrp = groups
    checks = []
    for name, group in groups.items():
        ratio = group["ratio"].dropna()
        low, high = ratio.quantile([0.05, 0.95])
        shown = f"{low:.3g} to {high:.3g} from the 5th to the 95th percentile"
        if name == alrp:
            off = float((ratio - 1).abs().max())
            checks.append(printed_claim(f"the ratio of {name} is 1 at every iteration",
                                        off < BALANCED, f"at most {off:.1g} off"))  # fmt: skip
        else:
            checks.append(printed_claim(f"the ratio of {name} fluctuates strongly",
                                        high / low > UNSTEADY, shown))  # fmt: skip
    left = {name: group["left"].iloc[round(EARLY_PART * len(group))]
            for name, group in groups.items()}  # fmt: skip
    checks.append(
        printed_claim(f"the loss of {entropy} drops quickly, before the others",
                      left[entropy] == min(left.values()),
                      named_numbers(left),
                      f"of the first value left after a share of {EARLY_PART:g} of the training")
    )  # fmt: skip
    return checks


def transfer(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """What each loss gains on each detector over the detector's own loss.

    Args:
        runs: label -> one matches.npz per seed, in the order of ``rows``.
        rows: settings ``detector`` and ``loss``; the loss OWN is what others are compared with.

    Returns:
        detector, loss, and AP's gain with the ends low and high of its 95% interval, in points;
        rows of OWN are left out.

    Raises:
        InputError: a detector has no row OWN.
    """
    settings = [row["setting"] for row in rows]
    own = {setting["detector"]: row for row, setting in enumerate(settings)
           if setting["loss"] == OWN}  # fmt: skip
    if without := sorted({setting["detector"] for setting in settings} - set(own)):
        raise InputError(f"rows: {', '.join(without)} needs a row with the loss {OWN!r}")
    found = gains_over(list(runs.values()), [own[s["detector"]] for s in settings], "AP")
    gains = pd.DataFrame(found, columns=["gain", "low", "high"]) * 100
    frame = pd.concat([pd.DataFrame(settings), gains], axis=1)
    return frame[frame["loss"] != OWN].reset_index(drop=True)


def wrong_target(runs: Runs, rows: Sequence[Row]) -> pd.DataFrame:
    """Gradients of negatives over those of positives, and the aLRP loss, until a training ends.

    Args:
        runs: label -> one log.csv per seed, of a coupled objective with ``log``; one that diverged
            is shorter.
        rows: not used.

    Returns:
        run, iteration, ratio (mean over seeds; nan without positives), loss (classification and
        localisation, mean over seeds, smoothed).

    Raises:
        InputError: a log without gradients or components.
    """
    frames = []
    columns = ["gradient_ratio", "class_loss", "localisation"]
    for label, log in _mean_columns(runs, columns).items():
        loss = (log["class_loss"] + log["localisation"]).to_numpy()
        frames.append(pd.DataFrame({
            "run": label, "iteration": log.index,
            "ratio": log["gradient_ratio"].where(log["gradient_ratio"] > 0).to_numpy(),
            "loss": smooth(loss, SPAN_PART * len(loss)),
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def wrong_target_checks(curves: pd.DataFrame, numbers: Mapping[str, Any]) -> list[Check]:
    """thesis Figure L.1: with a zero target positives pull more, and the training diverges.

    Args:
        curves: of the right target and of zero, in this order; see ``wrong_target``.
        numbers: not used.
    """
    logs = {str(name): group for name, group in curves.groupby("run", sort=False)}
    right, wrong = logs
    ends = {name: (group["ratio"].min(), group["ratio"].max()) for name, group in logs.items()}
    shown = {name: f"min-rate {low:.4g}, max-rate {high:.4g}" for name, (low, high) in ends.items()}
    ratio = logs[wrong]["ratio"].dropna().to_numpy()
    early = round(EARLY_PART * len(ratio))
    start, end = float(ratio[:early].mean()), float(ratio[-early:].mean())
    loss = {name: group["loss"].to_numpy() for name, group in logs.items()}
    worst = max(abs(rate - 1) for rate in ends[right])
    lowest, last = float(loss[wrong].min()), float(loss[wrong][-1])
    shorter = len(loss[wrong]) < len(loss[right])
    return [
        printed_claim(f"the rate is 1 at every iteration with the {right} as target",
                      worst < BALANCED, shown[right]),
        printed_claim(f"positives pull more than negatives with {wrong} as target",
                      ends[wrong][1] < 1 + BALANCED and ends[wrong][0] < 1 - BALANCED,
                      shown[wrong]),
        printed_claim("the more so the better the positives are ranked", end < start,
                      f"mean rate {start:.3f} in the first fifth of the training, {end:.3f} in the "
                      "last"),
        printed_claim(f"the training with {wrong} as target diverges",
                      shorter or last > DIVERGED * lowest,
                      f"ends after {len(loss[wrong])} of {len(loss[right])} iterations, with a "
                      f"loss of {last:.2f}; its lowest was {lowest:.2f}",
                      f"a loss that is not finite, or rises to {DIVERGED:g} times its lowest, "
                      "counts as diverging"),
    ]  # fmt: skip
