"""Score voting: detections become means of the boxes around them."""

import torch
from torch import Tensor

from rebalance.boxes import paired_iou
from rebalance.errors import InputError

WITHOUT_VOTES = ("keep", "nan")


def score_voting(
    boxes: Tensor,
    groups: Tensor,
    voters: Tensor,
    voter_scores: Tensor,
    voter_groups: Tensor,
    *,
    sigma: float = 0.025,
    min_iou: float = 0.01,
    without_votes: str = "keep",
) -> Tensor:
    """Each detection's box becomes a weighted mean of the voters of its group that overlap it.

    Kim and Lee, "Probabilistic Anchor Assignment with IoU Prediction for Object Detection", ECCV
    2020, "Score Voting": weight s exp(-(1 - IoU)^2 / sigma), for IoU > 0.01 in the published code.

    Args:
        boxes: [D, 4] xyxy, pixels: detections after the suppression.
        groups: [D] int64, class of an image.
        voters: [K, 4] xyxy: the boxes that entered the suppression, once per class whose score
            exceeds the threshold.
        voter_scores: [K], >= 0.
        voter_groups: [K] int64.
        sigma: width of the weight, > 0.
        min_iou: voters overlap more.
        without_votes: what becomes of a detection that nothing votes for. One without area
            overlaps nothing, not even itself: the published code divides 0 by 0 and gives it a box
            of nan ("nan"), which evaluations count as a miss at best and refuse at worst. "keep"
            leaves the box as it was: no votes, no change.

    Returns:
        [D, 4] boxes, in the order given (the published code sorts by class after voting; a stable
        sort of the labels gives its order).

    Raises:
        InputError: unknown value of ``without_votes``, sigma not above 0.
    """
    if without_votes not in WITHOUT_VOTES:
        raise InputError(
            f"without_votes must be one of {list(WITHOUT_VOTES)}, got {without_votes!r}"
        )
    if sigma <= 0:
        raise InputError(f"sigma of score_voting must be > 0, got {sigma}")
    if not len(boxes):
        return boxes
    # The voters of a group are a run of the sorted ones, so only pairs within groups are made.
    order = voter_groups.argsort(stable=True)
    sorted_groups = voter_groups[order]
    starts = torch.searchsorted(sorted_groups, groups)
    counts = torch.searchsorted(sorted_groups, groups, right=True) - starts
    detection = torch.repeat_interleave(counts)
    before = counts.cumsum(0) - counts
    position = torch.arange(len(detection), device=detection.device)
    voter = order[position + (starts - before)[detection]]

    candidates = voters[voter].double()
    overlaps = paired_iou(boxes[detection].double(), candidates)
    weights = torch.exp(-(1 - overlaps).square() / sigma) * voter_scores[voter]
    weights = torch.where(overlaps > min_iou, weights, 0)
    summed = torch.segment_reduce(
        torch.cat((weights[:, None] * candidates, weights[:, None]), dim=1),
        "sum",
        lengths=counts,
        axis=0,
    )
    voted = (summed[:, :4] / summed[:, 4:]).to(boxes.dtype)
    return voted if without_votes == "nan" else torch.where(summed[:, 4:] > 0, voted, boxes)
