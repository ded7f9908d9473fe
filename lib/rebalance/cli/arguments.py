"""Kinds of arguments: what is wrong with one is found out before any work, in one line."""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as the sub-commands do; the usage is for ``--help``."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def positive_int(text: str) -> int:
    """A whole number from 1."""
    return _number_from(1, text)


def count(text: str) -> int:
    """A whole number from 0."""
    return _number_from(0, text)


def finite(text: str) -> float:
    """A number, neither nan nor infinite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def output_file(text: str) -> Path:
    """A file that can be written, in a folder that is there or can be made."""
    path = _name(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file to write, {text!r} is a folder")
    if path.exists() and not path.is_file():  # it would be replaced: files are written beside
        raise argparse.ArgumentTypeError(f"must be a file to write, {text} is a pipe or a device")
    _check_writable(path, path.parent)
    return path


def output_folder(text: str) -> Path:
    """A folder that can be written to, there or to be made."""
    path = _name(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, {text} is a file")
    _check_writable(path, path)
    return path


def _name(text: str) -> Path:
    """A path that the file system can have: not too long, for one."""
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.80}: {error.strerror}") from None
    return path


def _number_from(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if not least <= value < 2**63:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
    return value


def _check_writable(path: Path, folder: Path) -> None:
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{path} cannot be made: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written: no permission in {folder}")
