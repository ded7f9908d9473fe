"""Logs of trainings: reading, checking, smoothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rebalance.errors import InputError


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
