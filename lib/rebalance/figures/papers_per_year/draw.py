"""Thesis Figure 3.3: papers on imbalance problems by year."""

import numpy as np
from matplotlib.figure import Figure

from rebalance.figures.papers_per_year.compute import References, papers_by_problem, papers_by_year
from rebalance.figures.style import SOFT, figure
from rebalance.figures.taxonomy.compute import BRANCHES
from rebalance.figures.taxonomy.draw import COLOURS

FIRST_YEAR = 2014
"""Earlier references, some from long before deep detectors, are drawn together."""


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
