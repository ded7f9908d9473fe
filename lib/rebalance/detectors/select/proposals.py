"""Proposals of a region proposal network."""

import torch
from torch import Tensor

from rebalance.detectors.select.grouping import best_of_groups
from rebalance.detectors.select.suppression import box_rows_of_size, nms


def select_proposals(
    boxes: Tensor,
    scores: Tensor,
    levels: Tensor,
    *,
    iou: float = 0.7,
    post_nms: int = 1000,
    min_size: float | None = 0.0,
) -> Tensor:
    """Suppress within each level of each image, then keep the best of each image over all levels.

    The boxes are those of `top_of_levels`, decoded and clipped. The number of waits for the device
    does not depend on images and levels.

    Args:
        boxes: [B, K, 4] xyxy, pixels.
        scores: [B, K].
        levels: [K] int64.
        iou: a box is dropped if its IoU with a better one is higher.
        post_nms: proposals per image.
        min_size: sides are > 0 and at least this many pixels (mmdetection 2.28, torchvision);
            None: boxes of all sizes stay, empty ones too (older mmdetection, and so the
            published branches, with their min_bbox_size 0).

    Returns:
        [R] int64 rows into the B * K boxes laid end to end, sorted by image, within an image by
        falling score.
    """
    batch, num = scores.shape
    image = torch.arange(batch, device=boxes.device).repeat_interleave(num)
    groups = levels.repeat(batch) * batch + image
    boxes, scores = boxes.flatten(0, 1), scores.flatten()
    if min_size is None:
        rows = nms(boxes, scores, groups, iou=iou)
    else:
        large = box_rows_of_size(boxes, min_size)
        rows = large[nms(boxes[large], scores[large], groups[large], iou=iou)]
    return rows[best_of_groups(scores[rows], image[rows], post_nms)]
