"""COCO's segmentations: checked, and compressed to the run-length masks that pycocotools reads.

A segmentation is a list of polygons or a run-length encoding (RLE) in either of two forms, see
https://cocodataset.org/#format-data. pycocotools takes what it is given: it reads a polygon of two
points as a box, and runs that do not fill the mask overrun its buffer.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Rle = dict[str, Any]
MASKS_AT_A_TIME = 20_000
MAX_COORDINATE = 1e6
"""Pixels; pycocotools walks along every edge, whatever part of it lies in the image."""

MAX_OUTLINE = 10_000_000
"""Pixels along all edges of an object's polygons: as pycocotools walks along them, 0.8 GB."""

MAX_PIXELS = 2**31 - 1
"""Of an image; pycocotools counts them in 32 bits."""


class SegmentationError(ValueError):
    """What is wrong with one segmentation; who reads the file says which file and record.

    Attributes:
        index: position of the segmentation among those given.
        field: "segmentation", "segmentation.size" or "segmentation.counts".
        got: what it is.
        allowed: what it must be, beginning with "must".
    """

    def __init__(self, index: int, field: str, got: object, allowed: str) -> None:
        self.index, self.field, self.got, self.allowed = index, field, got, allowed
        super().__init__(f"{field} {allowed}, got {got}")


def compressed_masks(
    segmentations: Sequence[Any], sizes: Iterable[tuple[int, int] | NDArray[np.int64]]
) -> list[Rle]:
    """Polygons and RLE of either form as compressed RLE, ``{"size": [h, w], "counts": bytes}``.

    Args:
        segmentations: N.
        sizes: (height, width) of each one's image.

    Raises:
        SegmentationError: the first that is none, or not of its image's size.
    """
    masks = [
        _compressed(index, segmentation, int(height), int(width))
        for index, (segmentation, (height, width)) in enumerate(
            zip(segmentations, sizes, strict=True)
        )
    ]
    for first in range(0, len(masks), MASKS_AT_A_TIME):
        _check_run_lengths(first, masks[first : first + MASKS_AT_A_TIME])
    return masks


def _compressed(index: int, segmentation: Any, height: int, width: int) -> Rle:
    if isinstance(segmentation, dict):
        return _compressed_rle(index, segmentation, height, width)
    if not _are_polygons(segmentation):
        allowed = (
            "must be an RLE {size, counts} or polygons of three points and more, "
            "[[x, y, x, y, x, y, ...], ...]"
        )
        raise SegmentationError(index, "segmentation", _shortened(segmentation), allowed)
    # No outline within the image passes a pixel more often than from each of its four sides.
    longest = min(4 * (height + 2) * (width + 2), MAX_OUTLINE)
    if sum(map(_outline, segmentation)) > longest:
        allowed = f"must have edges of at most {longest} pixels in all in {height} x {width}"
        raise SegmentationError(index, "segmentation", _shortened(segmentation), allowed)
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))


def _compressed_rle(index: int, rle: Rle, height: int, width: int) -> Rle:
    if rle.get("size") != [height, width]:
        allowed = f"must be [{height}, {width}], the height and width of its image"
        raise SegmentationError(index, "segmentation.size", _shortened(rle.get("size")), allowed)
    counts = rle.get("counts")
    if isinstance(counts, str) and counts.isascii():
        return {"size": [height, width], "counts": counts.encode()}
    if isinstance(counts, bytes):
        return {"size": [height, width], "counts": counts}
    if not _are_runs(counts) or sum(counts) != height * width:  # type: ignore[arg-type]
        allowed = f"must be a compressed string or run lengths that sum to {height} x {width}"
        raise SegmentationError(index, "segmentation.counts", _shortened(counts), allowed)
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _are_polygons(segmentation: Any) -> bool:
    return (
        isinstance(segmentation, list)
        and len(segmentation) > 0
        and all(map(_is_polygon, segmentation))
    )


def _is_polygon(polygon: Any) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    try:
        numbers = np.asarray(polygon)
    except (ValueError, OverflowError):  # lists of unequal length, an enormous integer
        return False
    # nan fails the comparison
    return (
        numbers.ndim == 1
        and numbers.dtype.kind in "iuf"
        and bool((np.abs(numbers) <= MAX_COORDINATE).all())
    )


def _outline(polygon: list[float]) -> float:
    """Pixels that pycocotools walks along the edges of a polygon."""
    points = np.array(polygon, dtype=float).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _are_runs(counts: Any) -> bool:
    return isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts)


def _check_run_lengths(first: int, masks: list[Rle]) -> None:
    """Refuse runs that do not add up to the mask: decoding them would overrun its buffer."""
    totals, valid = _total_run_lengths([mask["counts"] for mask in masks])
    pixels = np.array([mask["size"][0] * mask["size"][1] for mask in masks])
    bad = ~valid | (totals != pixels)
    if bad.any():
        index = int(bad.argmax())
        height, width = masks[index]["size"]
        got = f"runs that sum to {int(totals[index])}" if valid[index] else "no valid runs"
        allowed = f"must sum to {height} x {width} = {height * width}"
        raise SegmentationError(first + index, "segmentation.counts", got, allowed)


def _shortened(value: object, length: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."


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
