"""SSD's matching of default boxes (Liu et al., ECCV 2016, section 2.2)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rebalance.assigners.assignment import NEGATIVE, Assignment
from rebalance.assigners.overlaps import pairwise_iou
from rebalance.assigners.scene import assign_nothing, check_scene, finish_assignment


def assign_ssd(
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
    positive_iou: float = 0.5,
    ignore_iof: float = 0.5,
) -> Assignment:
    """Each ground truth takes one box of its own, then every other box its best ground truth.

    The first step pairs the largest overlap of all, then the largest among the boxes and ground
    truths that are left, and so on: every ground truth that overlaps a free box gets one. The
    second makes each remaining box positive that overlaps a ground truth by ``positive_iou`` or
    more. There is no band of ignored overlaps.

    Args:
        boxes: [N, 4] xyxy, pixels, default boxes.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        level_sizes: not used by this assigner.
        costs: not used by this assigner.
        image_size: not used by this assigner.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        positive_iou: least IoU of a positive that is no ground truth's own box.
        ignore_iof: share of its area inside an ignored region from which a negative is ignored.

    Raises:
        InputError: a nan, infinite or inverted box (image and box are named); a wrong shape.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    check_scene(boxes, gt_boxes, gt_labels, image, validate)
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return assign_nothing(boxes, gt_labels, ignored_boxes, ignore_iof)
    overlaps = pairwise_iou(boxes.float(), gt_boxes.float())
    best, best_gt = overlaps.max(dim=1)
    gt_idxs = torch.where(best >= positive_iou, best_gt, NEGATIVE)
    own = _pair_greedily(overlaps)
    gt_idxs = torch.where(own >= 0, own, gt_idxs)
    taken = overlaps.gather(1, gt_idxs.clamp(min=0)[:, None])[:, 0]
    best = torch.where(gt_idxs >= 0, taken, best)
    return finish_assignment(gt_idxs, best, boxes, gt_labels, ignored_boxes, ignore_iof)


def _pair_greedily(overlaps: Tensor) -> Tensor:
    """[N] the ground truth that each box is paired with, or ``NEGATIVE``.

    Two that are each other's best among all that are free would be paired by the greedy order, so
    all such pairs are made at once; few rounds are left. Each round makes at least the pair of
    largest overlap. Equal overlaps go to the ground truth, then to the box, of lower index.
    """
    num_boxes, num_gts = overlaps.shape
    owner = torch.full((num_boxes,), NEGATIVE, dtype=torch.int64, device=overlaps.device)
    gts = torch.arange(num_gts, device=overlaps.device)
    free = overlaps.clone()
    while bool((free > 0).any()):
        _, box_of_gt = _first_max(free, dim=0)
        strongest, gt_of_box = _first_max(free[box_of_gt], dim=1)
        mutual = (gt_of_box == gts) & (strongest > 0)
        owner.scatter_reduce_(
            0, box_of_gt, torch.where(mutual, gts, NEGATIVE), reduce="amax", include_self=True
        )
        free[owner >= 0] = 0
        free[:, mutual] = 0
    return owner


def _first_max(values: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Maximum and the lowest index that has it, which ``max`` does not promise on every device."""
    best = values.amax(dim=dim, keepdim=True)
    places = torch.arange(values.shape[dim], device=values.device)
    places = places if dim == 1 else places[:, None]
    first = torch.where(values == best, places, values.shape[dim]).amin(dim=dim)
    return best.squeeze(dim), first
