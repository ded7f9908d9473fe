"""Distances to the four sides of a box, as logarithms."""

from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.boxes import box_centers, box_sizes


class DistanceCoder(NamedTuple):
    """Encodes a box as the logarithms of the distances of a point to its left, top, right, bottom.

    Kong et al., "FoveaBox: Beyound Anchor-based Object Detection", TIP 2020. The point is the
    reference's centre, the unit half its side (`rebalance.detectors.candidates.points`). Unlike a
    delta, a distance cannot be negative: decoded boxes contain the point.

    Attributes:
        limit: encoded distances are cut to [1 / limit, limit] units; > 1. Decoding has no limit.
    """

    limit: float = 16.0

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """[N, 4] boxes and [N, 4] references (xyxy, positive sides) -> [N, 4] log distances."""
        points, units = box_centers(references), box_sizes(references) / 2
        distances = torch.cat(
            ((points - boxes[..., :2]) / units, (boxes[..., 2:] - points) / units), dim=-1
        )
        return distances.clamp(1 / self.limit, self.limit).log()

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """[..., 4] log distances, references that broadcast with them -> [..., 4] boxes, xyxy."""
        points, units = box_centers(references), box_sizes(references) / 2
        before, after = deltas.exp().split(2, dim=-1)
        return torch.cat((points - before * units, points + after * units), dim=-1)
