"""From scored boxes to detections: threshold, non-maximum suppression, the best few."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from rebalance.detectors.flow import Detected
from rebalance.detectors.types import Candidates, Size


def clip_to_images(boxes: Tensor, image: Tensor, sizes: Sequence[Size]) -> Tensor:
    """[R, 4] boxes, each cut to its image ([R] int64) of (height, width) pixels."""
    limits = torch.tensor([[w, h, w, h] for h, w in sizes], dtype=boxes.dtype)
    limits = limits.to(boxes.device, non_blocking=True)[image]
    return boxes.clamp(min=0).minimum(limits)


def best_of_levels(
    scores: Tensor, candidates: Candidates, score_threshold: float, pre_nms: int | None
) -> tuple[Tensor, Tensor]:
    """The ``pre_nms`` best (candidate, class) pairs of each level and image above the threshold.

    Args:
        scores: [N, C].
        candidates: with levels, if ``pre_nms`` is given.
        score_threshold: scores must exceed it.
        pre_nms: most pairs of a level and image; None: all.

    Returns:
        [K] rows and [K] columns of ``scores``.
    """
    if pre_nms is None:
        rows, columns = (scores > score_threshold).nonzero(as_tuple=True)
        return rows, columns
    assert candidates.level_sizes is not None
    num_images, num_classes = len(candidates.counts), scores.shape[1]
    found, start = [], 0
    flat = scores.view(num_images, -1)  # an image's candidates end to end, classes innermost
    for size in candidates.level_sizes:
        of_level = flat[:, start * num_classes : (start + size) * num_classes]
        best, places = of_level.topk(min(pre_nms, of_level.shape[1]), dim=1)
        image = torch.arange(num_images, device=scores.device)[:, None]
        places = places + start * num_classes + image * flat.shape[1]
        found.append(torch.where(best > score_threshold, places, -1).flatten())
        start += size
    pairs = torch.cat(found)
    pairs = pairs[pairs >= 0]
    return pairs // num_classes, pairs % num_classes


def suppress(
    rows: Tensor,
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    image: Tensor,
    num_images: int,
    nms_iou: float,
    max_detections: int,
) -> Detected:
    """Drop empty boxes, suppress per image and class, keep the highest scores of each image.

    Args:
        rows: [K] into the candidates.
        boxes: [K, 4] xyxy, cut to their images.
        scores: [K].
        labels: [K] int64; boxes of different labels never suppress each other.
        image: [K] int64.
        num_images: B.
        nms_iou: a box that overlaps a better one by more is dropped.
        max_detections: most boxes of an image.
    """
    solid = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero().squeeze(1)
    solid = solid[image[solid].argsort(stable=True)]
    kept = [
        of_image[batched_nms(boxes[of_image], scores[of_image], labels[of_image], nms_iou)]
        for of_image in solid.split(torch.bincount(image[solid], minlength=num_images).tolist())
    ]
    kept = [of_image[:max_detections] for of_image in kept]
    keep = torch.cat(kept)
    counts = tuple(len(of_image) for of_image in kept)
    chosen = Candidates(boxes[keep], image[keep], counts)
    return Detected(chosen, scores[keep], labels[keep], rows[keep])
