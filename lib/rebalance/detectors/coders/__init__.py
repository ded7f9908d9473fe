"""Boxes to what a head predicts, and back: ``encode(boxes, references)``, ``decode``."""

from typing import Any, Protocol

from torch import Tensor

from rebalance.config.bind import bind_part
from rebalance.config.options import coders as options_of
from rebalance.detectors.coders.clipping import clip_boxes
from rebalance.detectors.coders.deltas import MAX_LOG_RATIO, DeltaCoder
from rebalance.detectors.coders.distances import DistanceCoder


class Coder(Protocol):
    """Relates boxes to reference boxes."""

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """[N, 4] boxes and [N, 4] references, xyxy -> [N, 4], what a head should predict."""

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """[..., 4] predictions and references that broadcast with them -> [..., 4] boxes, xyxy."""


def make_coder(name: str, **options: Any) -> Coder:
    """A coder by name; unknown name or option: InputError."""
    coder: Coder = bind_part(options_of.Coder, name, options)()
    return coder


__all__ = [
    "MAX_LOG_RATIO",
    "Coder",
    "DeltaCoder",
    "DistanceCoder",
    "clip_boxes",
    "make_coder",
]
