"""The rules between raw data and a rendered page, as Snakemake plans them."""

import re
import subprocess
from functools import cache

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from rebalance.figures.diagrams.draw.parts import Node, canvas, place
from rebalance.figures.style import PALETTE, SOFT

TARGET = "bbgen_table_4"
"""Reads metrics and positives, of runs on a data set that is converted: most kinds of rules."""

GAP, STEP, ARCH = 0.2, 0.5, 0.19
"""Inches: between two columns of rules, between two rows; height of an arch for each column."""


def planned_rules() -> list[tuple[str, str]]:
    """Pairs of rules (first, then), sorted: what the first makes the other reads."""
    command = ["snakemake", "--rulegraph", "dot", "--forceall", "--config", "scale=shapes"]
    done = subprocess.run([*command, "--", TARGET], check=True, capture_output=True, text=True)
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"\\]+)', done.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)", done.stdout, re.MULTILINE)
    return sorted((names[first], names[then]) for first, then in edges)


def columns_of(edges: list[tuple[str, str]]) -> dict[str, int]:
    """Rule -> its column: as far to the right as its longest chain of predecessors is long."""
    before: dict[str, list[str]] = {rule: [] for edge in edges for rule in edge}
    for first, then in edges:
        before[then].append(first)

    @cache
    def column(rule: str) -> int:
        return max((column(earlier) + 1 for earlier in before[rule]), default=0)

    return {rule: column(rule) for rule in before}


def plot_rules(edges: list[tuple[str, str]]) -> Figure:
    """Rules from left to right; an arrow that passes a rule goes around it in an arch."""
    columns = columns_of(edges)
    to_end = columns_of([(then, first) for first, then in edges])
    members = {c: sorted(r for r in columns if columns[r] == c) for c in set(columns.values())}
    deepest = max(map(len, members.values()))
    spans = [columns[then] - columns[first] for first, then in edges]
    height = deepest * STEP + max(spans) * ARCH
    fig, ax = canvas(height)
    nodes: dict[str, Node] = {}
    left = 0.1
    for _, rules in sorted(members.items()):
        width = max(0.056 * len(rule) + 0.2 for rule in rules)
        # The longest way to the end is the upper row.
        rules.sort(key=lambda rule: -to_end[rule])
        for row, rule in enumerate(rules):
            y = (deepest - row - 0.5) * STEP
            colour = PALETTE[1] if rule == TARGET else PALETTE[0]
            nodes[rule] = Node(left + width / 2, y, width, label=rule, colour=colour)
        left += width + GAP
    fig.set_size_inches(left - GAP + 0.1, height)
    ax.set(xlim=(0, left - GAP + 0.1), ylim=(0, height))
    place(ax, nodes)
    for first, then in edges:
        ax.add_patch(_arrow(nodes[first], nodes[then], columns[then] - columns[first]))
    return fig


def _arrow(first: Node, then: Node, span: int) -> FancyArrowPatch:
    start, end = (first.x + first.w / 2, first.y), (then.x - then.w / 2, then.y)
    style = "arc3"
    if span > 1 and first.y > then.y:
        start = (first.x, first.y - first.h / 2)
    elif span > 1 and first.y < then.y:
        end = (then.x, then.y - then.h / 2)
    elif span > 1:
        start, end = (first.x, first.y + first.h / 2), (then.x, then.y + then.h / 2)
        # The middle of the arch is half as high as its control point.
        style = f"arc3,rad={-2 * span * ARCH / (then.x - first.x):.4f}"
    return FancyArrowPatch(
        start, end, connectionstyle=style, arrowstyle="-|>", mutation_scale=7, shrinkA=1,
        shrinkB=1, color=SOFT, linewidth=0.9, zorder=1,
    )  # fmt: skip
