"""The best predictions of each pyramid level, of all images of a batch at once.

Which predictions of a dense head reach the suppression: the best (anchor, class) pairs of a level
(mmdetection 2.28), the anchors that are best by one score, with all their classes (PAA, YOLACT
and the published branches of the five works, which are older), or the best of each class over all
levels (SSD).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def top_of_levels(
    scores: Tensor, level_sizes: Sequence[int], num: int | None
) -> tuple[Tensor, Tensor]:
    """The ``num`` highest scores of each level and image.

    Args:
        scores: [B, N].
        level_sizes: lengths of the levels along N.
        num: most per level; None: all.

    Returns:
        rows [B, K] int64 in 0 ... N - 1, by level, within a level by falling score; levels [K].
        The device is not waited for.
    """
    rows, levels, start = [], [], 0
    for level, part in enumerate(scores.split(list(level_sizes), dim=1)):
        size = part.shape[1]
        best = part.topk(size if num is None else min(num, size), dim=1).indices
        rows.append(best + start)
        levels.append(best.new_full((best.shape[1],), level))
        start += size
    return torch.cat(rows, dim=1), torch.cat(levels)


def best_pairs(
    scores: Tensor, level_sizes: Sequence[int], *, num: int | None, threshold: float
) -> tuple[Tensor, Tensor]:
    """The best (anchor, class) pairs of each level and image, above a threshold.

    Args:
        scores: [B, N, C], of classes 1 ... C.
        level_sizes: anchors per level.
        num: most pairs of a level and image; None: all.
        threshold: scores are higher.

    Returns:
        rows [M] int64 into the B * N anchors laid end to end, sorted by image; labels [M] int64 in
        1 ... C. One wait for the device.
    """
    num_anchors, num_classes = scores.shape[1:]
    flat = scores.flatten(1)
    pairs, _ = top_of_levels(flat, [size * num_classes for size in level_sizes], num)
    image, column = (flat.gather(1, pairs) > threshold).nonzero().unbind(1)
    pair = pairs[image, column]
    return image * num_anchors + pair // num_classes, pair % num_classes + 1


def best_anchors(
    scores: Tensor,
    level_sizes: Sequence[int],
    *,
    num: int | None,
    threshold: float,
    rank_by: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All classes above a threshold of the best anchors of each level and image.

    Args:
        scores: [B, N, C], of classes 1 ... C.
        level_sizes: anchors per level.
        num: most anchors of a level and image; None: all.
        threshold: scores are higher; compared after the choice of anchors.
        rank_by: [B, N], what makes an anchor good; None: its best class.

    Returns:
        rows [M] and labels [M] as `best_pairs` gives them. One wait for the device.
    """
    num_anchors, num_classes = scores.shape[1:]
    anchors, _ = top_of_levels(scores.amax(2) if rank_by is None else rank_by, level_sizes, num)
    picked = scores.gather(1, anchors[..., None].expand(-1, -1, num_classes))
    image, column, class_ = (picked > threshold).nonzero().unbind(1)
    return image * num_anchors + anchors[image, column], class_ + 1


def best_of_classes(
    scores: Tensor, level_sizes: Sequence[int], *, num: int | None, threshold: float
) -> tuple[Tensor, Tensor]:
    """The best anchors of each class of each image, above a threshold, whatever their level.

    SSD (Liu et al., ECCV 2016, section 4) with ``num`` 400; torchvision's SSD.

    Args:
        scores: [B, N, C], of classes 1 ... C.
        level_sizes: not used by this choice.
        num: most anchors of a class and image; None: all.
        threshold: scores are higher.

    Returns:
        rows [M] and labels [M] as `best_pairs` gives them. One wait for the device.
    """
    num_anchors = scores.shape[1]
    best = scores.transpose(1, 2).topk(num_anchors if num is None else min(num, num_anchors))
    image, class_, column = (best.values > threshold).nonzero().unbind(1)
    return image * num_anchors + best.indices[image, class_, column], class_ + 1


CHOICES = {"pairs": best_pairs, "anchors": best_anchors, "classes": best_of_classes}
