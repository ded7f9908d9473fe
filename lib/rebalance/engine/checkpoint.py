"""Checkpoints that are whole or absent, and the per-iteration log that goes with them."""

import csv
import errno
import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from rebalance.data.files import DAMAGED_ZIP, write_atomically
from rebalance.errors import InputError

CHECKPOINT, PREVIOUS, DAMAGED = (
    "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.damaged.pt"
)  # fmt: skip
KEYS = {"settings", "threads", "iteration", "log_bytes", "model"}
"""Of every checkpoint."""
UNFINISHED_LOG = "log.unfinished.csv"


class OutputError(OSError):
    """A file could not be written, for example because the disk is full; nothing older is lost."""


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint in one step, and keep the one before it.

    Raises:
        OutputError: it could not be written; the old one is intact.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(folder / CHECKPOINT, buffer.getvalue(), former=folder / PREVIOUS)
    except OSError as error:
        raise OutputError(
            f"{folder / CHECKPOINT}: cannot be written: {error.strerror or error}; the checkpoint "
            "before it is intact: make room and start again, the training goes on from there"
        ) from error


def choose_checkpoint(folder: Path) -> list[str]:
    """Make CHECKPOINT a whole one: if damaged it is put aside, the one before takes its name.

    Returns:
        What was done, for the user.
    """
    messages = []
    for name in (CHECKPOINT, PREVIOUS):
        reason = _damage(folder / name)
        if reason is not None:
            (folder / name).replace(folder / DAMAGED)
            messages.append(f"{folder / name} is damaged ({reason}): it becomes {DAMAGED}")
    if (folder / PREVIOUS).exists() and not (folder / CHECKPOINT).exists():
        (folder / PREVIOUS).replace(folder / CHECKPOINT)
        messages.append(f"{folder}: the checkpoint before it is used")
    elif messages and not (folder / CHECKPOINT).exists():
        messages.append(f"{folder}: there is no other checkpoint, the training begins anew")
    return messages


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The checkpoint of a folder, loaded without running code; None if there is none.

    Raises:
        InputError: it is not one of ours.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch reports what it cannot read by any of these.
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: no checkpoint of a training ({reason}); delete it to train from the start"
        ) from None
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        raise InputError(
            f"{path}: no checkpoint of this version; delete it to train from the start"
        )
    return state


def remove_checkpoints(folder: Path) -> None:
    """Remove all of them; there is a result."""
    for name in (CHECKPOINT, PREVIOUS, DAMAGED):
        (folder / name).unlink(missing_ok=True)


def _damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, if it is there and anything is.

    torch.load does not look at the checksums that torch.save writes: a flipped bit passes. zipfile
    does, and passes over what stands between the members and behind them.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            return f"the checksum of {broken} is wrong"
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        return None
    except UnpicklingError:  # whole, and not one of ours
        return None
    except DAMAGED_ZIP as error:
        return (str(error) or "it ends too early").splitlines()[0]
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return "it points before its beginning"  # where zipfile cannot seek to
    return None


class TrainingLog:
    """One CSV row per iteration, cut back to the checkpoint's length when a training goes on.

    The file has its own name until the training ends, because a workflow deletes the declared
    outputs of a job that failed.

    Args:
        folder: where the log is.
        length: bytes to keep.

    Raises:
        InputError: the file is shorter than ``length``.
    """

    def __init__(self, folder: Path, length: int = 0) -> None:
        self.path = folder / UNFINISHED_LOG
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < length:
            raise InputError(
                f"{self.path}: has {size} bytes, the checkpoint beside it needs {length}; "
                f"delete {CHECKPOINT} to train from the start"
            )
        self._file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        self._file.truncate(length)
        self._file.seek(length)

    def write(self, values: Sequence[str]) -> None:
        """Append a row; it is in the file, though perhaps not on the disk, when this returns.

        Raises:
            OutputError: it could not be written.
        """
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        try:
            self._file.write(line.getvalue().encode())
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}; make room and start "
                "again, the training goes on from its last checkpoint"
            ) from error

    def sync(self) -> int:
        """Bring all rows to the disk; the length in bytes."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
