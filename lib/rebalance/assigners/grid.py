"""Cells around the centres of masks (SOLO, Wang et al., ECCV 2020, section 3.3.1; SOLOv2)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.assigners.assignment import NEGATIVE, Assignment
from rebalance.assigners.scene import (
    assign_nothing,
    check_level_sizes,
    check_scene,
    finish_assignment,
)
from rebalance.boxes import box_sizes
from rebalance.errors import InputError

SCALE_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
"""Pixels, square root of the area of the boxes that each level learns (SOLOv2)."""
CONTESTED = ("first", "last")


class GridAssignment(NamedTuple):
    """Which object each cell belongs to, and which masks it learns.

    Attributes:
        assignment: of each cell; its label is that of one object.
        cells: [Q] int64, cells that learn a mask, level after level, in a level object after
            object, of an object row after row.
        gt_idxs: [Q] int64, whose mask; with ``contested="last"`` a cell may stand here repeatedly.
    """

    assignment: Assignment
    cells: Tensor
    gt_idxs: Tensor


def assign_grid(
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    *,
    gt_centers: Tensor,
    level_sizes: Sequence[int],
    canvas: tuple[int, int],
    ignored_boxes: Tensor | None = None,
    image: int | str | None = None,
    validate: bool = True,
    scale_ranges: Sequence[tuple[float, float]] = SCALE_RANGES,
    positive_scale: float = 0.2,
    contested: str = "first",
    ignore_iof: float = 0.5,
) -> GridAssignment:
    """Positive are the cells that the shrunk box around a mask's centre touches, at most 3 x 3.

    An object may be learnt by several levels. One without a single pixel has no centre and is not
    learnt. All other cells are negative.

    Args:
        boxes: [N, 4] xyxy, pixels, cells of n x n grids over the canvas, level after level.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        gt_centers: [G, 2] x and y, centres of mass of the masks, whose pixels lie at their
            indices; nan: no mask.
        level_sizes: number of cells of each level, squares that add up to N.
        canvas: (height, width) that the grids divide.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        scale_ranges: least and largest square root of the area of a box, for each level, both
            included.
        positive_scale: width and height of the shrunk box over those of the box.
        contested: a cell that several objects claim belongs to the "first" of them, as in the
            published Rank & Sort SOLOv2; or its class is that of the "last" and it learns the masks
            of all, as in the published SOLOv2. The default is one object per cell: a cell gives
            one mask, and cannot learn two that differ.
        ignore_iof: share of its area inside an ignored region from which a negative is ignored.

    Raises:
        InputError: not one scale range per level; a level that is no square; an unknown
            ``contested``; a nan, infinite or inverted box (image and box are named).
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    check_scene(boxes, gt_boxes, gt_labels, image, validate)
    sizes = check_level_sizes(boxes, level_sizes)
    if len(scale_ranges) != len(sizes):
        raise InputError(
            f"scale_ranges must be one per level, got {len(scale_ranges)} for {len(sizes)} levels"
        )
    if contested not in CONTESTED:
        raise InputError(f"contested must be one of {CONTESTED}, got {contested!r}")
    nothing = gt_labels.new_zeros(0)
    if len(boxes) == 0 or len(gt_boxes) == 0:
        assignment = assign_nothing(boxes, gt_labels, ignored_boxes, ignore_iof)
        return GridAssignment(assignment, nothing, nothing)
    scale = box_sizes(gt_boxes).prod(dim=1).sqrt()
    half = box_sizes(gt_boxes) * (positive_scale / 2)
    claims, start = [], 0
    for size, (low, high) in zip(sizes, scale_ranges, strict=True):
        num = math.isqrt(size)
        if num * num != size:
            raise InputError(f"level_sizes of a grid must be squares, got {sizes}")
        fits = (scale >= low) & (scale <= high)
        claimed = _claimed_cells(gt_centers, half, num, canvas) & fits[:, None]
        gt, cell = claimed.nonzero(as_tuple=True)
        claims.append(torch.stack([cell + start, gt]))
        start += size
    cells, gts = torch.cat(claims, dim=1)
    first = torch.full((len(boxes),), len(gt_boxes), device=gts.device)
    first.scatter_reduce_(0, cells, gts, "amin")
    if contested == "first":
        owner = torch.where(first < len(gt_boxes), first, NEGATIVE)
        kept = owner[cells] == gts
        cells, gts = cells[kept], gts[kept]
    else:
        owner = torch.full_like(first, NEGATIVE).scatter_reduce_(0, cells, gts, "amax")
    overlaps = boxes.new_zeros(len(boxes))
    assignment = finish_assignment(owner, overlaps, boxes, gt_labels, ignored_boxes, ignore_iof)
    return GridAssignment(assignment, cells, gts)


def mask_centers(masks: Tensor) -> Tensor:
    """[G, h, w] masks, 0 outside -> [G, 2] x and y of their centres of mass; nan if empty."""
    rows, columns = masks.sum(dim=2, dtype=torch.float32), masks.sum(dim=1, dtype=torch.float32)
    areas = rows.sum(dim=1)
    y = rows @ torch.arange(masks.shape[1], dtype=torch.float32, device=masks.device)
    x = columns @ torch.arange(masks.shape[2], dtype=torch.float32, device=masks.device)
    return torch.stack([x, y], dim=1) / areas[:, None]


def _claimed_cells(centers: Tensor, half: Tensor, num: int, canvas: tuple[int, int]) -> Tensor:
    """[G, 2] centres and half extents (x, y) -> [G, n * n] bool."""
    limits = centers.new_tensor([canvas[1], canvas[0]])

    def cell_of(points: Tensor) -> Tensor:
        return torch.div(points / limits, 1 / num, rounding_mode="trunc")

    middle = cell_of(centers)
    low = cell_of(centers - half).maximum(middle - 1)
    high = cell_of(centers + half).minimum(middle + 1)
    cell = torch.arange(num, device=centers.device)
    x, y = ((cell >= low[:, axis, None]) & (cell <= high[:, axis, None]) for axis in (0, 1))
    return (y[:, :, None] & x[:, None, :]).flatten(1)
