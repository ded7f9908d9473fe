"""Proposals: the best predictions of a region proposal network (Ren et al., NeurIPS 2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from rebalance.detectors.canvas import Size
from rebalance.detectors.coders import Coder, clip_boxes
from rebalance.detectors.select import select_proposals, top_of_levels
from rebalance.detectors.types import Candidates, Predictions, count_each, sizes_on


class ProposalSettings(NamedTuple):
    """How many proposals an image gives.

    Attributes:
        pre_nms: best candidates per level that reach the suppression.
        post_nms: proposals per image.
        nms_iou: overlap above which the lower score is dropped.
        min_size: proposals have sides of at least this many pixels (and more than 0); None: any
            box may be one, even an empty one (older mmdetection).
        rank_by: what makes a candidate good, its "logits", which tell all apart (torchvision), or
            its "scores", of which float32 rounds high ones to the same value (mmdetection).
    """

    pre_nms: int = 1000
    post_nms: int = 1000
    nms_iou: float = 0.7
    min_size: float | None = 0.0
    rank_by: str = "logits"


@torch.no_grad()
def propose(
    predictions: Predictions,
    candidates: Candidates,
    sizes: Sequence[Size],
    coder: Coder,
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
    assert candidates.level_sizes is not None
    num_images = len(candidates.counts)
    scores = predictions.logits.view(num_images, -1)
    if settings.rank_by == "scores":
        scores = scores.sigmoid()
    places, levels = top_of_levels(scores, candidates.level_sizes, settings.pre_nms)
    first = torch.arange(num_images, device=places.device) * scores.shape[1]
    rows = places + first[:, None]
    boxes = coder.decode(predictions.deltas[rows, 0], candidates.boxes[rows])
    boxes = clip_boxes(boxes, sizes_on(sizes, boxes.device)[:, None])
    chosen = select_proposals(
        boxes,
        scores.gather(1, places),
        levels,
        iou=settings.nms_iou,
        post_nms=settings.post_nms,
        min_size=settings.min_size,
    )
    image = chosen // places.shape[1]
    return Candidates(boxes.flatten(0, 1)[chosen], image, count_each(image, num_images))
