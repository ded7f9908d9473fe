"""Each box to the ground truth it overlaps most, by two thresholds.

RetinaNet (Lin et al., ICCV 2017, section 4), Faster R-CNN (Ren et al., NeurIPS 2015, 3.1.2);
with ``overlap="ggiou"`` the GGIoU-guided assignment (ggiou, section 3.2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment
from rebalance.assigners.overlaps import Overlap, make_overlap
from rebalance.assigners.scene import (
    assign_nothing,
    check_scene,
    finish_assignment,
    pairwise_iof,
)
from rebalance.errors import InputError

IGNORING = ("negatives", "boxes")


def assign_max_iou(
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
    negative_iou: float = 0.4,
    negative_floor: float = 0.0,
    low_quality_iou: float | str | None = 0.0,
    low_quality_ties: bool = True,
    contested: str = "strongest",
    overlap: str | Mapping[str, Any] | Overlap = "iou",
    ignoring: str = "negatives",
    ignore_iof: float = 0.5,
) -> Assignment:
    """Positive from ``positive_iou``, negative below ``negative_iou``, ignored between the two.

    Afterwards every ground truth takes the boxes that overlap it most (of equal ones all, or one),
    even below ``positive_iou`` and even from another ground truth (``contested`` says which of
    several). A ground truth that no box overlaps stays without.

    Args:
        boxes: [N, 4] xyxy, pixels, anchors or proposals.
        gt_boxes: [G, 4] xyxy.
        gt_labels: [G] int64, 1 ... C.
        ignored_boxes: [K, 4] crowd regions; negatives inside one are ignored.
        level_sizes: not used by this assigner.
        costs: not used by this assigner.
        image_size: not used by this assigner.
        image: how messages name the image.
        validate: check the boxes, which waits for the device.
        positive_iou: least overlap of a positive.
        negative_iou: overlap below which a box is negative.
        negative_floor: overlap below which a box is ignored instead of negative (bbgen,
            section 6.2, takes negatives from 0.1 up).
        low_quality_iou: least overlap of the ground truths' own best boxes; "positive" is
            ``positive_iou``, whatever a stage's is; None switches them off.
        low_quality_ties: all boxes that tie for best go to their ground truth; False: the first of
            them (mmdetection's and torchvision's SSD, mmdetection's YOLACT).
        contested: who gets a box that is the best of several ground truths: the one it overlaps
            "strongest", or the "last" of them, as in mmdetection.
        overlap: a name in ``OVERLAPS``, ``{name: ..., options}``, or a pairwise function.
        ignoring: which boxes inside an ignored region are ignored: "negatives", as the region says
            where unannotated objects may be, not that the annotated ones are wrong; or all "boxes",
            before anything is assigned, and none in an image without ground truths (mmdetection,
            whose published settings switch ignored regions off).
        ignore_iof: share of its area inside an ignored region from which (with "boxes": above
            which) a box is ignored.

    Raises:
        InputError: a nan, infinite or inverted box (image and box are named); a wrong shape.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    if contested not in ("strongest", "last"):
        raise InputError(f"contested must be one of ('strongest', 'last'), got {contested!r}")
    if ignoring not in IGNORING:
        raise InputError(f"ignoring must be one of {IGNORING}, got {ignoring!r}")
    if low_quality_iou == "positive":
        low_quality_iou = positive_iou
    if isinstance(low_quality_iou, str):
        raise InputError(
            f"low_quality_iou must be a number, 'positive' or null, got {low_quality_iou!r}"
        )
    check_scene(boxes, gt_boxes, gt_labels, image, validate)
    regions = None if ignoring == "boxes" else ignored_boxes
    if len(boxes) == 0 or len(gt_boxes) == 0:
        return assign_nothing(boxes, gt_labels, regions, ignore_iof)
    overlaps = make_overlap(overlap)(boxes.float(), gt_boxes.float())
    if regions is None and ignored_boxes is not None and len(ignored_boxes):
        covered = pairwise_iof(boxes, ignored_boxes).amax(dim=1) > ignore_iof
        overlaps = torch.where(covered[:, None], -1.0, overlaps)
    best, best_gt = overlaps.max(dim=1)
    gt_idxs = torch.full_like(best_gt, IGNORED)
    gt_idxs.masked_fill_((best < negative_iou) & (best >= negative_floor), NEGATIVE)
    gt_idxs = torch.where(best >= positive_iou, best_gt, gt_idxs)
    if low_quality_iou is not None:
        best_of_gt = overlaps.amax(dim=0)
        wanted = (overlaps == best_of_gt) & (best_of_gt > 0) & (best_of_gt >= low_quality_iou)
        if not low_quality_ties:
            wanted &= wanted.cumsum(dim=0) == 1
        if contested == "strongest":
            order = overlaps
        else:
            order = torch.arange(1.0, len(gt_boxes) + 1, device=boxes.device)
        taker = torch.where(wanted, order, 0.0).argmax(dim=1)
        is_wanted = wanted.any(dim=1)
        gt_idxs = torch.where(is_wanted, taker, gt_idxs)
        best = torch.where(is_wanted, overlaps.gather(1, taker[:, None])[:, 0], best)
    return finish_assignment(gt_idxs, best, boxes, gt_labels, regions, ignore_iof)
