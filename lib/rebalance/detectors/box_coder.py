"""Box deltas relative to a reference box (Girshick et al., R-CNN, 2014)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_LOG_RATIO = math.log(1000 / 16)  # keeps exp() finite: a side grows at most 62.5 fold


class BoxCoder(NamedTuple):
    """Encodes a box as (dx, dy, dw, dh): shifts in units of the reference's sides, log size ratios.

    Attributes:
        weights: factors of the four deltas, which bring their spreads to the same scale.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """[N, 4] boxes and [N, 4] references (xyxy, positive sides) -> [N, 4] deltas."""
        x, y, w, h = _centre_form(boxes)
        rx, ry, rw, rh = _centre_form(references)
        deltas = torch.stack(((x - rx) / rw, (y - ry) / rh, (w / rw).log(), (h / rh).log()), dim=-1)
        return deltas * deltas.new_tensor(self.weights)

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """[..., 4] deltas and references that broadcast with them -> [..., 4] boxes, xyxy."""
        rx, ry, rw, rh = _centre_form(references)
        dx, dy, dw, dh = (deltas / deltas.new_tensor(self.weights)).unbind(-1)
        x, y = rx + dx * rw, ry + dy * rh
        half_w = 0.5 * rw * dw.clamp(max=MAX_LOG_RATIO).exp()
        half_h = 0.5 * rh * dh.clamp(max=MAX_LOG_RATIO).exp()
        return torch.stack((x - half_w, y - half_h, x + half_w, y + half_h), dim=-1)


def _centre_form(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
