"""Centre regions per pyramid level (FoveaBox, Kong et al., TIP 2020, section 3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment
from rebalance.assigners.overlaps import pairwise_iou
from rebalance.assigners.scene import (
    assign_nothing,
    check_level_sizes,
    check_scene,
    finish_assignment,
)
from rebalance.boxes import box_centers, box_sizes
from rebalance.errors import InputError

SCALE_RANGES = ((1, 64), (32, 128), (64, 256), (128, 512), (256, 2048))
"""Pixels, square root of the area of the objects that the levels P3 ... P7 learn."""


def assign_foveabox(
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    *,
    ignored_boxes: Tensor | None = None,
    level_sizes: Sequence[int] | None = None,
    costs: Callable[[Assignment], Tensor] | None = None,
    image_size: tuple[int, int] | None = None,
    image: int | str | None = None,
    validate: bool = True,
    scale_ranges: Sequence[tuple[float, float]] = SCALE_RANGES,
    positive_scale: float = 0.4,
    negative_scale: float | None = None,
    outermost: bool = False,
    ignore_iof: float = 0.5,
) -> Assignment:
    """Positive where a box's centre lies in the shrunk ground truth, on levels of fitting scale.

    A point inside several goes to the ground truth of smallest area, the last of equally small
    ones. A ground truth may be learnt by several levels or, when its fovea falls between the
    points, by none.

    Args:
        boxes: [N, 4] xyxy, pixels; only their centres count, level after level.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        level_sizes: number of boxes of each level, adding up to N; None: one level.
        costs: not used by this assigner.
        image_size: not used by this assigner.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        scale_ranges: least and largest square root of the area, for each level, both included.
        positive_scale: width and height of the fovea over those of the ground truth.
        negative_scale: outside the ground truth scaled by this a point is negative, between the two
            it is ignored; None is ``positive_scale``, so that nothing is ignored.
        outermost: a fovea between the outermost points of a level and the border takes these
            points (mmdetection, which cuts ranges of points to the map). Not by default: they lie
            outside of the fovea, maybe of the object, where distances to its sides are not defined.
        ignore_iof: share of its area inside an ignored region from which a negative is ignored.

    Raises:
        InputError: not one scale range per level; a nan, infinite or inverted box (image and box
            are named); a wrong shape.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    check_scene(boxes, gt_boxes, gt_labels, image, validate)
    sizes = check_level_sizes(boxes, level_sizes)
    if len(scale_ranges) != len(sizes):
        raise InputError(
            f"scale_ranges must be one per level, got {len(scale_ranges)} for {len(sizes)} levels"
        )
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return assign_nothing(boxes, gt_labels, ignored_boxes, ignore_iof)
    boxes, gt_boxes = boxes.float(), gt_boxes.float()
    area = box_sizes(gt_boxes).prod(dim=1)
    fits = torch.cat(
        [
            ((area >= low**2) & (area <= high**2)).expand(size, -1)
            for size, (low, high) in zip(sizes, scale_ranges, strict=True)
        ]
    )
    # Distance from the centre of the ground truth in halves of its width and height: 1 is its edge.
    points, gt_points, limits = box_centers(boxes), box_centers(gt_boxes), box_sizes(gt_boxes)
    distance = (points[:, None] - gt_points).abs() * 2
    inside = distance <= positive_scale * limits
    if outermost:
        half = positive_scale / 2 * limits
        inside |= _at_the_border(points, gt_points - half, gt_points + half, sizes)
    positive = fits & inside.all(dim=2)
    smallest = torch.where(positive, area, torch.inf).amin(dim=1, keepdim=True)
    places = torch.arange(len(area), device=area.device)
    gt_idxs = torch.where(positive & (area == smallest), places, NEGATIVE).amax(dim=1)
    if negative_scale is not None:
        near = fits & (distance <= negative_scale * limits).all(dim=2)
        gt_idxs = torch.where((gt_idxs < 0) & near.any(dim=1), IGNORED, gt_idxs)
    overlaps = pairwise_iou(boxes, gt_boxes)
    own = overlaps.gather(1, gt_idxs.clamp(min=0)[:, None])[:, 0]
    best = torch.where(gt_idxs >= 0, own, overlaps.amax(dim=1))
    return finish_assignment(gt_idxs, best, boxes, gt_labels, ignored_boxes, ignore_iof)


def _at_the_border(points: Tensor, low: Tensor, high: Tensor, sizes: list[int]) -> Tensor:
    """[N, G, 2] bool: the level's last point before, or first behind, an interval [G, 2]."""
    found = []
    for level in points.split(sizes):
        if len(level) == 0:
            found.append(level.new_zeros((0, *low.shape), dtype=torch.bool))
            continue
        first, last = torch.aminmax(level, dim=0)
        at = level[:, None]
        found.append(((at == last) & (low > last)) | ((at == first) & (high < first)))
    return torch.cat(found)
