"""Losses, box generators, samplers, assigners, metrics and detectors for imbalance in detection."""

from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def load(folder: str | Path) -> Any:
    """A trained detector from its folder: see :func:`rebalance.engine.exported.load`.

    ``rebalance.load("folder")("photo.jpg")`` detects. Imported when called: ``import rebalance``
    takes no time.
    """
    return import_module("rebalance.engine.exported").load(folder)
