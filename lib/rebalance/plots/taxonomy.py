"""Thesis Figures 3.1 and 3.3: the tree of imbalance problems, and papers on them by year."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.analysis.taxonomy import BRANCHES, References, papers_by_problem, papers_by_year
from rebalance.plots.style import INK, PALETTE, SOFT, figure

Methods = Sequence[str] | Mapping[str, Sequence[str]]
COLOURS = dict(zip(BRANCHES, (PALETTE[0], PALETTE[2], PALETTE[1], PALETTE[6]), strict=True))
LINE_WIDTH = 118
FIRST_YEAR = 2014
"""Earlier references, some from long before deep detectors, are drawn together."""


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


def plot_papers(references: References) -> Figure:
    """Papers per category over the years, and in all per problem.

    Args:
        references: problem -> year -> numbers in the bibliography.
    """
    counts = papers_by_year(references)
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.72, width_ratios=[1.35, 1])
    earlier = counts[counts.index < FIRST_YEAR].sum()
    recent = counts[counts.index >= FIRST_YEAR]
    places = np.arange(len(recent) + 1)
    width = 0.8 / len(COLOURS)
    for k, (category, colour) in enumerate(COLOURS.items()):
        shift = (k - (len(COLOURS) - 1) / 2) * width
        heights = [earlier[category], *recent[category]]
        left.bar(places + shift, heights, width=width, color=colour, label=category)
    left.axvline(0.5, color=SOFT, linewidth=0.7, linestyle=(0, (2, 2)))
    left.set_xticks(places, [f"{counts.index.min()}–\n{FIRST_YEAR - 1}", *map(str, recent.index)])
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set(ylabel="papers", title="(a) papers per category and year")
    left.grid(axis="x", visible=False)
    left.legend(loc="upper left", bbox_to_anchor=(0.16, 1.0))
    totals = papers_by_problem(references)
    shades = [COLOURS[category] for category, leaves in BRANCHES.items() for _ in leaves]
    bars = right.barh(range(len(totals)), totals.to_numpy(), color=shades)
    right.bar_label(bars, padding=2)
    right.set_yticks(range(len(totals)), [name.replace(" class", "\nclass")
                                          for name in totals.index])  # fmt: skip
    right.invert_yaxis()
    right.set(xlabel="papers", title="(b) papers per problem", xlim=(0, 1.12 * totals.max()))
    right.grid(axis="y", visible=False)
    return fig
