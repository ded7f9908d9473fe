"""What a dense head predicts for: anchors, points, cells; maps -> (boxes [N, 4], level sizes)."""

from collections.abc import Callable

from rebalance.detectors.candidates.anchors import (
    anchors,
    cells,
    points,
    ssd_anchors,
    yolact_anchors,
)
from rebalance.detectors.candidates.grid import CellGrid, DividedCanvas, DividedInput, Grid

# By the name a configuration calls them; all take the pyramid's strides first.
CANDIDATES: dict[str, Callable[..., Grid]] = {
    "anchors": anchors,
    "cells": cells,
    "points": points,
    "ssd_anchors": ssd_anchors,
    "yolact_anchors": yolact_anchors,
}

__all__ = [
    "CANDIDATES",
    "CellGrid",
    "DividedCanvas",
    "DividedInput",
    "Grid",
    "anchors",
    "cells",
    "points",
    "ssd_anchors",
    "yolact_anchors",
]
