"""Figures with a point or a line per run; see ``rebalance.figures.trained_runs.compute``."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.figures.checks import PAPER_SCALE
from rebalance.figures.style import (
    DIVERGING,
    FIXED_COLOURS,
    INK,
    PALETTE,
    SOFT,
    colours,
    figure,
    legend_below,
)
from rebalance.figures.trained_runs.compute import BASELINE, RPN_LOSSES

SHARE_IN_COLOURS = 0.75
"""Of the gains of a heat map: those that its colours tell apart."""
PANELS = {
    "a": ("(a) weight of the box loss", "loss weight"),
    "b": ("(b) β", "β"),
    "c": ("(c) γ", "γ"),
}


def plot_loss_settings(points: pd.DataFrame, scale: str) -> Figure:
    """focal_eiou Figure 4: AP over weight, beta and gamma.

    Args:
        points: see ``loss_settings``.
        scale: where AP was measured; printed points are drawn at the paper's only.
    """
    fig, axes = figure(columns=2, grid=(1, 3), aspect=0.95, sharey=True)
    shades = colours(points.loc[points["panel"] != BASELINE, "series"])
    for ax, (panel, (title, label)) in zip(axes, PANELS.items(), strict=True):
        some = points[points["panel"] == panel]
        for name, curve in some.groupby("series", sort=False):
            ax.errorbar(curve["value"], curve["AP"], yerr=curve["spread"].fillna(0), fmt="o-",
                        color=shades[str(name)], label=name, elinewidth=0.8)  # fmt: skip
        printed = some.dropna(subset=["reported"])
        if scale == PAPER_SCALE and len(printed):
            ax.plot(printed["value"], printed["reported"], "D", markerfacecolor="none",
                    markeredgecolor=INK, label="reported")  # fmt: skip
        for _, line in points[points["panel"] == BASELINE].iterrows():
            ax.axhline(line["AP"], color=FIXED_COLOURS["baseline"], linestyle=(0, (5, 2)),
                       linewidth=1, label=f"baseline, {line['series']}")  # fmt: skip
        ax.set(title=title, xlabel=label)
        ax.set_xticks(sorted(set(some["value"])))
    axes[0].set_ylabel(f"AP (%), {scale} scale")
    entries = {
        label: handle
        for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }  # fmt: skip
    fig.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)
    return fig


def plot_rpn_losses(losses: pd.DataFrame, scale: str) -> Figure:
    """thesis Figure 3.17: both losses, and what is left of them.

    Args:
        losses: see ``rpn_losses``.
        scale: where the runs were trained.
    """
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.68)
    several = losses["run"].nunique() > 1
    for (run, name), curve in losses.groupby(["run", "loss"], sort=False):
        colour = PALETTE[list(RPN_LOSSES).index(str(name))]
        label = f"{run}, {name}" if several else str(name)
        left.plot(curve["iteration"], curve["value"], color=colour, label=label)
        right.plot(curve["iteration"], curve["left"], color=colour)
    left.set(title="(a) losses of the RPN", ylabel="loss, smoothed", xlabel="iteration")
    right.set(title="(b) by their start", ylabel="share of its start", xlabel="iteration")
    for ax in (left, right):
        ax.set_ylim(bottom=0)
        ax.margins(x=0)
    legend_below(fig, left)
    return fig


def plot_alrp_parts(parts: pd.DataFrame, scale: str) -> Figure:
    """thesis Figure 7.3: aLRP loss and its components.

    Args:
        parts: see ``alrp_parts``.
        scale: where the run was trained.
    """
    fig, ax = figure(columns=1, aspect=0.75)
    for (part, curve), colour in zip(parts.groupby("part", sort=False), PALETTE, strict=False):
        ax.plot(curve["iteration"], curve["value"], color=colour, label=str(part))
    ax.set(xlabel=f"iteration, {scale} scale", ylabel="loss, smoothed", ylim=(0, None))
    ax.margins(x=0)
    legend_below(fig, ax, columns=3)
    return fig


def plot_gradient_balance(curves: pd.DataFrame, scale: str) -> Figure:
    """thesis Figure 7.4: gradients of negatives over those of positives, and the losses.

    Args:
        curves: see ``gradient_balance``.
        scale: where the runs were trained.
    """
    fig, left, right = _ratio_and_loss(curves, scale)
    left.set(title="(a) gradients", yscale="log")
    right.set(title="(b) loss of the classes")
    return fig


def plot_wrong_target(curves: pd.DataFrame, scale: str) -> Figure:
    """thesis Figure L.1: the same of aLRP with the right target and with zero.

    Args:
        curves: see ``wrong_target``.
        scale: where the runs were trained.
    """
    fig, left, right = _ratio_and_loss(curves, scale)
    left.set(title="(a) gradients")
    right.set(title="(b) aLRP loss")
    return fig


def _ratio_and_loss(curves: pd.DataFrame, scale: str) -> tuple[Figure, Axes, Axes]:
    """Over the iterations: the ratio of the gradients and beside it the loss, a line per run."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.62)
    for (name, curve), colour in zip(curves.groupby("run", sort=False), PALETTE, strict=False):
        left.plot(curve["iteration"], curve["ratio"], color=colour, linewidth=0.9, label=str(name))
        right.plot(curve["iteration"], curve["loss"], color=colour)
    left.set_ylabel("negatives / positives")
    right.set(ylabel="loss, smoothed", ylim=(0, None))
    for ax in (left, right):
        ax.set_xlabel(f"iteration, {scale} scale")
        ax.margins(x=0)
    legend_below(fig, left, columns=3)
    return fig, left, right


def plot_transfer(gains: pd.DataFrame, scale: str) -> Figure:
    """A cell per loss and detector: the gain, below it the interval; bold where that leaves out 0.

    Losses stand in the order of the rows of each detector; a cell without a row is the detector's
    own loss. Colours end where three of four gains do, so that one outlier leaves some to the rest.

    Args:
        gains: see ``transfer``.
        scale: where the numbers come from.
    """
    detectors = list(dict.fromkeys(gains["detector"]))
    losses = _merged(of["loss"] for _, of in gains.groupby("detector", sort=False))
    table = gains.pivot(index="loss", columns="detector", values="gain")
    table = table.reindex(index=losses, columns=detectors)
    fig, ax = figure(columns=2, aspect=0.075 * len(losses) + 0.12)
    reach = float(np.nanquantile(np.abs(table.to_numpy()), SHARE_IN_COLOURS)) or 1.0
    image = ax.imshow(table, cmap=DIVERGING, vmin=-reach, vmax=reach, aspect="auto")
    fig.colorbar(image, label="gain in AP (points)", extend="both")
    for row, column in np.argwhere(table.isna().to_numpy()):
        ax.text(column, row, "own", ha="center", va="center", fontsize=5.5, color=SOFT)
    for _, cell in gains.iterrows():
        clear = cell["low"] > 0 or cell["high"] < 0
        dark = abs(cell["gain"]) > 0.6 * reach
        ax.text(
            detectors.index(cell["detector"]), losses.index(cell["loss"]),
            f"{cell['gain']:+.1f}\n[{cell['low']:+.1f}, {cell['high']:+.1f}]".replace("-", "−"),
            ha="center", va="center", fontsize=5.5, color="white" if dark else INK,
            fontweight="bold" if clear else "normal",
        )  # fmt: skip
    ax.set_xticks(range(len(detectors)), detectors)
    ax.set_yticks(range(len(losses)), losses)
    ax.grid(visible=False)
    ax.set_title(f"gain over each detector's own loss ({scale} scale)")
    return fig


def _merged(lists: Iterable[Iterable[str]]) -> list[str]:
    """All entries of some lists, once: what is new comes after what it follows in its own list."""
    merged: list[str] = []
    for entries in lists:
        place = 0
        for entry in entries:
            if entry not in merged:
                merged.insert(place, entry)
            place = merged.index(entry) + 1
    return merged
