"""bbgen Figures 2 to 6 and thesis Figure 3.16: feasible regions and generated boxes."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from rebalance.figures.box_generator.compute import (
    LIMITS,
    NUM_CLASSES,
    REFERENCE,
    corners_drawn,
    generated,
    initial_losses,
    roi_source_ious,
    two_steps,
)
from rebalance.figures.style import (
    INK,
    LINE_STYLES,
    PALETTE,
    SOFT,
    colours,
    figure,
    legend_below,
)
from rebalance.generators.regions import feasible_region

TRUTH, REGION, BOX = PALETTE[0], PALETTE[1], PALETTE[2]


def _box(ax: Axes, box: Tensor, colour: str, label: str | None = None, **style: float) -> None:
    x1, y1, x2, y2 = box.tolist()
    ax.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, label=label,
                  linewidth=style.get("linewidth", 1.8))
    )  # fmt: skip


def _frame(ax: Axes, low: float = -0.02, high: float = 0.72) -> None:
    """Image coordinates: y grows downwards."""
    ax.set(xlim=(low, high), ylim=(high, low), aspect="equal", xlabel="x")


def plot_two_steps() -> Figure:
    """First the top-left corner is drawn from its region, then the other one from what is left."""
    made = two_steps()
    fig, axes = figure(columns=2, grid=(1, 2), aspect=0.9, sharey=True)
    for ax, boundary, point in (
        (axes[0], made["first"], made["box"][:2]),
        (axes[1], made["second"], made["box"][2:]),
    ):
        ax.fill(*boundary.T.numpy(), facecolor=REGION, alpha=0.15, linewidth=0)
        ax.plot(*boundary.T.numpy(), color=REGION, linewidth=1.2, label="feasible for the corner")
        _box(ax, REFERENCE, TRUTH, "reference box")
        ax.plot(*point.tolist(), "o", color=REGION, label="drawn corner")
        _frame(ax)
    _box(axes[1], made["box"], BOX, "generated box")
    axes[1].plot(*made["box"][:2].tolist(), "o", color=SOFT, markersize=3)
    axes[0].set(ylabel="y", title="(a) top-left corner, T = 0.5")
    axes[1].set(title="(b) bottom-right corner, given the first")
    legend_below(fig, axes[1])
    return fig


def plot_thousand() -> Figure:
    """A thousand boxes of IoU 0.6 or more."""
    fig, ax = figure(columns=1, aspect=0.95)
    boxes = generated(1000, 0.6)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2).numpy()
    ax.add_collection(
        PolyCollection(list(corners), facecolors="none", edgecolors=REGION, linewidths=0.25,
                       alpha=0.25, rasterized=True)
    )  # fmt: skip
    _box(ax, REFERENCE, TRUTH, linewidth=2.2)
    _frame(ax, 0.15, 0.75)
    ax.set(ylabel="y")
    return fig


def plot_regions() -> Figure:
    """The four regions around either corner, and the rectangle that rejection draws from."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.9, sharey=True)
    _box(left, REFERENCE, TRUTH)
    x1, y1, x2, y2 = REFERENCE.tolist()
    for (x, y), colour, sign in (((x1, y1), REGION, -1), ((x2, y2), BOX, 1)):
        left.plot([x - 0.12, x + 0.12], [y, y], color=colour, linewidth=1, linestyle=(0, (4, 3)))
        left.plot([x, x], [y - 0.12, y + 0.12], color=colour, linewidth=1, linestyle=(0, (4, 3)))
        # I: past the box in y only, II and IV: on both sides or none, III: in x only.
        places = {"I": (-1, 1), "II": (-1, -1), "III": (1, -1), "IV": (1, 1)}
        if sign > 0:
            places = {"I": (1, -1), "II": (1, 1), "III": (-1, 1), "IV": (-1, -1)}
        for name, (dx, dy) in places.items():
            step_x, step_y = (sign * dx, sign * dy) if sign < 0 else (dx, dy)
            left.text(x + 0.06 * step_x, y + 0.06 * step_y, name, ha="center", va="center",
                      color=colour, fontweight="bold")  # fmt: skip
    boundary = feasible_region(REFERENCE, 0.75, "top_left")
    right.fill(*boundary.T.numpy(), facecolor=REGION, alpha=0.2, linewidth=0)
    right.plot(*boundary.T.numpy(), color=REGION, label="feasible, T = 0.75")
    low, high = boundary.min(0).values, boundary.max(0).values
    right.add_patch(
        Rectangle(tuple(low.tolist()), *(high - low).tolist(), fill=False, edgecolor=BOX,
                  linestyle=(0, (4, 2)), label="enclosing rectangle")
    )  # fmt: skip
    _box(right, REFERENCE, TRUTH, "reference box")
    for ax, title in ((left, "(a) regions of the two corners"), (right, "(b) top-left corner")):
        _frame(ax)
        ax.set_title(title)
    left.set_ylabel("y")
    legend_below(fig, right)
    return fig


def plot_roi_sources(trained: Mapping[str, NDArray[np.int64]] | None = None) -> Figure:
    """IoU of the RoIs that each source gives.

    Args:
        trained: label -> [50] RoIs of a trained detector by IoU from 0.5 to 1, drawn over the
            generated sources.
    """
    fig, ax = figure(columns=1, aspect=0.72)
    sources = roi_source_ious()
    edges = torch.linspace(0.5, 1, 51).numpy()
    for name, colour in colours(sources).items():
        counts = torch.histc(sources[name], bins=50, min=0.5, max=1.0)
        ax.stairs((counts / counts.sum() * 100).numpy(), edges, color=colour, label=name,
                  linewidth=1.3)  # fmt: skip
    for (name, binned), style in zip((trained or {}).items(), LINE_STYLES, strict=False):
        percent = binned / max(int(binned.sum()), 1) * 100
        ax.stairs(percent, edges, color=INK, label=name, linewidth=1.8, linestyle=style)
    ax.set(xlabel="IoU with the ground truth", ylabel="share of RoIs (% per 0.01)", yscale="log",
           ylim=(1e-3, 60))  # fmt: skip
    legend_below(fig, ax, columns=3 if trained else 2)
    return fig


def plot_corners(trained: Mapping[str, Tensor] | None = None) -> Figure:
    """Limits of the top-left corner for five thresholds, and corners of generated boxes.

    Args:
        trained: label -> [K, 2] corners of RoIs of a trained detector. They get a panel each,
            beside that of the generated boxes.
    """
    clouds = {"generated, T = 0.5": corners_drawn(), **(trained or {})}
    columns = 2 if trained else 1
    fig, axes = figure(columns, (1, len(clouds)), aspect=0.95, squeeze=False, sharey=True)
    for ax, (name, points), colour in zip(
        axes[0], clouds.items(), (BOX, *PALETTE[3:]), strict=False
    ):
        ax.plot(*points.T.numpy(), ".", color=colour, markersize=1.5, rasterized=True,
                label=None if trained else name)  # fmt: skip
        for index, limit in enumerate(LIMITS):
            boundary = feasible_region(REFERENCE, limit, "top_left")
            ax.plot(*boundary.T.numpy(), color=INK, linewidth=0.6 + 0.2 * index,
                    label="limits for IoU 0.5 to 0.9" if index == 0 else None)  # fmt: skip
            x, y = boundary[boundary[:, 1].argmin()].tolist()
            ax.text(x + 0.012, y, f"{limit:.1f}", fontsize=6, ha="left", va="center",
                    bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.4,
                          "linewidth": 0})  # fmt: skip
        _box(ax, REFERENCE, TRUTH, "reference box")
        _frame(ax, -0.05, 0.65)
        if trained:
            ax.set_title(name)
    axes[0, 0].set(ylabel="y")
    legend_below(fig, axes[0, 0], columns=2)
    return fig


def plot_initial_losses() -> Figure:
    """32 generated RoIs, and the two losses before any training."""
    made = initial_losses()
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.7, width_ratios=[1.3, 1])
    for box in made["rois"]:
        _box(left, box, REGION, linewidth=0.6)
    for box in made["truths"]:
        _box(left, box, TRUTH, linewidth=2.2)
    left.set(xlim=(0, 640), ylim=(480, 0), aspect="equal", xlabel="x (pixels)",
             ylabel="y (pixels)", title="(a) 32 generated RoIs (orange)")  # fmt: skip
    values = [math.log(NUM_CLASSES + 1), float(made["regression"].mean())]
    bars = right.bar(["classification", "regression"], values, color=[PALETTE[0], PALETTE[1]],
                     width=0.6)  # fmt: skip
    right.bar_label(bars, [f"{value:.2f}" for value in values])
    right.set(ylabel="mean loss", title="(b) before training")
    right.grid(axis="x", visible=False)
    return fig
