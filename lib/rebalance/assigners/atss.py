"""Adaptive training sample selection (Zhang et al., CVPR 2020, Algorithm 1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rebalance.assigners.assignment import NEGATIVE, Assignment
from rebalance.assigners.overlaps import pairwise_iou
from rebalance.assigners.scene import (
    assign_nothing,
    check_level_sizes,
    check_scene,
    finish_assignment,
)
from rebalance.boxes import box_centers


def assign_atss(
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
    top_k: int = 9,
    ignore_iof: float = 0.5,
) -> Assignment:
    """A threshold for each ground truth: mean + standard deviation of its candidates' IoU.

    The candidates of a ground truth are, on each pyramid level, the ``top_k`` boxes whose centres
    are closest to its own. Those that reach the threshold and have their centre strictly inside it
    are positive; a box that is positive for several goes to the one of largest IoU. All other boxes
    are negative. A ground truth without a candidate's centre inside stays without.

    Args:
        boxes: [N, 4] xyxy, pixels, anchors, level after level.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        level_sizes: number of boxes of each level, adding up to N; None: one level.
        costs: not used by this assigner.
        image_size: not used by this assigner.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        top_k: candidates per level.
        ignore_iof: share of its area inside an ignored region from which a negative is ignored.

    Raises:
        InputError: a nan, infinite or inverted box (image and box are named); a wrong shape.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    check_scene(boxes, gt_boxes, gt_labels, image, validate)
    sizes = check_level_sizes(boxes, level_sizes)
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return assign_nothing(boxes, gt_labels, ignored_boxes, ignore_iof)
    boxes, gt_boxes = boxes.float(), gt_boxes.float()
    centers, gt_centers = box_centers(boxes), box_centers(gt_boxes)
    candidates = _closest(centers, gt_centers, sizes, top_k)
    overlaps = pairwise_iou(boxes, gt_boxes)
    ious = overlaps.gather(0, candidates)
    # A single candidate has no spread; torch's unbiased estimate of it is 0 / 0.
    spread = ious.std(dim=0) if len(ious) > 1 else torch.zeros_like(ious[0])
    at = centers[candidates]
    inside = ((at > gt_boxes[:, :2]) & (at < gt_boxes[:, 2:])).all(dim=2)
    positive = inside & (ious >= ious.mean(dim=0) + spread)

    # [N, G], -1 where not positive: the row's maximum is the ground truth of largest IoU.
    scores = torch.full_like(overlaps, -1.0)
    scores.scatter_(0, candidates, torch.where(positive, ious, -1.0))
    best, best_gt = scores.max(dim=1)
    gt_idxs = torch.where(best >= 0, best_gt, NEGATIVE)
    best = torch.where(best >= 0, best, overlaps.amax(dim=1))
    return finish_assignment(gt_idxs, best, boxes, gt_labels, ignored_boxes, ignore_iof)


def _closest(centers: Tensor, gt_centers: Tensor, sizes: list[int], top_k: int) -> Tensor:
    """[K, G] positions of the ``top_k`` centres of each level closest to each ground truth's."""
    found, start = [], 0
    for size, level in zip(sizes, centers.split(sizes), strict=True):
        # The squared distance: same order, and no rounding of the root to make ties.
        distances = (level[:, None] - gt_centers).square().sum(dim=2)
        nearest = distances.topk(min(top_k, size), dim=0, largest=False).indices
        found.append(nearest + start)
        start += size
    return torch.cat(found)
