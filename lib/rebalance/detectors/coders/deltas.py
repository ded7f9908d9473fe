"""Box deltas relative to a reference box (Girshick et al., R-CNN, 2014)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.boxes import box_centers, box_sizes

MAX_LOG_RATIO = math.log(1000 / 16)  # keeps exp() finite: a side grows at most 62.5 fold


class DeltaCoder(NamedTuple):
    """Encodes a box as (dx, dy, dw, dh): shifts in units of the reference's sides, log size ratios.

    Attributes:
        weights: factors of the four deltas, which bring their spreads to the same scale (the
            inverse of mmdetection's target_stds).
        two_sided: decoding limits dw and dh to +-ln(1000 / 16) (mmdetection); else above only
            (torchvision). Gradients are 0 beyond a limit.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    two_sided: bool = False

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """[N, 4] boxes and [N, 4] references (xyxy, positive sides) -> [N, 4] deltas."""
        sizes = box_sizes(references)
        shifts = (box_centers(boxes) - box_centers(references)) / sizes
        growths = (box_sizes(boxes) / sizes).log()
        deltas = torch.cat((shifts, growths), dim=-1)
        return deltas * deltas.new_tensor(self.weights)

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """[..., 4] deltas and references that broadcast with them -> [..., 4] boxes, xyxy."""
        shifts, growths = (deltas / deltas.new_tensor(self.weights)).split(2, dim=-1)
        growths = growths.clamp(-MAX_LOG_RATIO if self.two_sided else None, MAX_LOG_RATIO)
        sizes = box_sizes(references)
        centers = box_centers(references) + shifts * sizes
        half = sizes * growths.exp() / 2
        return torch.cat((centers - half, centers + half), dim=-1)

    def decode_unit(self, deltas: Tensor) -> Tensor:
        """[..., 4] deltas -> [..., 4] boxes, decoded around the unit square.

        The aLRP and RS losses of RetinaNet and RPN compare predicted and target deltas like this.
        IoU and GIoU do not change when an axis is scaled or shifted, so their values are those of
        the real boxes, but for rounding and for targets beyond the limit of decoding.
        """
        return self.decode(deltas, deltas.new_tensor([-0.5, -0.5, 0.5, 0.5]))
