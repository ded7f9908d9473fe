"""Figures of the report on a detections file."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from rebalance.figures.detections.compute import SHARES, ClassCurves
from rebalance.figures.style import (
    PALETTE,
    SOFT,
    figure,
    legend_below,
    line_styles,
    svg_bytes,
)

#: More points do not show, and make the page heavy.
MOST_POINTS = 600
SHARE_COLOURS = dict(zip(SHARES, (PALETTE[0], PALETTE[5], PALETTE[1]), strict=True))


def plot_precision_recall(curves: Mapping[str, ClassCurves], tau: float = 0.5) -> Figure:
    """Precision against recall, one line per class, a cross where its LRP is least."""
    fig, ax = figure(columns=2, aspect=0.5)
    for name, style in line_styles(curves).items():
        curve = curves[name]
        points = _some(len(curve.recall))
        ax.plot(curve.recall[points], curve.precision[points], label=name, **style)
        if curve.optimum.n_tp:
            recall, precision = 1 - curve.optimum.fn, 1 - curve.optimum.fp
            ax.plot(recall, precision, "x", color=style["color"], markersize=7, markeredgewidth=2)
    ax.set(
        xlabel="recall",
        ylabel="precision",
        title=f"Precision and recall at IoU {tau:g}; × is the LRP-optimal point",
        xlim=(0, 1.01),
        ylim=(0, 1.03),
    )
    legend_below(fig, ax)
    return fig


def plot_s_lrp(curves: Mapping[str, ClassCurves]) -> Figure:
    """LRP and its components along the score threshold, a cross at the optimum (Fig. 5.9)."""
    fig, axes = figure(columns=2, grid=(2, 2), aspect=0.62, sharex=True)
    panels = {
        "lrp": ("LRP error", "olrp"),
        "loc": ("localisation: mean 1 − IoU of true positives", "loc"),
        "fp": ("1 − precision", "fp"),
        "fn": ("1 − recall", "fn"),
    }
    for ax, (field, (title, at_optimum)) in zip(axes.flat, panels.items(), strict=True):
        for name, style in line_styles(curves).items():
            curve = curves[name]
            points = _some(len(curve.s_lrp.scores))
            # The detections that score at least s change only at their scores.
            values = getattr(curve.s_lrp.errors, field)[points]
            scores = curve.s_lrp.scores[points]
            ax.plot(scores, values, label=name, drawstyle="steps-post", **style)
            if curve.optimum.n_tp:
                best = curve.optimum.threshold, getattr(curve.optimum, at_optimum)
                ax.plot(*best, "x", color=style["color"], markersize=6, markeredgewidth=2)
        ax.set_title(title)
        ax.set_ylim(0, 1.03 if field != "loc" else None)
    for ax in axes[1]:
        ax.set_xlabel("score threshold s")
    legend_below(fig, axes[0, 0])
    return fig


def plot_thresholds(curves: Mapping[str, ClassCurves], bins: int = 20) -> Figure:
    """How the LRP-optimal thresholds of the classes spread (Fig. 5.10)."""
    thresholds = np.array([curve.optimum.threshold for curve in curves.values()])
    defined = thresholds[~np.isnan(thresholds)]
    fig, ax = figure(columns=2, aspect=0.32)
    low, high = min(0.0, *defined, 0.0), max(1.0, *defined, 1.0)
    ax.hist(defined, bins=bins, range=(low, high), color=PALETTE[0], edgecolor="white")
    if len(defined):
        ax.axvline(defined.mean(), color=SOFT, linestyle="--", label=f"mean {defined.mean():.2f}")
        ax.legend()
    undefined = len(thresholds) - len(defined)
    ax.set(
        xlabel="LRP-optimal threshold" + (f" ({undefined} classes have none)" if undefined else ""),
        ylabel="classes",
        title="LRP-optimal thresholds of the classes",
    )
    ax.yaxis.get_major_locator().set_params(integer=True)
    return fig


def plot_error_shares(shares: pd.DataFrame, most: int = 15) -> Figure:
    """The classes with the largest oLRP, and what it is made of; see ``error_shares``."""
    worst = shares.head(most).iloc[::-1]
    fig, ax = figure(columns=2, aspect=0.1 + 0.028 * max(len(worst), 4))
    labels = [f"{name} ({count:.0f})" for name, count in worst["objects"].items()]
    left = np.zeros(len(worst))
    for name in SHARES:
        ax.barh(labels, worst[name], left=left, color=SHARE_COLOURS[name], label=name)
        left += worst[name].to_numpy()
    for row, total in enumerate(left):
        ax.text(total + 0.01, row, f"{100 * total:.1f}", va="center")
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
    ax.set(xlim=(0, 1.08), xlabel="oLRP, the sum of its three errors (percent)")
    ax.set_title(f"The {len(worst)} classes with the largest oLRP (objects)")
    ax.grid(axis="y", visible=False)
    legend_below(fig, ax)
    return fig


def svg(fig: Figure) -> str:
    """The figure as the text of an SVG; equal figures give equal text."""
    return svg_bytes(fig).decode()


def _some(count: int) -> NDArray[np.int64]:
    """Up to MOST_POINTS positions of ``count``, the first and the last among them."""
    if not count:
        return np.zeros(0, np.int64)
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.int64))
