"""Detectors and their training as block diagrams (thesis 1.2, 4.1, 8.2, bbgen 1, 7, r3cnn 1)."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rebalance.figures.box_generator.compute import REFERENCE
from rebalance.figures.diagrams.compute import (
    ALWAYS,
    DETECTOR,
    EXAMPLE_LOSSES,
    FASTER_RCNN,
    GENERATED_POSITIVES,
    HEADS,
    HTC,
    LEVELS,
    MIN_IOU,
    NOT_FOR_POSITIVES,
    R3CNN,
    RANK_SORT,
    REMOVED,
    TURNS,
    USUAL,
    balanced,
    drawn_box,
    drawn_iou,
)
from rebalance.figures.diagrams.draw.parts import (
    BACKBONE,
    NEW,
    PYRAMID,
    SMALL,
    STEP,
    Look,
    Node,
    canvas,
    connect,
    cross_out,
    frame,
    place,
    pyramid,
    swatch,
    text,
    tint,
    title,
)
from rebalance.figures.style import PALETTE, SOFT

GENERATOR = PALETTE[5]
POSITIVE, NEGATIVE = Look(GENERATOR, 1.8), Look(SOFT, 1.4, True)


# --- thesis Figure 1.2 -----------------------------------------------------------------------


def plot_detector() -> Figure:
    """Backbone and pyramid, and the network that detects on every level of it."""
    fig, ax = canvas(3.0)
    frame(ax, (0.06, 0.42, 2.62, 2.9), "(a) shared features", BACKBONE)
    frame(ax, (2.98, 0.42, 7.1, 2.9), "(b) detection network, the same for all scales", PYRAMID)
    ys = [1.06 + 0.4 * index for index in range(4)]
    nodes = {
        "image": Node(0.72, 0.64, 0.95, 0.2, None, "", "map"),
        **pyramid(0.72, ys, (0.84, 0.68, 0.54, 0.42), [f"C{i}" for i in LEVELS], BACKBONE),
        **pyramid(1.95, ys, (0.84, 0.68, 0.54, 0.42), [f"P{i}" for i in LEVELS], PYRAMID),
        "shared layers": Node(3.42, 1.66, 0.62, 1.5, "shared\nlayers", PYRAMID, dashed=True),
        "combine": Node(5.6, 1.66, 0.7, 1.5, "combine,\nthreshold\non the\nscore", STEP),
        "NMS": Node(6.6, 1.66, 0.5, 0.3, None, STEP),
        "detections": Node(6.6, 1.06, 0.76, 0.3),
    }
    for head, y in zip(HEADS, ys[::-1], strict=True):
        label = "auxiliary, e.g. IoU" if head == "auxiliary" else head
        nodes[head] = Node(4.48, y, 1.06, 0.26, label, NEW, dashed=head not in ALWAYS)
    place(ax, nodes)
    text(ax, 0.72, 2.56, "backbone")
    text(ax, 1.95, 2.56, "feature pyramid")
    text(ax, 4.48, 2.56, "heads")
    text(ax, 6.1, 2.56, "post-processing")
    connect(ax, nodes, DETECTOR, {
        "backbone": Look(BACKBONE, 1.1), "lateral": Look(PYRAMID, 1.1),
        "top_down": Look(PYRAMID, 1.1),
    })  # fmt: skip
    place(ax, {
        "": Node(1.05, 0.2, 0.3, 0.16, "", NEW),
        "-": Node(3.9, 0.2, 0.3, 0.16, "", NEW, dashed=True),
    })  # fmt: skip
    text(ax, 1.3, 0.2, "solid: in detectors of every task", ha="left")
    text(ax, 4.15, 0.2, "dashed: depends on the task and the design", ha="left")
    return fig


# --- thesis Figure 4.1, bbgen Figure 1 -------------------------------------------------------


def plot_generated_positives() -> Figure:
    """A generated box, and a training whose positives are generated."""
    fig, ax = canvas(2.9)
    title(ax, 0.1, 2.74, "(a) one generated box")
    title(ax, 2.65, 2.74, "(b) training with generated positives")
    _generated_box(ax, 0.1, 0.42, 2.15)
    nodes = {
        "image": Node(2.92, 2.2, 0.5),
        "backbone": Node(3.72, 2.2, 0.68, 0.3, None, BACKBONE),
        "RPN": Node(4.72, 2.2, 0.5, 0.3, None, BACKBONE),
        "negatives": Node(5.72, 2.2, 0.72, 0.3, "keep\nnegatives", STEP),
        "RoI pooling": Node(5.72, 1.42, 0.78, 0.3, None, STEP),
        "R-CNN": Node(6.68, 1.42, 0.6, 0.3, None, BACKBONE),
        "losses": Node(6.68, 0.82, 0.6, 0.26, None, NEW),
        "objects": Node(3.2, 0.86, 0.98, 0.26, "objects (truth)"),
        "class shares": Node(3.2, 0.52, 0.98, 0.26, "class shares"),
        "IoU shares": Node(3.2, 0.18, 0.98, 0.26, "IoU shares"),
        "generator": Node(4.72, 0.52, 0.86, 0.94, "positive\nRoI\ngenerator", GENERATOR),
    }
    place(ax, nodes)
    connect(
        ax, nodes, GENERATED_POSITIVES,
        {"positives": POSITIVE, "negatives": NEGATIVE},
        {("generator", "RoI pooling"): [(5.72, 0.52)],
         ("backbone", "RoI pooling"): [(3.72, 1.42)]},
    )  # fmt: skip
    text(ax, 5.66, 0.9, "positives", ha="right")
    text(ax, 5.66, 1.82, "negatives", ha="right")
    text(ax, 3.8, 1.55, "feature maps", ha="left")
    return fig


def _generated_box(ax: Axes, left: float, low: float, side: float) -> None:
    """The reference and a box drawn by the generator, in a square."""
    ax.add_patch(Rectangle((left, low), side, side, facecolor="#f6f7f9", edgecolor="#d5dae2",
                           linewidth=0.7))  # fmt: skip
    boxes = [(REFERENCE, BACKBONE), (drawn_box(), PYRAMID)]
    every = torch.stack([box for box, _ in boxes]).view(-1, 2)
    middle, spread = (every.amin(0) + every.amax(0)) / 2, every.amax(0) - every.amin(0)
    scale = 0.8 * side / float(spread.max())
    for box, colour in boxes:
        x1, y1, x2, y2 = ((box.view(2, 2) - middle) * scale + side / 2).flatten().tolist()
        ax.add_patch(Rectangle((left + x1, low + side - y2), x2 - x1, y2 - y1, fill=False,
                               edgecolor=colour, linewidth=2))  # fmt: skip
    text(ax, left, low - 0.12, "reference", ha="left", color=BACKBONE, fontweight="bold")
    text(ax, left + side, low - 0.12, "generated", ha="right", color=PYRAMID, fontweight="bold")
    text(
        ax, left + side / 2, low - 0.3, f"IoU = {drawn_iou():.3f}, asked for at least T = {MIN_IOU}"
    )


# --- bbgen Figure 7 --------------------------------------------------------------------------


def plot_faster_rcnn_training() -> Figure:
    """Faster R-CNN's training; what generated positives bypass, and what they add."""
    fig, ax = canvas(3.35)
    nodes = {
        "image": Node(0.36, 2.1, 0.5),
        "feature extractor": Node(1.15, 2.1, 0.66, 0.4, "feature\nextractor", BACKBONE),
        "RPN": Node(2.1, 2.1, 0.5, 0.4, None, BACKBONE),
        "sample anchors": Node(3.4, 3.02, 1.0, 0.3, "sample anchors", STEP),
        "RPN losses": Node(4.75, 3.02, 0.8, 0.3, None, NEW),
        "make proposals": Node(3.4, 2.1, 1.0, 0.3, "make proposals", STEP),
        "NMS": Node(4.36, 2.1, 0.46, 0.3, None, STEP),
        "match, sample RoIs": Node(5.5, 2.1, 1.2, 0.3, "match, sample RoIs", STEP),
        "RoI pooling": Node(5.5, 1.2, 0.86, 0.3, None, STEP),
        "R-CNN": Node(6.6, 1.2, 0.62, 0.3, None, BACKBONE),
        "R-CNN losses": Node(6.6, 0.5, 0.92, 0.3, None, NEW),
        "ground truth": Node(2.1, 0.5, 0.86, 0.3),
        "generator": Node(3.8, 0.5, 1.2, 0.4, "positive RoI\ngenerator", GENERATOR),
    }
    marked = [nodes[name] for name in NOT_FOR_POSITIVES]
    left = min(node.x - node.w / 2 for node in marked) - 0.12
    right = max(node.x + node.w / 2 for node in marked) + 0.12
    frame(ax, (left, 1.82, right, 2.62), "", NEW, share=0.12, linestyle=(0, (4, 2)))
    text(ax, (left + right) / 2, 2.49, "bypassed by positive RoIs", fontweight="bold")
    place(ax, nodes)
    connect(
        ax, nodes, FASTER_RCNN, {"positives": POSITIVE, "negatives": NEGATIVE},
        {("feature extractor", "RoI pooling"): [(1.15, 1.2)],
         ("RPN", "sample anchors"): [(2.1, 3.02)],
         ("generator", "RoI pooling"): [(5.5, 0.5)]},
    )  # fmt: skip
    text(ax, 1.25, 1.33, "feature maps", ha="left")
    text(ax, 5.42, 0.78, "positive RoIs", ha="right")
    text(ax, 5.42, 1.6, "negative RoIs", ha="right")
    words = (
        "Conventional training has no generator: its positive RoIs come the way of the negative "
        "ones. So do all RoIs in testing."
    )
    text(ax, 0.1, 0.1, words, SMALL, ha="left", color=SOFT)
    return fig


# --- r3cnn Figure 1 --------------------------------------------------------------------------


def plot_recursion() -> Figure:
    """Three heads in a row against one head used three times."""
    fig, ax = canvas(4.0)
    looks = {
        "boxes": Look(NEW, 1.3), "loop": Look(NEW, 2.2), "masks": Look(PYRAMID, 1.3),
        "features": Look(SOFT, 0.8),
    }  # fmt: skip
    title(ax, 0.1, 3.86, "(a) HTC: a head per stage")
    nodes = {
        "features": Node(2.85, 3.52, 5.5, 0.24, "feature maps (backbone and pyramid)", BACKBONE),
        "RPN": Node(0.42, 2.9, 0.5, 0.3, None, BACKBONE),
        "detections": Node(6.68, 2.9, 0.74, 0.26),
        "masks": Node(6.68, 2.3, 0.74, 0.26),
    }
    for stage, iou in enumerate(TURNS, start=1):
        x = 1.3 + 1.77 * (stage - 1)
        nodes[f"pooler {stage}"] = Node(x, 2.9, 0.56, 0.3, "pooler", STEP)
        nodes[f"B{stage}"] = Node(x + 0.9, 2.9, 0.6, 0.4, f"B{stage}\nIoU {iou}", NEW)
        nodes[f"M{stage}"] = Node(x + 0.9, 2.3, 0.6, 0.26, None, PYRAMID)
    place(ax, nodes)
    connect(ax, nodes, HTC, looks)
    title(ax, 0.1, 1.86, "(b) R3-CNN: one head, three turns")
    nodes = {
        "features": Node(1.95, 1.52, 3.6, 0.24, "feature maps (backbone and pyramid)", BACKBONE),
        "RPN": Node(0.42, 0.9, 0.5, 0.3, None, BACKBONE),
        "pooler": Node(1.75, 0.9, 0.56, 0.3, None, STEP),
        "B1": Node(3.2, 0.9, 0.6, 0.66, None, NEW),
        "M1": Node(4.55, 0.62, 0.6, 0.26, None, PYRAMID),
        "detections": Node(6.68, 1.02, 0.74, 0.26),
        "masks": Node(6.68, 0.62, 0.74, 0.26),
    }
    place(ax, nodes)
    connect(ax, nodes, R3CNN, looks, {("B1", "pooler"): [(3.2, 0.26), (1.75, 0.26)]})
    text(ax, 2.48, 0.38, "refined boxes")
    text(ax, 5.7, 1.13, "after the last turn", SMALL)
    for turn, iou in enumerate(TURNS):
        x = 4.45 + 1.0 * turn
        text(ax, x, 1.52, f"turn {turn + 1}: IoU {iou}", fontweight="bold", bbox={
            "boxstyle": "round,pad=0.3", "facecolor": tint(NEW), "edgecolor": NEW, "linewidth": 0.8,
        })  # fmt: skip
    for x, words, kind in ((3.75, "boxes", "boxes"), (4.75, "masks", "masks"),
                           (5.75, "features", "features")):  # fmt: skip
        swatch(ax, x, 0.14, words, looks[kind])
    return fig


# --- thesis Figure 8.2 -----------------------------------------------------------------------

_HEAD_X = {"classification": 0.4, "box": 1.03, "mask": 1.63, "auxiliary": 2.25}
_USUAL_LABELS = {
    "classification": "class", "box": "box", "mask": "mask", "auxiliary": "aux.",
    "classification loss": "cross-\nentropy", "box loss": "smooth\nL1",
    "mask loss": "cross-\nentropy", "auxiliary loss": "its own\nloss",
    "classification target": "labels\n0 or 1", "box target": "boxes", "mask target": "masks",
    "auxiliary target": "IoU or\ncentre",
}  # fmt: skip
_CHANGED_LABELS = {
    "classification loss": "RS loss", "box loss": "GIoU\n× score", "mask loss": "Dice\n× score",
    "classification target": "IoUs,\nor 0",
}  # fmt: skip
_ROWS = {"": (1.98, 0.28, BACKBONE), " loss": (1.38, 0.36, STEP), " target": (0.76, 0.36, "")}
"""Row of heads, losses and targets: place, height, colour."""


def _stage(left: float, after: bool) -> dict[str, Node]:
    """A stage of a detector with its heads, losses and targets, before or after RS loss."""
    nodes = {
        "proposals": Node(left + 1.32, 2.85, 2.4, 0.24, "proposals of a stage"),
        "sampler": Node(left + 1.33, 2.44, 0.46 if after else 2.4, 0.24, None,
                        "" if after else STEP),
    }  # fmt: skip
    for task, x in _HEAD_X.items():
        for suffix, (y, height, colour) in _ROWS.items():
            name = task + suffix
            label = _USUAL_LABELS[name]
            if after and name in _CHANGED_LABELS:
                label, colour = _CHANGED_LABELS[name], NEW
            if after and name in REMOVED:
                colour = ""
            nodes[name] = Node(left + x, y, 0.56, height, label, colour)
    return nodes


def plot_rank_sort_pipeline() -> Figure:
    """What RS loss takes out of a stage's training, and how it balances the tasks."""
    fig, ax = canvas(3.4)
    for left, graph, heading, weights in (
        (0.06, USUAL, "(a) usual training of a stage", "loss weights: tuned by hand"),
        (2.8, RANK_SORT, "(b) with RS loss", "loss weights: by value, see (c)"),
    ):
        title(ax, left + 0.06, 3.24, heading)
        nodes = _stage(left, graph is RANK_SORT)
        place(ax, nodes)
        connect(ax, nodes, graph)
        text(ax, left + 1.32, 0.3, weights, fontweight="bold")
    for name in REMOVED:
        cross_out(ax, nodes[name])
    _balance(ax)
    return fig


def _balance(ax: Axes) -> None:
    """Bars: losses as they are, and weighted by value."""
    title(ax, 5.6, 3.24, "(c) balanced tasks")
    text(ax, 6.32, 2.86, r"$\lambda_t = L_{cls}\,/\,L_t$", 10)
    weights = balanced()
    for row, (words, low) in enumerate((("losses of an example", 1.62), ("weighted", 0.36))):
        text(ax, 6.32, low + 0.92, words, fontweight="bold")
        for index, (task, loss) in enumerate(EXAMPLE_LOSSES.items()):
            value = loss * (weights[task] if row else 1)
            x = 5.78 + 0.42 * index
            colour = (BACKBONE, NEW, PYRAMID)[index]
            ax.add_patch(Rectangle((x, low), 0.26, value, facecolor=colour, linewidth=0))
            text(ax, x + 0.13, low + value + 0.08, f"{value:.1f}")
            text(ax, x + 0.13, low - 0.1, f"{task}" if not row else f"× {weights[task]:.0f}")
