"""Training curves: small multiples of every loss and the learning rate, one line per run."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rebalance.figures.style import figure, legend_below, line_styles
from rebalance.figures.training_curves.compute import smooth
from rebalance.words import spelled

#: Columns of log.csv that are neither a loss nor the learning rate.
NOT_CURVES = {"iteration", "seconds", "images"}

TITLES = {"loss": "total loss", "lr": "learning rate", "grad_norm": "gradient norm"}
OWN_UNIT = "own unit"
UNITS = {"lr": "", "grad_norm": "norm"}
"""Of what is no loss."""


def plot_training_curves(
    logs: Mapping[str, Sequence[pd.DataFrame]], span_fraction: float = 0.05
) -> Figure:
    """Total loss, each term and the learning rate against the iteration.

    A line is the mean over the seeds of a run, smoothed; the band spans the seeds. The scales of
    the losses differ between runs that minimise different losses: compare shapes, not levels.

    Args:
        logs: label -> the log of each seed, see ``read_log``. Seeds of a run log the same
            iterations; the shortest one decides how far the line goes.
        span_fraction: smoothing span as a part of the run's length.
    """
    names = list(
        dict.fromkeys(
            str(column) for seeds in logs.values() for log in seeds for column in log.columns
        )
    )
    terms = [name for name in names if name not in NOT_CURVES | {"lr", "loss"}]
    panels = ["loss", *terms, "lr"]
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = figure(columns=2, grid=(rows, columns), aspect=0.6, squeeze=False)
    styles = line_styles(logs)
    for ax, name in zip(axes.flat, panels, strict=False):
        ax.set_title(TITLES.get(name, spelled(name)))
        for label, seeds in logs.items():
            series = [log.set_index("iteration")[name] for log in seeds if name in log]
            if not series:
                continue
            together = pd.concat(series, axis=1, join="inner")
            span = 1 if name == "lr" else span_fraction * len(together)
            curves = np.stack([smooth(seed.to_numpy(), span) for _, seed in together.items()])
            ax.plot(together.index, curves.mean(axis=0), label=spelled(label), **styles[label])
            if len(series) > 1:
                ax.fill_between(
                    together.index,
                    curves.min(axis=0),
                    curves.max(axis=0),
                    color=styles[label]["color"],
                    alpha=0.18,
                    linewidth=0,
                )
        ax.set_ylim(bottom=0)
        ax.margins(x=0)
        ax.set_ylabel(UNITS.get(name, OWN_UNIT))
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    # The last panel of each column, also above an empty place, says what all count.
    for ax in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("iteration")
    legend_below(fig, axes.flat[0])
    return fig
