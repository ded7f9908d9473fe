"""Figures of released models; see ``rebalance.figures.released.compute``."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rebalance.figures.detections.draw import plot_s_lrp
from rebalance.figures.released.compute import ERRORS, MEAN, Curves
from rebalance.figures.style import INK, PALETTE, SOFT, figure, legend_below, line_styles

BINS = 20
MOST_POINTS = 2000


def plot_precision_recall_of(curves: Curves) -> Figure:
    """A panel for each class, a curve for each model, a cross at its LRP-optimal point."""
    columns = 2 if len(curves) == 4 else min(3, len(curves))
    rows = -(-len(curves) // columns)
    fig, axes = figure(columns=2, grid=(rows, columns), aspect=0.75, squeeze=False, sharey=True)
    styles = line_styles(next(iter(curves.values())))
    for ax, (name, models) in zip(axes.flat, curves.items(), strict=False):
        for label, curve in models.items():
            some = np.unique(
                np.linspace(0, max(len(curve.recall) - 1, 0), MOST_POINTS).round().astype(int)
            )
            if len(curve.recall):
                ax.plot(curve.recall[some], curve.precision[some], label=label, **styles[label])
            if curve.optimum.n_tp:
                ax.plot(1 - curve.optimum.fn, 1 - curve.optimum.fp, "x", markersize=6,
                        markeredgewidth=2, color=styles[label]["color"])  # fmt: skip
        ax.set(title=name, xlabel="recall", xlim=(0, 1.01), ylim=(0, 1.03))
    for ax in axes[:, 0]:
        ax.set_ylabel("precision")
    for ax in list(axes.flat)[len(curves) :]:
        ax.set_visible(False)
    legend_below(fig, axes.flat[0], columns=3)
    return fig


def plot_s_lrp_of(curves: Curves) -> Figure:
    """LRP and its components of one class along the score threshold, a line for each model."""
    (models,) = curves.values()
    return plot_s_lrp(models)


def plot_interpolation(gains: pd.DataFrame) -> Figure:
    """Bars of AP without interpolation, and on them what interpolation adds."""
    groups = list(gains.groupby("class", sort=False))
    fig, axes = figure(columns=2, grid=(1, len(groups)), aspect=0.8, squeeze=False)
    for ax, (name, group) in zip(axes[0], groups, strict=True):
        places = np.arange(len(group))
        ax.barh(places, group["without"], color=PALETTE[0], label="AP without interpolation")
        ax.barh(places, group["gain"], left=group["without"], color=PALETTE[1],
                label="added by interpolation")  # fmt: skip
        for place, without, gain in zip(places, group["without"], group["gain"], strict=True):
            ax.annotate(f"{gain:+.2f}", (without + max(gain, 0), place), xytext=(3, 0),
                        textcoords="offset points", va="center", fontsize=7)  # fmt: skip
        ax.set_yticks(places, group["model"])
        ax.invert_yaxis()
        ax.margins(x=0.16)
        ax.grid(axis="y", visible=False)
        ax.set(title=name, xlabel="AP (%)")
    legend_below(fig, axes[0, 0])
    return fig


def plot_panoptic_errors(errors: pd.DataFrame) -> Figure:
    """LRP_FP against LRP_FN, a point for each class, a panel for each model."""
    models = list(dict.fromkeys(errors["model"]))
    fig, axes = figure(columns=2, grid=(1, len(models)), aspect=1.05, squeeze=False, sharey=True)
    for ax, model in zip(axes[0], models, strict=True):
        ax.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8)
        of_model = errors[errors["model"] == model]
        for kind, mark, colour in (("thing", "o", PALETTE[0]), ("stuff", "s", PALETTE[1])):
            some = of_model[of_model["kind"] == kind]
            ax.plot(some["LRP_FP"], some["LRP_FN"], mark, color=colour, label=kind, alpha=0.7,
                    markersize=4)  # fmt: skip
        ax.set(title=model, xlabel="LRP_FP", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel("LRP_FN")
    legend_below(fig, axes[0, 0])
    return fig


def plot_threshold_histograms(thresholds: Mapping[str, pd.Series]) -> Figure:
    """How the LRP-optimal thresholds of the classes spread, a panel for each model."""
    columns = min(3, len(thresholds))
    rows = -(-len(thresholds) // columns)
    fig, axes = figure(columns=2, grid=(rows, columns), aspect=0.7, squeeze=False, sharex=True)
    for ax, (label, values) in zip(axes.flat, thresholds.items(), strict=False):
        ax.hist(values, bins=BINS, range=(0, 1), color=PALETTE[0], edgecolor="white")
        ax.axvline(values.mean(), color=INK, linestyle="--", linewidth=0.9)
        ax.set_title(f"{label}: mean {values.mean():.2f}")
        ax.yaxis.get_major_locator().set_params(integer=True)
    for ax in axes[-1]:
        ax.set_xlabel("LRP-optimal threshold")
    for ax in axes[:, 0]:
        ax.set_ylabel("classes")
    for ax in list(axes.flat)[len(thresholds) :]:
        ax.set_visible(False)
    return fig


def plot_tau_sweep(sweep: pd.DataFrame) -> Figure:
    """oLRP and its components against tau: thin lines of classes, their mean thick."""
    fig, axes = figure(columns=2, grid=(2, 2), aspect=0.6, sharex=True)
    styles = line_styles([name for name in dict.fromkeys(sweep["class"]) if name != MEAN])
    for ax, error in zip(axes.flat, ERRORS, strict=True):
        for name, group in sweep.groupby("class", sort=False):
            style = styles.get(str(name), {"color": INK, "linewidth": 2.2})
            ax.plot(group["tau"], group[error], label=str(name), **style)
        ax.set_title(error)
    for ax in axes[1]:
        ax.set_xlabel("tau")
    legend_below(fig, axes[0, 0], columns=6)
    return fig
