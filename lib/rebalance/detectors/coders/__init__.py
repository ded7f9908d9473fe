"""Boxes to what a head predicts, and back: ``encode(boxes, references)``, ``decode``."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from rebalance.detectors.coders.clipping import clip_boxes
from rebalance.detectors.coders.deltas import MAX_LOG_RATIO, DeltaCoder
from rebalance.detectors.coders.distances import DistanceCoder


class Coder(Protocol):
    """Relates boxes to reference boxes."""

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """[N, 4] boxes and [N, 4] references, xyxy -> [N, 4], what a head should predict."""

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """[..., 4] predictions and references that broadcast with them -> [..., 4] boxes, xyxy."""


# By the name a configuration calls them.
CODERS: dict[str, Callable[..., Coder]] = {"deltas": DeltaCoder, "distances": DistanceCoder}

__all__ = ["CODERS", "MAX_LOG_RATIO", "Coder", "DeltaCoder", "DistanceCoder", "clip_boxes"]
