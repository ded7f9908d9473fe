"""Proposals: the best predictions of a region proposal network (Ren et al., NeurIPS 2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torchvision.ops import batched_nms

from rebalance.detectors.box_coder import BoxCoder
from rebalance.detectors.selection import clip_to_images
from rebalance.detectors.types import Candidates, Predictions, Size, make_candidates


class ProposalSettings(NamedTuple):
    """How many proposals an image gives.

    Attributes:
        pre_nms: best candidates per level that reach the suppression.
        post_nms: proposals per image.
        nms_iou: overlap above which the lower score is dropped.
        min_size: proposals have sides of at least this many pixels (and more than 0).
    """

    pre_nms: int = 1000
    post_nms: int = 1000
    nms_iou: float = 0.7
    min_size: float = 0.0


@torch.no_grad()
def select_proposals(
    predictions: Predictions,
    candidates: Candidates,
    sizes: Sequence[Size],
    coder: BoxCoder,
    settings: ProposalSettings,
) -> Candidates:
    """The proposals of a batch, those of each image in falling order of their score.

    Args:
        predictions: logits [N, 1] and deltas [N, 1, 4] of all candidates.
        candidates: of all images, with levels.
        sizes: of each image; proposals are cut to it.
        coder: of the deltas.
        settings: how many.
    """
    assert predictions.logits is not None
    assert predictions.deltas is not None
    num_images, level_sizes = len(candidates.counts), candidates.level_sizes
    assert level_sizes is not None
    # The best of each level, for all images at once.
    scores, rows, levels, start = [], [], [], 0
    for level, of_level in enumerate(
        predictions.logits.view(num_images, -1).split(list(level_sizes), dim=1)
    ):
        best, places = of_level.topk(min(settings.pre_nms, of_level.shape[1]), dim=1)
        scores.append(best)
        rows.append(places + start)
        levels.append(torch.full_like(places, level))
        start += of_level.shape[1]
    score, place, level_of = (torch.cat(parts, dim=1) for parts in (scores, rows, levels))
    first = torch.tensor(candidates.starts).to(place.device, non_blocking=True)
    row = (place + first[:, None]).flatten()
    image = candidates.image[row]
    boxes = coder.decode(predictions.deltas[row, 0], candidates.boxes[row])
    boxes = clip_to_images(boxes, image, sizes)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = ((sides > 0) & (sides >= settings.min_size)).all(dim=1).nonzero().squeeze(1)
    counts = torch.bincount(image[large], minlength=num_images).tolist()
    boxes, score, level_of = boxes[large], score.flatten()[large], level_of.flatten()[large]
    return make_candidates([
        of_image[0][batched_nms(*of_image, settings.nms_iou)[: settings.post_nms]]
        for of_image in zip(
            boxes.split(counts), score.split(counts), level_of.split(counts), strict=True
        )
    ])  # fmt: skip
