"""Worked examples of a few boxes, drawn: thesis Figures 3.11, 3.15 and 3.18, GGIoU Figure 1."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from rebalance.figures.style import INK, PALETTE, SOFT, figure
from rebalance.figures.texttable import draw_table
from rebalance.figures.toy_boxes.compute import (
    COVERED_TRUTH,
    GRID,
    NEGATIVES,
    POSITIVE_IOU,
    POSITIVES,
    PREDICTIONS,
    SCENES,
    SLIDE_LARGE,
    SLIDE_TRUTH,
    TRUTH,
    coverage,
    prediction_errors,
    scene_overlaps,
    slide_step,
    slide_table,
)

TRUTH_COLOUR = PALETTE[0]
NAMED = {
    "green": PALETTE[2], "red": PALETTE[1], "yellow": PALETTE[5], "purple": PALETTE[6],
    "blue": PALETTE[4],
}  # fmt: skip


def draw_box(ax: Axes, box: Sequence[float], colour: str, **style: Any) -> None:
    """The outline of an xyxy box."""
    x1, y1, x2, y2 = box
    options: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": 1.6} | style
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **options))


def plot_prediction_errors() -> Figure:
    """Left: the truth and three predictions; right: their IoU, L1 and L2."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.72)
    for name, box in PREDICTIONS.items():
        draw_box(left, box, NAMED[name])
    draw_box(left, TRUTH, TRUTH_COLOUR, linestyle=(0, (4, 2)), linewidth=2)
    left.set(xlim=(-2, 9), ylim=(7, -3), aspect="equal", xlabel="x", ylabel="y")
    left.set_xticks(range(-2, 10))
    left.set_yticks(range(-3, 8))
    left.set_title("truth (blue, dashed) and predictions")
    _table(
        right,
        ["prediction", "IoU", "L1", "L2"],
        [
            [line["prediction"], f"{line['iou']:.2f}", f"{line['L1']:.2f}", f"{line['L2']:.2f}"]
            for line in prediction_errors().to_dict("records")
        ],
        [NAMED[name] for name in PREDICTIONS],
    )
    right.set_title("errors summed over the corners")
    return fig


def _table(
    ax: Axes, header: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str]
) -> None:
    """Text in columns, the first column in the colours of its rows."""
    ax.axis("off")
    step = 1 / (len(rows) + 2)
    columns = [0.02] + [0.3 + 0.7 * k / (len(header) - 1) for k in range(1, len(header))]
    for row, texts in enumerate([list(header), *rows]):
        y = 1 - (row + 1) * step
        for column, (x, text) in enumerate(zip(columns, texts, strict=True)):
            bold = row == 0 or column == 0
            ax.text(
                x, y, text, transform=ax.transAxes, ha="left" if column == 0 else "right",
                va="center", fontsize=9, fontweight="bold" if bold else "normal",
                color=colours[row - 1] if row > 0 and column == 0 else INK,
            )  # fmt: skip
    ax.plot([0, 1], [1 - 1.5 * step] * 2, color=SOFT, linewidth=0.7, transform=ax.transAxes)


def plot_coverage() -> Figure:
    """Negatives, positives, and how many of them cover each pixel."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=0.95, sharey=True)
    for ax, boxes, colour, title in (
        (axes[0], NEGATIVES, PALETTE[1], "(a) negatives"),
        (axes[1], POSITIVES, PALETTE[2], "(b) positives"),
        (axes[2], [], INK, "(c) boxes on a pixel"),
    ):
        for box in boxes:
            draw_box(ax, box, colour)
        ax.set(xlim=(0, GRID[0]), ylim=(GRID[1], 0), aspect="equal", xlabel="x (pixels)")
        ax.set_xticks(range(0, GRID[0] + 1, 2))
        ax.set_yticks(range(0, GRID[1] + 1, 2))
        ax.set_title(title)
    counts = coverage()
    axes[2].pcolormesh(counts, cmap="Blues", vmin=0, vmax=counts.max() + 1)
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            shade = "white" if count > 3 else INK
            axes[2].text(x + 0.5, y + 0.5, str(count), ha="center", va="center", fontsize=5.5,
                         color=shade)  # fmt: skip
    for ax in axes:
        draw_box(ax, COVERED_TRUTH, TRUTH_COLOUR, linewidth=2, linestyle=(0, (4, 2)))
    axes[0].set_ylabel("y (pixels)")
    fig.legend(
        handles=[Patch(fill=False, edgecolor=TRUTH_COLOUR, label="ground truth (dashed)")],
        loc="outside lower center",
    )
    return fig


def plot_slide() -> Figure:
    """Three steps of a prediction that is moved to the right, with its IoU and its label."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=1.0, sharey=True)
    titles = {"a": "(a) a good positive", "b": "(b) a worse positive", "c": "(c) a negative"}
    for ax, step in zip(axes, slide_table().to_dict("records"), strict=True):
        boxes = slide_step(step["panel"])
        draw_box(ax, SLIDE_TRUTH, TRUTH_COLOUR, linewidth=2.2)
        for name, box in boxes.items():
            colour = PALETTE[2] if step[name] >= POSITIVE_IOU else NAMED["red"]
            draw_box(ax, box, colour, linewidth=1.6, linestyle=(0, (5, 1.5)))
            below = name == "large"
            ax.text(
                (box[0] + box[2]) / 2, box[3] + 0.25 if below else (box[1] + box[3]) / 2,
                f"IoU {step[name]:.2f}", color=colour, fontweight="bold", fontsize=7.5,
                ha="center", va="top" if below else "center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        if step["shift"]:
            right = SLIDE_LARGE[2]
            ax.annotate(
                "", (right + step["shift"], 1.05), (right, 1.05),
                arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 0.9},
            )  # fmt: skip
            ax.text(right - 0.2, 1.05, f"moved by {step['shift']:.1f}", ha="right", va="center",
                    fontsize=7)  # fmt: skip
        ax.set(xlim=(0.5, 14.5), ylim=(9.6, 0), aspect="equal", title=titles[step["panel"]])
        ax.set_xlabel(
            f"positives: {step['positives']} of 2\nregression loss of positives: "
            f"{step['regression_loss']:.2f}"
        )
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    fig.legend(
        handles=[
            Patch(fill=False, edgecolor=colour, linewidth=1.6, label=label)
            for colour, label in (
                (TRUTH_COLOUR, "ground truth"),
                (PALETTE[2], f"positive (IoU ≥ {POSITIVE_IOU})"),
                (NAMED["red"], "negative"),
            )
        ],
        loc="outside lower center", ncols=3,
    )  # fmt: skip
    return fig


def plot_ggiou() -> Figure:
    """Truth boxes (solid) and anchors (dashed) with their IoU and GGIoU."""
    fig, axes = figure(columns=2, grid=(2, 3), aspect=0.85, height_ratios=[1, 0.62])
    titles = {
        "a": "(a) slender truth",
        "b": "(b) anchors of IoU 0.5",
        "c": "(c) equal IoU",
    }
    for ax, below, (panel, scene) in zip(*axes, SCENES.items(), strict=True):
        width, height = scene.truth
        draw_box(ax, [-width / 2, -height / 2, width / 2, height / 2], PALETTE[1], linewidth=2)
        ax.plot(0, 0, "+", color=PALETTE[1], markersize=6)
        overlaps = scene_overlaps(panel)
        best = overlaps["ggiou"].idxmax()
        for index, (label, x, y, w, h) in enumerate(scene.anchors):
            colour = NAMED.get(label, PALETTE[2] if index == best else SOFT)
            corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
            draw_box(ax, corners, colour, linestyle=(0, (3, 2)), linewidth=1.1)
            ax.plot(x, y, ".", color=colour, markersize=3)
            if label.isdigit():  # the others are named by their colour
                ax.text(
                    corners[2], corners[3], label, color=INK, fontsize=6.5, ha="center",
                    va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
                )  # fmt: skip
        # A square frame, so that all three are drawn alike.
        reach = 1.1 * max(ax.dataLim.x1, -ax.dataLim.x0, ax.dataLim.y1, -ax.dataLim.y0)
        ax.set(aspect="equal", xlabel="x", xlim=(-reach, reach), ylim=(-reach, reach))
        ax.set_title(titles[panel])
        table = overlaps.rename(columns={"iou": "IoU", "ggiou": "GGIoU"})
        # Lines as high as those of (a), which has the most.
        draw_table(
            below.inset_axes((0.05, 1 - (len(table) + 1) / 9, 0.9, (len(table) + 1) / 9)),
            table,
            digits=3,
        )
        below.axis("off")
    axes[0, 0].set_ylabel("y")
    return fig
