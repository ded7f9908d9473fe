"""Thesis Figure 3.1: the tree of imbalance problems."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.figures.style import INK, PALETTE, figure
from rebalance.figures.taxonomy.compute import BRANCHES

Methods = Sequence[str] | Mapping[str, Sequence[str]]
COLOURS = dict(zip(BRANCHES, (PALETTE[0], PALETTE[2], PALETTE[1], PALETTE[6]), strict=True))
LINE_WIDTH = 118


def plot_taxonomy(methods_by_leaf: Mapping[str, Methods]) -> Figure:
    """Branches, leaves, and under each leaf its methods by group.

    Args:
        methods_by_leaf: leaf -> methods, or -> group -> methods.
    """
    entries: list[tuple[str, str, list[str]]] = []
    for branch, leaves in BRANCHES.items():
        entries += [(branch, leaf, _lines(methods_by_leaf[leaf])) for leaf in leaves]
    total = sum(len(lines) + 1.6 for _, _, lines in entries)
    fig, ax = figure(columns=2, aspect=0.021 * total)
    ax.axis("off")
    y = total
    for branch, leaf, lines in entries:
        top = y
        ax.text(0.17, y, leaf, color=COLOURS[branch], fontweight="bold", va="top")
        for line in lines:
            y -= 1
            ax.text(0.185, y, line, fontsize=6.2, va="top", color=INK)
        y -= 1.6
        ax.plot([0.155, 0.155], [y + 0.9, top], color=COLOURS[branch], linewidth=2)
        ax.plot([0.12, 0.155], [top - 0.4] * 2, color=COLOURS[branch], linewidth=1)
    _branches(ax, entries, total)
    ax.set(xlim=(0, 1), ylim=(0, total + 0.5))
    return fig


def _branches(ax: Axes, entries: Sequence[tuple[str, str, list[str]]], total: float) -> None:
    y = total
    tops: dict[str, list[float]] = {}
    for branch, _, lines in entries:
        tops.setdefault(branch, []).append(y - 0.4)
        y -= len(lines) + 1.6
    for branch, places in tops.items():
        ax.plot([0.12, 0.12], [places[-1], places[0]], color=COLOURS[branch], linewidth=1)
        middle = (places[0] + places[-1]) / 2
        ax.text(0.11, middle, branch, color="white", fontweight="bold", ha="right", va="center",
                bbox={"boxstyle": "round", "facecolor": COLOURS[branch], "lw": 0})  # fmt: skip


def _lines(methods: Methods) -> list[str]:
    """Text of a leaf, one group per line and broken where it is long."""
    groups = {"": methods} if not isinstance(methods, Mapping) else methods
    lines: list[str] = []
    for name, some in groups.items():
        text = (f"{name}: " if name else "") + ", ".join(some)
        lines += textwrap.wrap(text, LINE_WIDTH, subsequent_indent="    ")
    return lines
