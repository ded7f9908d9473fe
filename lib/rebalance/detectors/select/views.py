"""Test-time augmentation: boxes and maps of flipped and resized passes, back on the image.

Passes are merged by laying their boxes, mapped back, end to end, and suppressing them together.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.errors import InputError

# Which axes a flip mirrors: (x, y).
FLIPS = {
    "none": (False, False),
    "horizontal": (True, False),
    "vertical": (False, True),
    "diagonal": (True, True),
}


class View(NamedTuple):
    """How a pass sees the image: resized first, then flipped.

    Attributes:
        size: (height, width) of the image in this pass, pixels, without padding.
        scale: (x, y) factors from the original image to this pass.
        flip: one of `FLIPS`.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    flip: str = "none"

    def to_original(self, boxes: Tensor) -> Tensor:
        """[..., 4] xyxy boxes of this pass -> the same boxes in the original image."""
        return self._flipped(boxes) / boxes.new_tensor(self.scale * 2)

    def from_original(self, boxes: Tensor) -> Tensor:
        """[..., 4] xyxy boxes of the original image -> the same boxes in this pass."""
        return self._flipped(boxes * boxes.new_tensor(self.scale * 2))

    def unflipped_maps(self, maps: Tensor) -> Tensor:
        """[..., h, w] masks or maps of exactly the image's extent in this pass, mirrored back."""
        flip_x, flip_y = self._axes()
        return maps.flip([axis for axis, flips in ((-1, flip_x), (-2, flip_y)) if flips])

    def _axes(self) -> tuple[bool, bool]:
        if self.flip not in FLIPS:
            raise InputError(f"flip of a view must be one of {sorted(FLIPS)}, got {self.flip!r}")
        return FLIPS[self.flip]

    def _flipped(self, boxes: Tensor) -> Tensor:
        (flip_x, flip_y), (height, width) = self._axes(), self.size
        x1, y1, x2, y2 = boxes.unbind(-1)
        if flip_x:
            x1, x2 = width - x2, width - x1
        if flip_y:
            y1, y2 = height - y2, height - y1
        return torch.stack((x1, y1, x2, y2), dim=-1)
