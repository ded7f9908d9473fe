"""Figures of the positives of trained detectors; see ``rebalance.figures.positives.compute``."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rebalance.figures.box_generator.compute import REFERENCE
from rebalance.figures.box_generator.draw import plot_corners, plot_roi_sources
from rebalance.figures.positives.compute import BIN_OF_LOOPS, Series, regressor_table
from rebalance.figures.style import INK, PALETTE, SEQUENTIAL, figure, legend_below
from rebalance.figures.texttable import draw_table
from rebalance.generators.regions import feasible_region

ROI = PALETTE[2]


def plot_roi_sources_with(series: Series) -> Figure:
    """bbgen Figure 5: IoU of the generated sources and of the trained ones."""
    return plot_roi_sources({label: made.iou_counts for label, made in series.items()})


def plot_corners_with(series: Series) -> Figure:
    """bbgen Figure 6: limits, and corners of generated and of trained RoIs."""
    return plot_corners({label: made.corners for label, made in series.items()})


def plot_near_half(series: Series) -> Figure:
    """thesis Figure 3.14: corners of RoIs with an IoU of 0.5 to 0.6 around the reference box."""
    fig, ax = figure(columns=1, aspect=0.95)
    for label, colour in zip(series, (ROI, *PALETTE), strict=False):
        points = series[label].corners_near_half
        ax.plot(*points.T.numpy(), ".", color=colour, markersize=2.5, rasterized=True,
                label=f"{label}, IoU 0.5 to 0.6")  # fmt: skip
    for limit, width in ((0.5, 0.8), (0.6, 1.2)):
        boundary = feasible_region(REFERENCE, limit, "top_left")
        ax.plot(*boundary.T.numpy(), color=INK, linewidth=width,
                label="limits for IoU 0.5 and 0.6" if limit == 0.5 else None)  # fmt: skip
    _reference(ax)
    ax.set(xlim=(-0.05, 0.65), ylim=(0.65, -0.05), aspect="equal", xlabel="x", ylabel="y")
    legend_below(fig, ax, columns=2)
    return fig


def _reference(ax: Axes) -> None:
    x1, y1, x2, y2 = REFERENCE.tolist()
    ax.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=PALETTE[0], linewidth=1.8,
                  label="reference box")
    )  # fmt: skip


def plot_regressor(series: Series) -> Figure:
    """thesis Figure 3.12: IoU before regression, after against before, and in numbers."""
    fig, axes = figure(columns=2, grid=(2, 2), aspect=0.72, height_ratios=[1, 0.62])
    spec = axes[1, 0].get_gridspec()
    for ax in axes[1]:
        ax.remove()
    below = fig.add_subplot(spec[1, :])
    left, right = axes[0]
    for (label, made), colour in zip(series.items(), PALETTE, strict=False):
        shares = made.iou_counts / max(int(made.iou_counts.sum()), 1) * 100
        left.stairs(shares, made.iou_edges, color=colour, label=label, fill=len(series) == 1,
                    alpha=0.75 if len(series) == 1 else 1)  # fmt: skip
    left.set(xlim=(0.5, 1), ylim=(0, None), xlabel="IoU before regression",
             ylabel="share of positives (% per 0.01)", title="(a) positives")  # fmt: skip
    made = next(iter(series.values()))
    density = np.ma.masked_equal(made.counts.T, 0)
    norm = LogNorm(1, max(2, int(made.counts.max())))
    mesh = right.pcolormesh(made.iou_edges, made.after_edges, density, cmap=SEQUENTIAL, norm=norm,
                            rasterized=True)  # fmt: skip
    fig.colorbar(mesh, ax=right, label="positives (log)", shrink=0.9)
    right.plot([0.5, 1], [0.5, 1], color=PALETTE[0], label="unchanged")
    right.axhline(0.5, color=PALETTE[1], label="0.5")
    right.set(xlim=(0.5, 1), ylim=(0, 1), xlabel="IoU before regression",
              ylabel="IoU after regression", title="(b) after against before")  # fmt: skip
    right.grid(visible=False)
    right.legend(loc="lower right")
    table = regressor_table(dict([next(iter(series.items()))]))
    draw_table(below, table.assign(positives=table["positives"].astype(int)), digits=2,
               widths=[1, 0.9, 1.1, 1.5, 1.4, 1.4])  # fmt: skip
    below.set_title("(c) in numbers")
    return fig


def plot_loops(series: Series) -> Figure:
    """r3cnn Figure 2: IoUs that each loop trains on, one upon the other."""
    fig, axes = figure(columns=2, grid=(1, len(series)), aspect=0.85, sharey=True)
    for ax, letter, (label, made) in zip(np.atleast_1d(axes), "abc", series.items(), strict=False):
        counts = made.loops.reshape(len(made.loops), -1, BIN_OF_LOOPS).sum(axis=2)
        shares = counts / max(int(counts.sum()), 1) * 100
        below = shares.cumsum(axis=0) - shares
        for loop, (share, base) in enumerate(zip(shares, below, strict=True)):
            ax.stairs(base + share, made.iou_edges[::BIN_OF_LOOPS], baseline=base, fill=True,
                      color=PALETTE[loop], label=f"loop {loop + 1}")  # fmt: skip
        ax.set(title=f"({letter}) {label}", xlabel="IoU", xlim=(0.5, 1), ylim=(0, None))
    fig.axes[0].set_ylabel("share of positives (%)")
    legend_below(fig, fig.axes[-1], columns=3)
    return fig
