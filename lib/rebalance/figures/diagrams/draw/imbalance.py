"""thesis Figure 3.2: the training pipeline of a detector, and where imbalance arises in it."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from rebalance.figures.diagrams.compute import PHASES, PIPELINE, PROBLEMS
from rebalance.figures.diagrams.draw.parts import (
    SMALL,
    Look,
    Node,
    arrow,
    canvas,
    connect,
    frame,
    place,
    text,
    title,
)
from rebalance.figures.style import INK, PALETTE, SOFT

COLOURS = dict(zip(PHASES, (PALETTE[0], PALETTE[2], PALETTE[5]), strict=True))
_PHASE_SPAN = dict(zip(PHASES, ((0.08, 2.36), (2.44, 4.98), (5.06, 7.08)), strict=True))
_PLACES = {
    "image": (0.42, 0.56, 4.6), "backbone, neck": (1.2, 0.66, 4.6),
    "feature maps": (1.98, 0.6, 4.6), "detection network": (3.0, 0.78, 4.6),
    "predictions": (4.36, 0.98, 4.6),
    "ground truth": (3.0, 0.78, 3.95), "box matching": (4.36, 0.98, 3.95),
    "labelling": (5.55, 0.72, 3.95), "sampling": (6.58, 0.72, 3.95), "losses": (6.58, 0.72, 4.6),
}  # fmt: skip
_LABELS = {
    "backbone, neck": "backbone,\nneck", "feature maps": "feature\nmaps",
    "detection network": "detection\nnetwork", "predictions": "predictions\n(scores, boxes)",
    "ground truth": "ground\ntruth", "box matching": "box matching\n(by IoU)",
}  # fmt: skip


def plot_imbalance_pipeline() -> Figure:
    """Three phases of training, and a sketch of each problem in the colour of its phase."""
    fig, ax = canvas(5.35)
    title(ax, 0.08, 5.2, "(a) training of a detector")
    for phase, (left, right) in _PHASE_SPAN.items():
        frame(ax, (left, 3.66, right, 5.05), phase, COLOURS[phase], share=0.14)
    phase_of = {part: phase for phase, parts in PHASES.items() for part in parts}
    nodes = {
        name: Node(x, y, width, 0.38, _LABELS.get(name), COLOURS[phase_of[name]])
        for name, (x, width, y) in _PLACES.items()
    }
    place(ax, nodes)
    connect(ax, nodes, PIPELINE)
    title(
        ax,
        0.08,
        3.46,
        "(b) what is imbalanced, by the phase in which it arises (sketches, not data)",
    )
    for index, (problem, (kind, phase)) in enumerate(PROBLEMS.items()):
        left, low = 0.08 + 1.76 * (index % 4), 1.74 - 1.66 * (index // 4)
        frame(ax, (left, low, left + 1.68, low + 1.58), "", COLOURS[phase], share=0.14)
        text(ax, left + 0.08, low + 1.44, problem, ha="left", fontweight="bold")
        text(ax, left + 0.08, low + 1.3, f"{kind} imbalance", SMALL, ha="left", color=SOFT)
        _SKETCHES[problem](ax, left + 0.14, low + 0.1, COLOURS[phase])
    return fig


# Each sketch is 1.4 inches wide and 1.1 high, from its lower left corner.


def _bars(
    ax: Axes,
    x: float,
    y: float,
    colour: str,
    heights: tuple[float, ...],
    names: tuple[str, ...] = (),
) -> None:
    """Bars on a line; each with its name, or all with one."""
    step = 1.4 / len(heights)
    for index, height in enumerate(heights):
        ax.add_patch(Rectangle((x + step * (index + 0.15), y + 0.16), 0.7 * step, height,
                               facecolor=colour, linewidth=0))  # fmt: skip
    ax.plot([x, x + 1.4], [y + 0.16] * 2, color=INK, linewidth=0.8)
    for index, name in enumerate(names):
        text(ax, x + 1.4 * (index + 0.5) / len(names), y + 0.05, name, SMALL)


def _box_scale(ax: Axes, x: float, y: float, colour: str) -> None:
    ax.add_patch(Rectangle((x, y), 1.4, 1.06, facecolor="white", edgecolor=SOFT, linewidth=0.7))
    small = ((0.1, 0.12), (0.28, 0.3), (0.12, 0.52), (0.3, 0.8), (0.08, 0.84), (0.48, 0.1),
             (0.5, 0.62), (0.7, 0.86), (0.48, 0.86))  # fmt: skip
    for dx, dy in small:
        ax.add_patch(
            Rectangle((x + dx, y + dy), 0.11, 0.1, fill=False, edgecolor=colour, linewidth=1)
        )
    ax.add_patch(
        Rectangle((x + 0.72, y + 0.12), 0.56, 0.62, fill=False, edgecolor=colour, linewidth=1.6)
    )


def _feature_level(ax: Axes, x: float, y: float, colour: str) -> None:
    nodes = {}
    for level, width in enumerate((0.5, 0.38, 0.26), start=1):
        for letter, middle in (("C", 0.3), ("P", 1.08)):
            nodes[f"{letter}{level}"] = Node(
                x + middle, y + 0.36 * level - 0.22, width, 0.14, "", colour, "map"
            )
    place(ax, nodes)
    for level in (1, 2):
        arrow(
            ax,
            [(x + 0.3, y + 0.36 * level - 0.14), (x + 0.3, y + 0.36 * level + 0.06)],
            Look(INK, 1.6),
        )
    arrow(ax, [(x + 0.46, y + 0.86), (x + 0.92, y + 0.86)], Look(INK, 1.6))
    arrow(ax, [(x + 0.58, y + 0.14), (x + 0.8, y + 0.14)], Look(PALETTE[1], 1.6))
    text(ax, x + 0.69, y + 0.98, "far", SMALL)
    text(ax, x + 0.69, y + 0.27, "near", SMALL)


def _iou_distribution(ax: Axes, x: float, y: float, colour: str) -> None:
    _bars(ax, x, y, colour, (0.8, 0.5, 0.3, 0.17, 0.07), ("0.5", "", "IoU", "", "1"))


def _object_location(ax: Axes, x: float, y: float, colour: str) -> None:
    ax.add_patch(Rectangle((x, y), 1.4, 1.06, facecolor="white", edgecolor=SOFT, linewidth=0.7))
    for index in range(60):  # a spiral of dots, dense in the middle
        angle, radius = 2.4 * index, 0.5 * (index / 59) ** 1.4
        place_at = (x + 0.7 + 1.25 * radius * math.cos(angle), y + 0.53 + radius * math.sin(angle))
        ax.add_patch(Circle(place_at, 0.022, facecolor=colour, linewidth=0))


def _foreground_background(ax: Axes, x: float, y: float, colour: str) -> None:
    _bars(ax, x, y, colour, (0.85, 0.03), ("background", "objects"))


def _foreground_foreground(ax: Axes, x: float, y: float, colour: str) -> None:
    heights = tuple(0.85 * 0.66**index for index in range(10))
    _bars(ax, x, y, colour, heights, ("classes, by frequency",))


def _regression_loss(ax: Axes, x: float, y: float, colour: str) -> None:
    _bars(ax, x, y, colour, (0.06, 0.1, 0.05, 0.85, 0.08), ("loss of each example",))


def _objective(ax: Axes, x: float, y: float, colour: str) -> None:
    _bars(ax, x, y, colour, (0.85, 0.16), ("class loss", "box loss"))


_SKETCHES = {
    "object/box scale": _box_scale,
    "feature level": _feature_level,
    "IoU distribution": _iou_distribution,
    "object location": _object_location,
    "foreground–background": _foreground_background,
    "foreground–foreground": _foreground_foreground,
    "regression loss": _regression_loss,
    "objective": _objective,
}
