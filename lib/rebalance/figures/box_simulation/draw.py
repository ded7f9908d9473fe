"""Figures 1, 5, 6 and 7 of the EIoU paper: boxes that descend on a loss."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from rebalance.figures.box_simulation.compute import Run, Setup
from rebalance.figures.style import INK, LINE_STYLES, PALETTE, SOFT, colours, figure, legend_below

TARGET = PALETTE[0]


def plot_descent(paths: Mapping[str, Tensor], iterations: Sequence[int]) -> Figure:
    """One row per loss, one column per shown iteration: the box (black) and its target (blue).

    Args:
        paths: loss -> [T + 1, 1, 4] (x, y, w, h); the target is the unit square around (0, 0).
        iterations: which to show.
    """
    fig, axes = figure(
        columns=2, grid=(len(paths), len(iterations)), aspect=0.9, sharex=True, sharey=True
    )
    for row, (name, path) in zip(axes, paths.items(), strict=True):
        for ax, iteration in zip(row, iterations, strict=True):
            x, y, width, height = path[iteration, 0].tolist()
            ax.add_patch(Rectangle((-0.5, -0.5), 1, 1, color=TARGET, alpha=0.35, linewidth=0))
            ax.add_patch(
                Rectangle((x - width / 2, y - height / 2), width, height, fill=False, edgecolor=INK,
                          linewidth=1.2)
            )  # fmt: skip
            ax.plot(x, y, ".", color=INK, markersize=3)
            ax.text(0.03, 0.97, f"{width:.2f} × {height:.2f}", transform=ax.transAxes, va="top",
                    fontsize=7, color=SOFT)  # fmt: skip
            ax.set(aspect="equal", xlim=(-2.4, 6), ylim=(-2.2, 5.4))
        row[0].set_ylabel(name, fontweight="bold")
    for ax, iteration in zip(axes[0], iterations, strict=True):
        ax.set_title("start" if iteration == 0 else f"{iteration} steps")
    fig.supxlabel("x and y in sides of the target; width × height of the box", fontsize=7.5)
    return fig


def plot_setups(setups: Mapping[str, Setup]) -> Figure:
    """One panel per set-up: centres of the anchors, the target boxes, the anchors of one point."""
    fig, axes = figure(columns=2, grid=(1, len(setups)), aspect=1.0)
    for ax, (name, setup) in zip(axes, setups.items(), strict=True):
        ax.plot(*setup.points.T.numpy(), ".", color=SOFT, markersize=1.6, label="anchor centres")
        center = setup.target_center.tolist()
        point = setup.points[(setup.points - setup.target_center).norm(dim=1).argmin()].tolist()
        for sizes, middle, colour, label in (
            (setup.anchor_sizes, point, INK, "anchors of one point"),
            (setup.target_sizes, center, TARGET, "targets"),
        ):
            for index, (width, height) in enumerate(sizes.tolist()):
                ax.add_patch(
                    Rectangle((middle[0] - width / 2, middle[1] - height / 2), width, height,
                              fill=False, edgecolor=colour, alpha=1.0 if colour == TARGET else 0.3,
                              linewidth=1.3 if colour == TARGET else 0.6,
                              label=label if index == 0 else None)
                )  # fmt: skip
        ax.set(aspect="equal", xlabel="x", ylabel="y")
        ax.set_title(f"{name}: {setup.num_cases:,} cases")
        ax.autoscale_view()
    legend_below(fig, axes[0])
    return fig


def plot_simulation(runs: Mapping[str, Run]) -> Figure:
    """Error sum over the iterations, and box plots of the IoU at the iterations kept.

    Boxes span the quartiles, whiskers the 5 % and 95 % quantiles; the point is the mean.

    Args:
        runs: display name -> run; all have kept the same iterations.
    """
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.8, width_ratios=[1, 1.25])
    shades = colours(runs)
    for name, run in runs.items():
        # Dashed, because in set-up 1 Focal-EIoU lies on IoU, which would be hidden.
        dashes = LINE_STYLES[1] if name.startswith("Focal") else LINE_STYLES[0]
        left.plot((run.errors / run.errors[0]).numpy(), color=shades[name], linestyle=dashes,
                  label=name)  # fmt: skip
    left.set(xlabel="iteration", ylabel="error sum, relative to the start")
    left.set_title("(a) regression error")
    kept = sorted(next(iter(runs.values())).ious)
    width = 0.8 / len(runs)
    for offset, (name, run) in enumerate(runs.items()):
        right.bxp(
            [_box(run.ious[iteration]) for iteration in kept],
            positions=[k + (offset - (len(runs) - 1) / 2) * width for k in range(len(kept))],
            widths=0.8 * width, showfliers=False, showmeans=True, patch_artist=True,
            boxprops={"facecolor": shades[name], "alpha": 0.55, "edgecolor": shades[name]},
            medianprops={"color": INK, "linewidth": 0.9},
            meanprops={"marker": ".", "markersize": 3, "markerfacecolor": INK,
                       "markeredgecolor": INK},
            whiskerprops={"color": shades[name]}, capprops={"color": shades[name]},
        )  # fmt: skip
    right.set_xticks(range(len(kept)), [str(iteration) for iteration in kept])
    right.set(xlabel="iteration", ylabel="IoU of all cases", ylim=(-0.02, 1.02))
    right.set_title("(b) IoU: quartiles, 5 % and 95 %")
    legend_below(fig, left, columns=len(runs))
    return fig


def _box(iou: Tensor) -> dict[str, float]:
    """Statistics of a box plot; quantiles by rank, as torch's have a limit of 16 million values."""
    ordered = iou.sort().values
    ranks = [int(share * (len(ordered) - 1)) for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
    low, first, median, third, high = ordered[torch.tensor(ranks)].tolist()
    return {
        "whislo": low, "q1": first, "med": median, "q3": third, "whishi": high,
        "mean": float(iou.mean()),
    }  # fmt: skip
