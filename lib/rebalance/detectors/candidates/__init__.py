"""What a dense head predicts for: anchors, points, cells; maps -> (boxes [N, 4], level sizes)."""

from collections.abc import Sequence
from typing import Any

from rebalance.config.bind import bind_part
from rebalance.config.options import candidates as options_of
from rebalance.detectors.candidates.anchors import (
    anchors,
    cells,
    points,
    ssd_anchors,
    yolact_anchors,
)
from rebalance.detectors.candidates.grid import CellGrid, DividedCanvas, DividedInput, Grid


def make_grid(name: str, strides: Sequence[float], **options: Any) -> Grid:
    """Candidates by name, on a pyramid of ``strides``; unknown name or option: InputError."""
    grid: Grid = bind_part(options_of.CandidateGrid, name, options)(strides)
    return grid


__all__ = [
    "CellGrid",
    "DividedCanvas",
    "DividedInput",
    "Grid",
    "anchors",
    "cells",
    "make_grid",
    "points",
    "ssd_anchors",
    "yolact_anchors",
]
