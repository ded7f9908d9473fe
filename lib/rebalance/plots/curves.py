"""Training curves: small multiples of every loss and the learning rate, one line per run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rebalance.errors import InputError
from rebalance.plots.style import figure, legend_below, line_styles

#: Columns of log.csv that are neither a loss nor the learning rate.
NOT_CURVES = {"iteration", "seconds", "images"}

TITLES = {"loss": "total loss", "lr": "learning rate", "grad_norm": "gradient norm"}


def load_logs(runs: Mapping[str, Sequence[str | Path]]) -> dict[str, list[pd.DataFrame]]:
    """The log.csv of every seed of every run.

    Args:
        runs: label -> one path per seed.

    Raises:
        InputError: a file is absent or empty, lacks ``iteration``, ``lr`` or ``loss``, has a
            column that is not numeric, or iterations that do not rise.
    """
    return {label: [read_log(Path(path)) for path in paths] for label, paths in runs.items()}


def read_log(path: Path) -> pd.DataFrame:
    """One log.csv: iteration, lr, loss, and one column per term of the loss."""
    try:
        log = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such log") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a CSV log: {error}") from None
    for column in ("iteration", "lr", "loss"):
        if column not in log:
            raise InputError(f"{path}: no column {column!r}, it has {list(log)}")
    if log.empty:
        raise InputError(f"{path}: no iterations")
    for column in log.columns:
        if not pd.api.types.is_numeric_dtype(log[column]):
            raise InputError(f"{path}: column {column!r} must be numbers")
    if not (log["iteration"].diff().iloc[1:] > 0).all():
        raise InputError(f"{path}: iterations must rise from line to line")
    return log


def smooth(values: np.ndarray, span: float) -> np.ndarray:
    """Exponential moving average over about ``span`` values, unbiased at the start, [N] -> [N].

    Values that are not finite (the gradient norm of a step that mixed precision skipped) are left
    out of the average.
    """
    finite = pd.Series(values).where(np.isfinite(values))
    return finite.ewm(span=max(span, 1)).mean().to_numpy()


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
        ax.set_title(TITLES.get(name, name.replace("_", " ")))
        for label, seeds in logs.items():
            series = [log.set_index("iteration")[name] for log in seeds if name in log]
            if not series:
                continue
            together = pd.concat(series, axis=1, join="inner")
            span = 1 if name == "lr" else span_fraction * len(together)
            curves = np.stack([smooth(seed.to_numpy(), span) for _, seed in together.items()])
            ax.plot(together.index, curves.mean(axis=0), label=label, **styles[label])
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
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    # The last panel of each column, also above an empty place, says what all count.
    for ax in axes.flat[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("iteration")
    legend_below(fig, axes.flat[0])
    return fig
