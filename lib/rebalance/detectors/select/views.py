"""Test-time augmentation: passes over flipped and resized images, and the way back.

Boxes of all passes, mapped back, are suppressed together, as mmdetection does for detectors of one
stage. For those of two it averages the boxes that the passes make of the same proposals; here each
pass has proposals of its own, so that all detectors are augmented alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rebalance.detectors.canvas import Size, canvas_of


class View(NamedTuple):
    """How a pass sees the images of a batch: resized first, then flipped.

    Attributes:
        originals: (height, width) of each image, pixels, without padding.
        sizes: of each in this pass.
        flip: left and right are exchanged.
    """

    originals: Sequence[Size]
    sizes: Sequence[Size]
    flip: bool = False

    def seen(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] images, zero outside each -> [B, 3, h, w] of this pass, likewise."""
        resizes = self.sizes != self.originals
        canvas = canvas_of(self.sizes) if resizes else images.shape[2:]
        result = images.new_zeros(*images.shape[:2], *canvas)
        for image, place, old, new in zip(images, result, self.originals, self.sizes, strict=True):
            inside = image[:, : old[0], : old[1]]
            if resizes:
                inside = functional.interpolate(
                    inside[None], new, mode="bilinear", antialias=True
                ).squeeze(0)
            place[:, : new[0], : new[1]] = self.unflipped(inside)
        return result

    def unflipped(self, maps: Tensor) -> Tensor:
        """[..., h, w] maps of a whole image or box in this pass, mirrored back; its own inverse."""
        return maps.flip(-1) if self.flip else maps

    def to_original(self, boxes: Tensor, image: Tensor) -> Tensor:
        """[K, 4] xyxy boxes of this pass -> the same in the images' pixels; ``image``: [K]."""
        return self._flipped(boxes, image) / self._factors(boxes)[image]

    def from_original(self, boxes: Tensor, image: Tensor) -> Tensor:
        """[K, 4] xyxy boxes in the images' pixels -> the same in this pass; ``image``: [K]."""
        return self._flipped(boxes * self._factors(boxes)[image], image)

    def _factors(self, boxes: Tensor) -> Tensor:
        """[B, 4] pixels of this pass per pixel of the image."""
        sides = (boxes.new_tensor(list(sizes)) for sizes in (self.sizes, self.originals))
        new, old = sides
        return (new / old).flip(1).repeat(1, 2)

    def _flipped(self, boxes: Tensor, image: Tensor) -> Tensor:
        if not self.flip:
            return boxes
        width = boxes.new_tensor([size[1] for size in self.sizes])[image]
        x1, y1, x2, y2 = boxes.unbind(1)
        return torch.stack((width - x2, y1, width - x1, y2), dim=1)


class Augmentation(NamedTuple):
    """Which passes there are.

    Attributes:
        flip: each size is seen flipped, too.
        scales: sizes of the images, as shares of those that they are given in.
    """

    flip: bool = False
    scales: Sequence[float] = (1.0,)

    def views(self, sizes: Sequence[Size]) -> list[View]:
        """Those of images of these sizes (height, width)."""
        return [
            View(sizes, [_scaled(size, scale) for size in sizes], flip)
            for scale in self.scales
            for flip in ((False, True) if self.flip else (False,))
        ]


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
