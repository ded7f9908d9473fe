"""Masks of a COCO file for evaluation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from rebalance.errors import InputError
from rebalance.metrics.records import Record, column
from rebalance.rle import Rle, SegmentationError, compressed_masks


def read_masks(name: str, records: Sequence[Record], sizes: NDArray[np.int64]) -> list[Rle]:
    """The records' ``segmentation`` (polygons, or RLE in either form) as compressed RLE.

    Args:
        name: what to call the records in messages.
        records: N annotations or results.
        sizes: int64 [N, 2] height and width of each record's image.

    Raises:
        InputError: no segmentation, or not one of the image's size.
    """
    try:
        return compressed_masks(column(name, records, "segmentation"), sizes)
    except SegmentationError as error:
        where = f"{name}[{error.index}].{error.field}"
        raise InputError(f"{where}: got {error.got}, {error.allowed}") from error


def mask_areas(masks: list[Rle]) -> NDArray[np.float64]:
    """float64 [N], pixels."""
    # One by one: pycocotools 2.0.11 with numpy 2 overflows on lists of more than 255 masks.
    return np.fromiter((coco_mask.area(mask) for mask in masks), np.float64, len(masks))


def mask_boxes(masks: list[Rle]) -> NDArray[np.float64]:
    """float64 [N, 4] COCO ``x, y, width, height`` around each mask."""
    return np.asarray(coco_mask.toBbox(masks) if masks else [], dtype=np.float64).reshape(-1, 4)
