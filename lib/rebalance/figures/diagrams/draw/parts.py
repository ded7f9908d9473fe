"""Vocabulary of the explanatory diagrams: boxes, feature maps, arrows, frames; inches all over.

A figure places named nodes on a ``canvas`` and hands ``connect`` the edges between them, which
``analysis/diagram.py`` lists. Arrows leave and reach a node at its border.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from rebalance.figures.diagrams.compute import Edge
from rebalance.figures.style import INK, PALETTE, SOFT, WIDTHS, figure

Point = tuple[float, float]
SMALL = 6.5
BACKBONE, PYRAMID, NEW, STEP = PALETTE[0], PALETTE[2], PALETTE[1], SOFT
HEAD_LENGTH, HEAD_WIDTH = 0.075, 0.06
SLANT = 0.09
"""Inches by which a feature map leans: it is a plane seen from the side."""


class Node(NamedTuple):
    """A part of a diagram.

    Attributes:
        x, y: centre, inches.
        w, h: size, inches.
        label: what is written in it; None writes its name.
        colour: of its border; it is filled with a tint of it. Empty is white with a grey border.
        shape: box, map (a leaning plane), op (a circle) or text (no border).
        dashed: an optional part.
    """

    x: float
    y: float
    w: float
    h: float = 0.26
    label: str | None = None
    colour: str = ""
    shape: str = "box"
    dashed: bool = False


class Look(NamedTuple):
    """How arrows of a kind are drawn."""

    colour: str = SOFT
    width: float = 0.9
    dashed: bool = False


def canvas(height: float, columns: int = 2) -> tuple[Figure, Axes]:
    """A page-wide figure with one empty axes all over it, in inches from the lower left corner."""
    fig, ax = figure(columns=columns, aspect=height / WIDTHS[columns])
    fig.set_layout_engine("none")
    ax.set_position((0, 0, 1, 1))
    ax.axis("off")
    ax.set(xlim=(0, WIDTHS[columns]), ylim=(0, height))
    return fig, ax


def tint(colour: str, share: float = 0.16) -> str:
    """A colour mixed with white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def place(ax: Axes, nodes: Mapping[str, Node]) -> None:
    """Draw nodes with their labels."""
    for name, node in nodes.items():
        edge = node.colour or SOFT
        face = tint(node.colour) if node.colour else "white"
        style: dict[str, Any] = {
            "facecolor": face, "edgecolor": edge, "linewidth": 0.9, "zorder": 2,
            "linestyle": (0, (3, 2)) if node.dashed else "-",
        }  # fmt: skip
        left, low = node.x - node.w / 2, node.y - node.h / 2
        if node.shape == "box":
            ax.add_patch(FancyBboxPatch(
                (left, low), node.w, node.h, boxstyle="round,pad=0,rounding_size=0.04", **style
            ))  # fmt: skip
        elif node.shape == "map":
            lean = SLANT / 2
            ax.add_patch(Polygon(
                [(left - lean, low), (left + node.w - lean, low),
                 (left + node.w + lean, low + node.h), (left + lean, low + node.h)], **style
            ))  # fmt: skip
        elif node.shape == "op":
            ax.add_patch(Circle((node.x, node.y), node.w / 2, **style))
        text(ax, node.x, node.y, name if node.label is None else node.label)


def text(ax: Axes, x: float, y: float, words: str, size: float = 7, **style: Any) -> None:
    """Words centred at a point."""
    look: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "linespacing": 1.15,
        "color": INK,
        "zorder": 4,
    }
    ax.text(x, y, words, fontsize=size, **(look | style))


def title(ax: Axes, x: float, y: float, words: str) -> None:
    """Heading of a panel, from its left end."""
    text(ax, x, y, words, size=8, ha="left", fontweight="bold")


def frame(ax: Axes, box: Sequence[float], words: str = "", colour: str = SOFT, **look: Any) -> None:
    """A group: a tinted area (left, bottom, right, top) with its name at the top left."""
    left, low, right, top = box
    face = tint(colour, look.pop("share", 0.07))
    style = {"facecolor": face, "edgecolor": tint(colour, 0.45), "linewidth": 0.8, "zorder": 0}
    ax.add_patch(FancyBboxPatch(
        (left, low), right - left, top - low, boxstyle="round,pad=0,rounding_size=0.06",
        **dict[str, Any](style | look),
    ))  # fmt: skip
    if words:
        text(ax, left + 0.08, top - 0.12, words, ha="left", color=INK, fontweight="bold")


def cross_out(ax: Axes, node: Node, colour: str = NEW) -> None:
    """Two strokes over a part that is left out."""
    left, right = node.x - node.w / 2, node.x + node.w / 2
    low, top = node.y - node.h / 2, node.y + node.h / 2
    strokes = Path([(left, low), (right, top), (left, top), (right, low)], [1, 2, 1, 2])
    ax.add_patch(PathPatch(strokes, edgecolor=colour, facecolor="none", linewidth=1.3, zorder=5))


def connect(
    ax: Axes,
    nodes: Mapping[str, Node],
    edges: Iterable[Edge],
    looks: Mapping[str, Look] | None = None,
    via: Mapping[tuple[str, str], Sequence[Point]] | None = None,
) -> None:
    """Draw edges as arrows.

    Args:
        ax: where.
        nodes: by name; every edge names two of them.
        edges: what is connected.
        looks: by kind of edge; a thin grey arrow for all others.
        via: corners of an arrow, by its ends.
    """
    for edge in edges:
        for end in edge[:2]:
            if end not in nodes:
                raise ValueError(f"edge {edge[:2]}: no node {end!r}, there are {sorted(nodes)}")
        corners = list((via or {}).get(edge[:2], ()))
        points = route(nodes[edge.source], nodes[edge.target], corners)
        arrow(ax, points, (looks or {}).get(edge.kind, Look()))


def arrow(ax: Axes, points: Sequence[Point], look: Look = Look()) -> None:  # noqa: B008
    """A line through points that ends in an arrowhead."""
    tip, before = np.array(points[-1]), np.array(points[-2])
    along = (tip - before) / np.linalg.norm(tip - before)
    across = np.array([-along[1], along[0]]) * HEAD_WIDTH / 2
    base = tip - along * HEAD_LENGTH
    line = np.array([*points[:-1], tuple(base)])
    ax.plot(*line.T, color=look.colour, linewidth=look.width, zorder=1, solid_capstyle="butt",
            solid_joinstyle="round", linestyle=(0, (3, 1.6)) if look.dashed else "-")  # fmt: skip
    ax.add_patch(Polygon([tip, base + across, base - across], facecolor=look.colour, linewidth=0,
                         zorder=3))  # fmt: skip


def route(source: Node, target: Node, corners: Sequence[Point] = ()) -> list[Point]:
    """Points of an arrow from border to border; level or upright where the nodes allow it."""
    if corners:
        start = _border(source, _facing(source, corners[0]), corners[0])
        end = _border(target, _facing(target, corners[-1]), corners[-1])
        return [start, *corners, end]
    for axis in (0, 1):
        shared = _overlap(source, target, axis)
        if shared is not None:
            ends: list[Point] = [(source.x, shared), (target.x, shared)]
            if axis == 0:
                ends = [(shared, source.y), (shared, target.y)]
            return [_border(source, ends[0], ends[1]), _border(target, ends[1], ends[0])]
    first, last = (source.x, source.y), (target.x, target.y)
    return [_border(source, first, last), _border(target, last, first)]


def _overlap(source: Node, target: Node, axis: int, margin: float = 0.03) -> float | None:
    """Middle of what two nodes share of an axis; None if they share nothing."""
    middles = [(node.x, node.y)[axis] for node in (target, source)]
    halves = [(node.w, node.h)[axis] / 2 for node in (target, source)]
    low = max(middle - half for middle, half in zip(middles, halves, strict=True))
    high = min(middle + half for middle, half in zip(middles, halves, strict=True))
    if high - low < 2 * margin:
        return None
    for middle in middles:  # through the middle of a node rather than of the overlap
        if low <= middle <= high:
            return middle
    return (low + high) / 2


def _facing(node: Node, point: Point) -> Point:
    """From where in a node an arrow to a point is level or upright; its centre if nowhere."""
    if abs(point[0] - node.x) < node.w / 2:
        return point[0], node.y
    if abs(point[1] - node.y) < node.h / 2:
        return node.x, point[1]
    return node.x, node.y


def _border(node: Node, inside: Point, outside: Point, gap: float = 0.02) -> Point:
    """Where the line from a point of a node leaves it, and a little further."""
    step = np.array(outside) - np.array(inside)
    length = float(np.hypot(*step))
    if node.shape == "op":
        reach = node.w / 2
    else:
        reach = min(
            _reach(node.x, node.w, inside[0], step[0]), _reach(node.y, node.h, inside[1], step[1])
        ) * length  # fmt: skip
    x, y = np.array(inside) + step / length * (reach + gap)
    return float(x), float(y)


def _reach(middle: float, size: float, start: float, step: float) -> float:
    """Share of a step that leads from inside an interval to its end."""
    if step == 0:
        return float("inf")
    return (middle + np.sign(step) * size / 2 - start) / step


def swatch(ax: Axes, x: float, y: float, words: str, look: Look) -> None:
    """Entry of a legend: an arrow and what it stands for."""
    arrow(ax, [(x, y), (x + 0.28, y)], look)
    text(ax, x + 0.34, y, words, SMALL, ha="left")


def pyramid(
    x: float,
    ys: Sequence[float],
    widths: Sequence[float],
    names: Sequence[str],
    colour: str,
    height: float = 0.2,
    label: str | None = None,
) -> dict[str, Node]:
    """Maps of one column, finest first."""
    return {
        name: Node(x, y, width, height, label, colour, "map")
        for name, y, width in zip(names, ys, widths, strict=True)
    }
