"""Overlap of predicted masks with their ground truths, as Mask Scoring R-CNN learns it."""

import torch
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.detectors.types import Truths

BINARISED = {"probability": 0.0, "logit": 0.5}
"""Logit above which a pixel is one of the object: probability above one half, or logit above it."""


def mask_iou_targets(
    predicted: Tensor, mask_targets: Tensor, boxes: Tensor, gt: Tensor, truths: Truths
) -> Tensor:
    """IoU of each predicted mask with the whole mask of its ground truth, also outside the RoI.

    Huang et al., "Mask Scoring R-CNN", CVPR 2019, section 3.2. Inside the RoI both masks are
    counted in the head's cells. What lies outside is known as a share of the ground truth's pixels.

    Args:
        predicted: [P, h, w] bool.
        mask_targets: [P, h, w] in {0, 1}, the ground truth's mask inside the RoI.
        boxes: [P, 4] the RoIs.
        gt: [P] int64, their ground truths.
        truths: of the batch, with masks.

    Returns:
        [P] in [0, 1].
    """
    inter = (predicted * mask_targets).sum(dim=(1, 2))
    inside = mask_targets.sum(dim=(1, 2))
    whole = inside / (_shares_inside(boxes, gt, truths) + 1e-7)
    return ratio(inter, predicted.sum(dim=(1, 2)) + whole - inter)


def _shares_inside(boxes: Tensor, gt: Tensor, truths: Truths) -> Tensor:
    """[P] share of each ground truth's pixels that lie in its box, cut to whole pixels."""
    assert truths.masks is not None
    height, width = truths.masks.shape[1:]
    # Sums over all pixels above and left of a corner: a box is four of them.
    sums = torch.zeros(
        (len(truths.masks), height + 1, width + 1), dtype=torch.int32, device=boxes.device
    )
    sums[:, 1:, 1:] = truths.masks.cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    x1, x2 = _whole_pixels(boxes[:, 0], boxes[:, 2], width)
    y1, y2 = _whole_pixels(boxes[:, 1], boxes[:, 3], height)
    inside = sums[gt, y2, x2] - sums[gt, y1, x2] - sums[gt, y2, x1] + sums[gt, y1, x1]
    return inside / (sums[gt, -1, -1] + 1e-7)


def _whole_pixels(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First pixel and the one after the last, at least one of them where there is any."""
    first, end = (side.clamp(0, size).long() for side in (low, high))
    return first, torch.maximum(end, first + 1).clamp(max=size)
