"""From predicted mask probabilities to masks of an image, and to the run-length masks of a file."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional

from rebalance.detectors.canvas import Size

PIXELS_AT_A_TIME = 1 << 25
"""Of all masks of an image together, as float32: 128 MiB."""


def paste_masks(
    probabilities: Tensor, boxes: Tensor, image_size: Size, threshold: float = 0.5
) -> Tensor:
    """Masks predicted inside boxes, put to their places in the image (He et al., Mask R-CNN, 3.1).

    A pixel's probability is interpolated bilinearly at its centre, from cell centres within the box
    and zeros around it, and the pixel belongs to the object from ``threshold`` on. This is what
    mmdetection 2.28 does, but for boxes without width or height: there the mask's middle column or
    row is spread over the pixels around them, here they have no pixels.

    Args:
        probabilities: [D, h, w] in [0, 1].
        boxes: [D, 4] xyxy in pixels of the image, which they may exceed.
        image_size: (height, width).
        threshold: in [0, 1].

    Returns:
        [D, height, width] bool.
    """
    masks = [part.mT for part in _pasted(probabilities, boxes, image_size, threshold)]
    return torch.cat(masks) if masks else probabilities.new_zeros(0, *image_size, dtype=torch.bool)


def resize_masks(
    probabilities: Tensor,
    image_size: Size,
    threshold: float = 0.5,
    on_canvas: tuple[Size, Size] | None = None,
) -> Tensor:
    """Masks predicted for the whole image, in its size: bilinear, then ``>= threshold``.

    Args:
        probabilities: [D, h, w] in [0, 1], from border to border of the image or canvas.
        image_size: (height, width) that the masks get.
        threshold: in [0, 1].
        on_canvas: (height, width) of the network's canvas, and of the image in its upper left
            corner. Where they differ, the masks are first enlarged to the canvas and cut (SOLOv2).

    Returns:
        [D, height, width] bool.
    """
    masks = list(resized_masks(probabilities, image_size, threshold, on_canvas))
    return torch.cat(masks) if masks else probabilities.new_zeros(0, *image_size, dtype=torch.bool)


def pasted_rles(
    probabilities: Tensor, boxes: Tensor, image_size: Size, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """``encode_masks`` of ``paste_masks``, some masks at a time, so that memory stays bounded."""
    parts = _pasted(probabilities, boxes, image_size, threshold)
    return [rle for part in parts for rle in encode_masks(part.mT)]


def resized_rles(
    probabilities: Tensor,
    image_size: Size,
    threshold: float = 0.5,
    on_canvas: tuple[Size, Size] | None = None,
) -> list[dict[str, Any]]:
    """``encode_masks`` of ``resize_masks``, some masks at a time, so that memory stays bounded."""
    parts = resized_masks(probabilities, image_size, threshold, on_canvas)
    return [rle for part in parts for rle in encode_masks(part)]


def resized_masks(
    probabilities: Tensor,
    image_size: Size,
    threshold: float = 0.5,
    on_canvas: tuple[Size, Size] | None = None,
) -> Iterator[Tensor]:
    """``resize_masks``, some masks at a time."""
    canvas, size = on_canvas or (image_size, image_size)
    for rows in _some_at_a_time(len(probabilities), max(image_size, canvas, key=math.prod)):
        part = probabilities[rows, None].float()
        if canvas != size:
            part = functional.interpolate(part, canvas, mode="bilinear")
            part = part[..., : size[0], : size[1]]
        sized = functional.interpolate(part, image_size, mode="bilinear")
        yield sized[:, 0] >= threshold


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """[D, H, W] bool as D compressed run-length masks of COCO, ``counts`` as text for JSON."""
    # Run lengths go down the columns: transposed, memory is in the order that pycocotools wants.
    columns = masks.mT.contiguous().to(torch.uint8).cpu().numpy()
    rles = [coco_mask.encode(np.asfortranarray(mask.T)) for mask in columns]
    return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in rles]


def _pasted(
    probabilities: Tensor, boxes: Tensor, image_size: Size, threshold: float
) -> Iterator[Tensor]:
    """[d, width, height] bool, some masks at a time."""
    boxes = boxes.float()
    for rows in _some_at_a_time(len(boxes), image_size):
        part = probabilities[rows].float()
        x = _interpolation(boxes[rows, 0], boxes[rows, 2], part.shape[2], image_size[1])
        y = _interpolation(boxes[rows, 1], boxes[rows, 3], part.shape[1], image_size[0])
        yield x @ part.mT @ y.mT >= threshold


def _interpolation(low: Tensor, high: Tensor, num_cells: int, num_pixels: int) -> Tensor:
    """Weights of the cells between ``low`` and ``high`` in each pixel: [D, pixels, cells].

    Bilinear interpolation on a grid along the axes is one such product per axis.
    """
    centers = torch.arange(num_pixels, device=low.device) + 0.5
    position = (centers - low[:, None]) / (high - low)[:, None] * num_cells - 0.5
    cells = torch.arange(num_cells, device=low.device)
    weights = (1 - (position[..., None] - cells).abs()).clamp(min=0)
    return weights.where((high > low)[:, None, None], 0)


def _some_at_a_time(count: int, image_size: Size) -> Iterator[slice]:
    step = max(1, PIXELS_AT_A_TIME // (image_size[0] * image_size[1]))
    for first in range(0, count, step):
        yield slice(first, first + step)
