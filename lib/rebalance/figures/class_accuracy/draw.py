"""GGIoU Figure 2: bars of AP per class."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rebalance.figures.checks import PAPER_SCALE
from rebalance.figures.class_accuracy.compute import PRINTED_RUNS
from rebalance.figures.style import INK, PALETTE, SOFT, figure, legend_below

WIDTH = 0.38
MOST_UPRIGHT = 12
"""More names than this are turned."""


def plot_class_accuracy(classes: pd.DataFrame, scale: str) -> Figure:
    """AP of each class under IoU and GGIoU assignment, slender classes to the right.

    Args:
        classes: see ``class_accuracy``.
        scale: where AP was measured; printed values are drawn at the paper's only.
    """
    fig, ax = figure(columns=2, aspect=0.42)
    places = np.arange(len(classes))
    for index, (label, colour) in enumerate(zip(PRINTED_RUNS, (SOFT, PALETTE[1]), strict=True)):
        at = places + (index - 0.5) * WIDTH
        ax.bar(at, 100 * classes[label], WIDTH, color=colour, label=label)
        if scale == PAPER_SCALE and f"{label}, printed" in classes:
            ax.plot(at, 100 * classes[f"{label}, printed"], "D", markerfacecolor="white",
                    markeredgecolor=INK, label="reported" if index == 0 else None)  # fmt: skip
    tops = 100 * classes[list(PRINTED_RUNS)].max(axis=1)
    for place, top, gain in zip(places, tops, classes["gain"], strict=True):
        if not np.isnan(gain):
            ax.annotate(f"{100 * gain:+.1f}", (place, top), xytext=(0, 3), ha="center",
                        textcoords="offset points", fontsize=7)  # fmt: skip
    names = [
        f"{name}\n{ratio:.2f}{', slender' if slender else ''}"
        for name, ratio, slender in zip(
            classes["class"], classes["elongation"], classes["slender"], strict=True
        )
    ]
    ax.set_xticks(places, names, rotation=90 if len(names) > MOST_UPRIGHT else 0)
    ax.margins(y=0.12)
    ax.grid(axis="x", visible=False)
    ax.set(ylabel=f"AP (%), {scale} scale", xlabel="class, median longer side by shorter")
    legend_below(fig, ax)
    return fig
