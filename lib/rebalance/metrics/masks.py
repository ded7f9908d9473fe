"""Run-length masks of a COCO file: checked, and compressed as pycocotools reads them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from rebalance.errors import InputError
from rebalance.metrics.records import Record, column, refuse

Rle = dict[str, Any]
MASKS_AT_A_TIME = 20_000


def read_masks(name: str, records: Sequence[Record], sizes: NDArray[np.int64]) -> list[Rle]:
    """The records' ``segmentation`` (polygons, or RLE in either form) as compressed RLE.

    Args:
        name: what to call the records in messages.
        records: N annotations or results.
        sizes: int64 [N, 2] height and width of each record's image.

    Raises:
        InputError: no segmentation, or not one of the image's size.
    """
    masks = [
        _compressed(name, index, segmentation, int(height), int(width))
        for index, (segmentation, (height, width)) in enumerate(
            zip(column(name, records, "segmentation"), sizes, strict=True)
        )
    ]
    for first in range(0, len(masks), MASKS_AT_A_TIME):
        _check_run_lengths(name, first, masks[first : first + MASKS_AT_A_TIME])
    return masks


def mask_areas(masks: list[Rle]) -> NDArray[np.float64]:
    """float64 [N], pixels."""
    # One by one: pycocotools 2.0.11 with numpy 2 overflows on lists of more than 255 masks.
    return np.fromiter((coco_mask.area(mask) for mask in masks), np.float64, len(masks))


def mask_boxes(masks: list[Rle]) -> NDArray[np.float64]:
    """float64 [N, 4] COCO ``x, y, width, height`` around each mask."""
    return np.asarray(coco_mask.toBbox(masks) if masks else [], dtype=np.float64).reshape(-1, 4)


def _compressed(name: str, index: int, segmentation: Any, height: int, width: int) -> Rle:
    if isinstance(segmentation, dict):
        return _compressed_rle(name, index, segmentation, height, width)
    if not _are_polygons(segmentation):
        allowed = "an RLE {size, counts} or polygons [[x, y, x, y, x, y, ...], ...]"
        raise refuse(name, index, "segmentation", segmentation, allowed)
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))


def _compressed_rle(name: str, index: int, rle: Record, height: int, width: int) -> Rle:
    if rle.get("size") != [height, width]:
        allowed = f"[{height}, {width}], the height and width of its image"
        raise refuse(name, index, "segmentation.size", rle.get("size"), allowed)
    counts = rle.get("counts")
    if isinstance(counts, str) and counts.isascii():
        return {"size": [height, width], "counts": counts.encode()}
    if isinstance(counts, bytes):
        return {"size": [height, width], "counts": counts}
    if not _are_runs(counts) or sum(counts) != height * width:  # type: ignore[arg-type]
        allowed = f"a compressed string or run lengths that sum to {height} x {width}"
        raise refuse(name, index, "segmentation.counts", counts, allowed)
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _are_polygons(segmentation: Any) -> bool:
    return (
        isinstance(segmentation, list)
        and len(segmentation) > 0
        and all(
            isinstance(polygon, list)
            and len(polygon) >= 6
            and len(polygon) % 2 == 0
            and all(isinstance(x, int | float) and np.isfinite(x) for x in polygon)
            for polygon in segmentation
        )
    )


def _are_runs(counts: Any) -> bool:
    return isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts)


def _check_run_lengths(name: str, first: int, masks: list[Rle]) -> None:
    """Refuse runs that do not add up to the mask: decoding them would overrun its buffer."""
    totals, valid = _total_run_lengths([mask["counts"] for mask in masks])
    pixels = np.array([mask["size"][0] * mask["size"][1] for mask in masks])
    bad = ~valid | (totals != pixels)
    if bad.any():
        index = int(bad.argmax())
        height, width = masks[index]["size"]
        got = f"runs that sum to {int(totals[index])}" if valid[index] else "no valid runs"
        raise InputError(
            f"{name}[{first + index}].segmentation.counts: got {got}, "
            f"must sum to {height} x {width} = {height * width}"
        )


def _total_run_lengths(
    strings: list[bytes],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sum of the runs of each compressed string, and whether the string is well formed.

    COCO writes a number as characters of five bits, low bits first, the sixth bit set on all but
    the last, and from the fourth run on the difference to the run before the last.
    """
    lengths = np.array([len(string) for string in strings])
    characters = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(strings)), lengths)
    valid = np.bincount(owner, (characters < 0) | (characters > 63), len(strings)) == 0
    last = (characters & 32) == 0
    string_ends = np.cumsum(lengths)[lengths > 0] - 1
    valid[lengths == 0] = False
    valid[np.flatnonzero(lengths > 0)[~last[string_ends]]] = False
    last[string_ends] = True

    ends = np.flatnonzero(last)
    starts = np.r_[0, ends[:-1] + 1]
    if not len(ends):
        return np.zeros(len(strings), np.int64), valid
    shift = 5 * (np.arange(len(characters)) - np.repeat(starts, ends - starts + 1))
    valid &= np.bincount(owner, shift > 55, len(strings)) == 0
    shift = np.minimum(shift, 55)
    numbers = np.add.reduceat((characters & 31) << shift, starts)
    numbers -= np.where(characters[ends] & 16, 1 << (shift[ends] + 5), 0)

    mask = owner[ends]
    within = np.arange(len(ends)) - np.searchsorted(mask, mask)
    chain = np.where(within == 0, 0, 1 + within % 2)  # each run adds to the last one of its chain
    order = np.lexsort((within, chain, mask))
    key = (3 * mask + chain)[order]
    chain_starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    sums = np.cumsum(numbers[order])
    before = np.repeat(
        (sums - numbers[order])[chain_starts], np.diff(np.r_[chain_starts, len(key)])
    )
    runs = sums - before
    valid &= np.bincount(mask[order], runs < 0, len(strings)) == 0
    totals = np.bincount(mask[order], runs, len(strings)).astype(np.int64)
    return totals, valid
