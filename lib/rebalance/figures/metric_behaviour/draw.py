"""Figures of thesis chapter 5, Figure 1.3 and appendix C: what measures say of toy detectors."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from torchvision.ops import nms

from rebalance.figures.metric_behaviour.compute import (
    CORRELATED,
    DETECTORS,
    MASKS,
    MEAN_QUALITIES,
    SCORES,
    SLICES,
    TAU,
    THRESHOLDS,
    correlation_aps,
    detector_curves,
    growth,
    outcome_grid,
    performance,
    triangle_table,
)
from rebalance.figures.style import INK, PALETTE, SEQUENTIAL, SOFT, figure, legend_below
from rebalance.figures.texttable import draw_table

TRUTH, GOOD, BAD = PALETTE[0], PALETTE[2], PALETTE[1]


def plot_correlation() -> Figure:
    """Scores against IoUs, AP over the threshold, and which of two boxes NMS keeps."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=1.0)
    colours = {"positive": GOOD, "negative": BAD}
    for name, ious in CORRELATED.items():
        found = ious > 0
        axes[0].plot(SCORES[found], ious[found], "o", color=colours[name], label=f"{name} ρ")
        aps = correlation_aps(name)
        axes[1].plot(THRESHOLDS, aps, "o-", color=colours[name])
        axes[1].text(
            0.97, 0.95 if name == "positive" else 0.85,
            f"AP {100 * aps.mean():.1f}   AP50 {100 * aps[0]:.1f}   AP75 {100 * aps[5]:.1f}",
            transform=axes[1].transAxes, ha="right", va="top", color=colours[name], fontsize=6.5,
        )  # fmt: skip
    axes[0].set(xlabel="score", ylabel="IoU of the true positives", title="(a) toy detections")
    axes[1].set(xlabel="IoU threshold", ylabel="AP", ylim=(0, 1.12), title="(b) AP")
    _draw_suppression(axes[2])
    legend_below(fig, axes[0])
    return fig


def _draw_suppression(ax: Axes) -> None:
    """Two boxes on one object; whichever scores higher suppresses the other."""
    truth = (1.0, 1.0, 7.0, 7.0)
    boxes = torch.tensor([[1.2, 1.0, 7.2, 6.9], [2.0, 2.2, 8.6, 7.9]])
    for row, (name, scores) in enumerate((("positive", [0.9, 0.6]), ("negative", [0.6, 0.9]))):
        kept = int(nms(boxes, torch.tensor(scores), iou_threshold=0.5)[0])
        shift = 10.0 * row
        _outline(ax, (truth[0] + shift, truth[1], truth[2] + shift, truth[3]), TRUTH, 2.0, "-")
        for index, box in enumerate(boxes.tolist()):
            style = "-" if index == kept else (0, (2, 2))
            colour = GOOD if index == 0 else BAD
            _outline(ax, (box[0] + shift, box[1], box[2] + shift, box[3]), colour, 1.2, style)
            ax.text(box[2] + shift - 0.1, box[1] + 0.15 if index == 0 else box[3] - 0.15,
                    f"{scores[index]:.1f}", color=colour, ha="right", fontsize=6.5,
                    va="bottom" if index == 0 else "top")  # fmt: skip
        ax.text(1 + shift, 8.6, f"{name} ρ", fontsize=7)
    ax.set(xlim=(0, 19.5), ylim=(0, 10), aspect="equal", title="(c) kept (solid) by NMS")
    ax.axis("off")


def _outline(
    ax: Axes, box: tuple[float, float, float, float], colour: str, width: float, style: Any
) -> None:
    x1, y1, x2, y2 = box
    ax.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width,
                  linestyle=style)
    )  # fmt: skip


def plot_equal_ap() -> Figure:
    """Detections by rank, precision over recall with the oLRP point, and the measures."""
    fig, axes = figure(columns=2, grid=(3, 3), aspect=0.62, height_ratios=[0.5, 1, 0.6])
    for column, (name, detector) in enumerate(DETECTORS.items()):
        made = performance(detector)
        top, middle, bottom = axes[:, column]
        ranks = np.arange(1, len(detector.ious) + 1)
        found = detector.ious > 0
        top.vlines(ranks[found], 0, detector.ious[found], color=GOOD, linewidth=3,
                   label="true positive: IoU")  # fmt: skip
        if not found.all():
            top.plot(ranks[~found], np.zeros((~found).sum()), "x", color=BAD, markersize=5,
                 label="false positive", clip_on=False)  # fmt: skip
        top.set(xlabel="rank by score", ylim=(0, 1.08), xlim=(0.2, 16.8))
        top.set_title(f"({name}) {detector.title}")
        envelope = np.maximum.accumulate(made.precision[::-1])[::-1]
        middle.step([0, *made.recall], [envelope[0], *envelope], where="pre", color=INK)
        middle.plot(1 - made.olrp.fn, 1 - made.olrp.fp, "x", color="#c0392b", markersize=8,
                    markeredgewidth=2, label="oLRP point", clip_on=False)  # fmt: skip
        middle.set(xlabel="recall", xlim=(0, 1.02), ylim=(0, 1.06))
        draw_table(
            bottom,
            pd.DataFrame({
                "measure": ["AP", "oLRP", "Loc", "FP", "FN"],
                "value": [made.ap, made.olrp.olrp, made.olrp.loc, made.olrp.fp, made.olrp.fn],
            }),
        )  # fmt: skip
    axes[0, 0].set_ylabel("IoU")
    axes[1, 0].set_ylabel("precision")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more, names = axes[1, 0].get_legend_handles_labels()
    fig.legend(handles + more, labels + names, loc="outside lower center", ncols=3)
    return fig


def plot_growth() -> Figure:
    """A mask detected slice by slice; PQ and LRP over its IoU."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.7, width_ratios=[0.8, 1])
    outline = Ellipse((5, 3), 9.6, 4.6, fill=False, edgecolor=TRUTH, linewidth=1.6)
    left.add_patch(outline)
    # Slices of nearly equal area: an ellipse maps to a circle, whose shares have a known inverse.
    shares = np.linspace(0, 1, SLICES + 1)
    angles = np.linspace(0, np.pi, 4001)
    area = (angles - np.sin(angles) * np.cos(angles)) / np.pi
    edges = 5 - 4.8 * np.cos(np.interp(shares, area, angles))
    for index in range(SLICES):
        band = Rectangle((edges[index], 0), edges[index + 1] - edges[index], 6, linewidth=0,
                         facecolor=PALETTE[4], alpha=0.15 + 0.06 * index)  # fmt: skip
        left.add_patch(band)
        band.set_clip_path(outline)
        left.text((edges[index] + edges[index + 1]) / 2, 3, str(index + 1), ha="center",
                  va="center", fontsize=6.5)  # fmt: skip
    half = edges[SLICES // 2]
    left.plot([half, half], [0.3, 5.7], color=PALETTE[5], linewidth=1.8,
              label="up to here a false positive")  # fmt: skip
    left.set(xlim=(-0.2, 10.2), ylim=(-0.2, 6.2), aspect="equal")
    left.set_title("(a) detected slices of a mask")
    left.axis("off")
    curve = growth()
    for key, colour in (("PQ", PALETTE[1]), ("LRP", PALETTE[0])):
        for part in (curve["iou"] <= TAU, curve["iou"] > TAU):
            right.plot(curve["iou"][part], curve[key][part], color=colour,
                       label=key if part.iloc[0] else None)  # fmt: skip
    right.plot([TAU, TAU], [0, 0.5], "o", color=PALETTE[1], markersize=3.5)
    right.set(xlabel="IoU of the detection", ylabel="value", title="(b) PQ jumps, LRP does not")
    right.legend(loc="center left")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, -0.12))
    return fig


def plot_curves() -> Figure:
    """What AP reads (precision over recall), the curve with mean IoU, and LRP over the score."""
    curves = detector_curves()
    shown = curves[curves["recall"] > 0]
    top = curves.iloc[int(curves["F1"].argmax())]
    best = curves.iloc[int(curves["LRP"].argmin())]
    fig, axes = figure(columns=2, grid=(1, 3), aspect=1.12, width_ratios=[1, 1.5, 1])
    left, middle, right = axes
    left.plot(shown["recall"], shown["precision"], color=INK)
    left.fill_between(shown["recall"], shown["precision"], color=PALETTE[4], alpha=0.18,
                      linewidth=0, label="area: AP")  # fmt: skip
    left.plot(top["recall"], top["precision"], "x", color="#c0392b", markersize=8,
              markeredgewidth=2, label=f"largest F1: {top['F1']:.2f}")  # fmt: skip
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    left.set_title("(a) what AP reads")
    left.legend(loc="lower left")
    place = middle.get_subplotspec()
    middle.remove()
    _draw_quality_curve(fig, place, shown, best)
    for key, colour, width in (("Loc", PALETTE[1], 1.0), ("FP", PALETTE[2], 1.0),
                               ("FN", PALETTE[6], 1.0), ("LRP", INK, 1.8)):  # fmt: skip
        right.plot(curves["score"], curves[key], color=colour, linewidth=width, label=key)
    right.plot(best["score"], best["LRP"], "o", color="#c0392b", markersize=5, zorder=4,
               label="oLRP, in (b) too")  # fmt: skip
    right.plot([best["score"]] * 2, [0, best["LRP"]], color="#c0392b", linewidth=0.9,
               linestyle=(0, (3, 2)))  # fmt: skip
    right.annotate(f"oLRP {best['LRP']:.2f}", (best["score"], best["LRP"]), (0, 11),
                   textcoords="offset points", color="#c0392b", ha="center",
                   fontsize=7, fontweight="bold")  # fmt: skip
    right.text(best["score"] + 0.02, 0.015, f"s* = {best['score']:.2f}", color="#c0392b")
    right.set(xlabel="score threshold s", ylabel="error", xlim=(0, 1), ylim=(0, 1.05))
    right.set_title("(c) what LRP reads")
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=5)
    return fig


def _draw_quality_curve(
    fig: Figure, place: Any, curves: pd.DataFrame, best: "pd.Series[float]"
) -> None:
    """Recall, precision and mean IoU of the true positives in space; the floor is the PR curve."""
    ax: Any = fig.add_subplot(place, projection="3d")
    recall, precision, quality = (curves[key] for key in ("recall", "precision", "mean_quality"))
    low = 0.5
    ax.plot(recall, precision, low, color=SOFT, linewidth=0.9)
    for k in range(0, len(curves), 9):
        ax.plot([recall.iloc[k]] * 2, [precision.iloc[k]] * 2, [low, quality.iloc[k]],
                color="#c3c9d3", linewidth=0.6)  # fmt: skip
    ax.plot(recall, precision, quality, color=PALETTE[0], linewidth=1.8)
    ax.plot([best["recall"]], [best["precision"]], [best["mean_quality"]], "o", color="#c0392b",
            markersize=5)  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0.3, 1), zlim=(low, 1))
    ax.text2D(-0.04, 0.98, "grey: the curve of (a)", transform=ax.transAxes, fontsize=6.5,
              color=SOFT)  # fmt: skip
    ax.set_xlabel("recall", labelpad=-6)
    ax.set_ylabel("precision", labelpad=-6)
    ax.set_zlabel("mean IoU", labelpad=-7)
    ax.tick_params(pad=-3, labelsize=6)
    ax.set(xticks=[0, 0.5, 1], yticks=[0.4, 0.7, 1], zticks=[0.5, 0.75, 1])
    ax.view_init(elev=20, azim=-62)
    ax.set_box_aspect((1.15, 1.15, 1), zoom=1.12)
    ax.set_title("(b) with the quality of boxes", x=0.1)


def plot_grid() -> Figure:
    """Three errors (columns) over counts, at three mean qualities (rows)."""
    grid = outcome_grid()
    grid["wrong"] = grid["n_fp"] + grid["n_fn"]
    errors = {"LRP": "LRP error", "PR": "1 − precision × recall", "PQ": "1 − PQ"}
    shown = [MEAN_QUALITIES[0], MEAN_QUALITIES[2], MEAN_QUALITIES[4]]
    fig, axes = figure(columns=2, grid=(3, 3), aspect=0.62, sharex=True, sharey=True)
    for index, (row, quality) in enumerate(zip(axes, shown, strict=True)):
        some = grid[np.isclose(grid["mean_quality"], quality)]
        for ax, (key, title) in zip(row, errors.items(), strict=True):
            table = some.pivot_table(index="n_tp", columns="wrong", values=key, aggfunc="mean")
            ax.pcolormesh(table.columns, table.index, table.to_numpy(), vmin=0, vmax=1,
                                  cmap=SEQUENTIAL, rasterized=True)  # fmt: skip
            ax.grid(visible=False)
            if index == 0:
                ax.set_title(title)
        row[0].set_ylabel(f"quality {quality:.2f}\ntrue positives")
    for ax in axes[-1]:
        ax.set_xlabel("false positives + false negatives")
    fig.colorbar(axes[0, 0].collections[0], ax=axes, label="error", shrink=0.7)
    return fig


def plot_comparison_of_errors() -> Figure:
    """LRP of every outcome against 1 - precision, 1 - recall and 1 - PQ."""
    grid = outcome_grid().iloc[::3]
    fig, axes = figure(columns=2, grid=(1, 3), aspect=1.0, sharey=True)
    for ax, (key, label) in zip(
        axes, (("FP", "1 − precision"), ("FN", "1 − recall"), ("PQ", "1 − PQ")), strict=True
    ):
        ax.scatter(grid[key], grid["LRP"], c=grid["mean_quality"], s=1.2, linewidths=0,
                            cmap=SEQUENTIAL, rasterized=True)  # fmt: skip
        ax.plot([0, 1], [0, 1], color="#c0392b", linewidth=1)
        ax.set(xlabel=label, aspect="equal", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes[0].set_ylabel("LRP error")
    fig.colorbar(axes[0].collections[0], ax=axes, label="mean IoU of true positives", shrink=0.7)
    return fig


def plot_triangle() -> Figure:
    """Three masks on a strip of cells, and what each measure says of their pairs."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.5, width_ratios=[0.8, 1.2])
    for row, (name, (start, end)) in enumerate(MASKS.items()):
        left.barh(-row, end - start, left=start, height=0.6, color=PALETTE[row], alpha=0.7)
        left.text(start + 0.7, -row, name, va="center", fontweight="bold", color="white")
    left.set(xlabel="cell", xlim=(0, 38), yticks=[])
    left.grid(axis="y", visible=False)
    left.set_title("(a) masks X, Y, Z")
    table = triangle_table().rename(
        columns={"detection": "det.", "ground_truth": "truth", "iou": "IoU", "PQ_error": "1 − PQ"}
    )
    violating = {(0, "1 − PQ"): "#fbe3d3", (0, "LRP"): "#dff2ea"}
    draw_table(right, table, widths=[1, 1, 1, 0.7, 0.7, 0.7, 0.9, 1.1, 1], shades=violating)
    right.set_title("(b) pairs")
    fig.supxlabel(
        "1 − PQ: 1 > 0.29 + 0.29 breaks the triangle inequality, LRP keeps it", fontsize=7,
        color=SOFT,
    )  # fmt: skip
    return fig
