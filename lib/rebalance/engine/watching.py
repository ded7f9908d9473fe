"""Scalars for those who watch a training: beside its results and no part of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_fabric.loggers import TensorBoardLogger

from rebalance.errors import InputError

Log = Callable[[Mapping[str, float], int], None]


def check_tensorboard() -> None:
    """Find out before a training whether scalars can be written.

    Raises:
        InputError: the package is not installed.
    """
    if find_spec("tensorboard") is None:
        raise InputError(
            "tensorboard: the package is not installed: pip install tensorboard, or train without"
        )


@contextmanager
def scalars_log(folder: Path | None, run: Mapping[str, Any], start: int) -> Iterator[Log]:
    """What writes values of an iteration (from 1), on the main process only.

    Args:
        folder: of all trainings; this one's scalars come into ``<name>/seed<k>``. None: nothing is
            written.
        run: settings of the run.
        start: iterations that lie behind; what was written of later ones no longer counts.
    """
    if folder is None:
        yield lambda values, iteration: None
        return
    logger = TensorBoardLogger(
        folder, name=run["name"], version=f"seed{run['seed']}", purge_step=start + 1
    )
    try:
        yield logger.log_metrics
    finally:
        logger.finalize("success")
