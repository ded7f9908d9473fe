"""The best epoch of a training, as works report it that search for it on the images they show."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rebalance.errors import InputError
from rebalance.inputs import read_json
from rebalance.metrics.output import numbers_of

PARTS_OF = "oLRP"
"""Whose parts are those of its best epoch; any other number has a best epoch of its own."""


def at_best_epoch(
    files: Iterable[str], name: str, better: str | None
) -> tuple[float, Sequence[int]]:
    """A number at its best epoch, averaged over seeds, and which epoch that is of each seed.

    Args:
        files: epochs.json of each seed, see ``engine.epochs``; none: nan.
        name: of the number; a part of oLRP goes by the epoch of the best oLRP.
        better: "higher" or "lower"; None: there is no best one, nan.

    Raises:
        InputError: not such a file, or it lacks the number.
    """
    values, chosen = [], []
    stem, mark, _ = name.rpartition(f"{PARTS_OF}_")
    for file in files if better else ():
        own = _over_epochs(Path(file), name)
        search = _over_epochs(Path(file), f"{stem}{PARTS_OF}") if mark else own
        if np.isnan(search).all():
            return float("nan"), []
        epoch = int(np.nanargmax(search) if better == "higher" else np.nanargmin(search))
        values.append(own[epoch])
        chosen.append(epoch + 1)
    return float(np.mean(values)) if values else float("nan"), chosen


def _over_epochs(path: Path, name: str) -> np.ndarray:
    content = read_json(path, "file of epochs")
    if not isinstance(content, dict) or not isinstance(content.get("epochs"), list):
        raise InputError(f"{path}: needs a list of epochs")
    return np.array(
        [numbers_of(epoch["metrics"], [name], str(path))[name] for epoch in content["epochs"]]
    )
