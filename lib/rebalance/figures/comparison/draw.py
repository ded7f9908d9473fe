"""Measured numbers beside reported ones, row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rebalance.figures.style import FIXED_COLOURS, INK, SOFT, figure, save_bitmap
from rebalance.words import spelled

#: More rows than this are drawn without their names.
MOST_NAMES = 16


def plot_comparison(
    names: Sequence[str],
    measured: Sequence[float],
    reported: Sequence[float],
    spread: Sequence[float],
    metric: str,
    scale: str,
) -> Figure:
    """One metric of a table as two panels that share rows but not axes: measured, reported.

    Two axes, because at another scale than the paper's the levels say nothing about each other,
    while the order of the rows does.

    Args:
        names: one per row of the table, drawn from top to bottom.
        measured: nan where not measured.
        reported: nan where not reported.
        spread: standard deviation of measured, nan where there is none.
        metric: name and unit, for the title.
        scale: where the measured numbers come from.
    """
    rows = np.arange(len(names))
    fig, axes = figure(columns=1, grid=(1, 2), aspect=1.22, sharey=True)
    panels = {
        f"measured ({scale})": (np.array(measured, float), np.nan_to_num(np.array(spread, float))),
        "reported": (np.array(reported, float), np.zeros(len(names))),
    }
    for ax, (title, (numbers, whisker)) in zip(axes, panels.items(), strict=True):
        colour = FIXED_COLOURS[title.split()[0]]
        ends = np.concatenate([numbers - whisker, numbers + whisker])
        defined = ends[~np.isnan(ends)]
        ax.set_title(title, fontsize=7.5, color=colour)
        ax.grid(axis="y", visible=False)
        if defined.size:
            margin = max(0.18 * np.ptp(defined), 0.02 * abs(defined.max()), 1e-3)
            floor = defined.min() - margin
            if defined.min() >= 0:
                floor = max(floor, 0)
            ax.hlines(rows, floor, numbers, color=colour, linewidth=1.2, alpha=0.35)
            ax.errorbar(numbers, rows, xerr=whisker, fmt="none", ecolor=INK, elinewidth=0.7)
            ax.plot(numbers, rows, "o", color=colour, markersize=4.5)
            ax.set_xlim(floor, defined.max() + margin)
            ax.xaxis.set_major_locator(MaxNLocator(3))
        else:
            ax.set_xticks([])
            ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", color=SOFT)
    if len(names) <= MOST_NAMES:
        axes[0].set_yticks(rows, [_shorten(spelled(name)) for name in names])
    else:
        axes[0].set_yticks([])
        axes[0].set_ylabel(f"{len(names)} rows")
    axes[0].tick_params(axis="y", length=0)
    axes[1].tick_params(axis="y", length=0)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    fig.suptitle(metric, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    return fig


def _shorten(name: str, length: int = 22) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def save_thumbnail(
    tidy: pd.DataFrame,
    names: Sequence[str],
    metrics: Sequence[Mapping[str, Any]],
    scale: str,
    png: str,
) -> None:
    """Draw one metric of a table as a small PNG: the first that is measured.

    Args:
        tidy: the table, see ``rebalance.figures.comparison.compute.assemble``.
        names: one per row of the table.
        metrics: the columns of the table, as ``assemble`` takes them.
        scale: where the measured numbers come from.
        png: what is written.
    """
    metric = next((entry for entry in metrics if entry.get("measured", True)), metrics[0])
    lines = tidy[tidy["metric"] == metric["name"]]
    factor = 100 if metric["percent"] else 1
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric["better"]]
    fig = plot_comparison(
        names,
        (factor * lines["measured"]).tolist(),
        (factor * lines["reported"]).tolist(),
        (factor * lines["std"]).tolist(),
        f"{metric['name'].replace('_', ' ')}{' (%)' if metric['percent'] else ''}{arrow}",
        scale,
    )
    save_bitmap(fig, png)
