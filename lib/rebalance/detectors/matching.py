"""Candidates of a batch -> those that take part in the loss, each with its ground truth."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from rebalance.assigners import Assigner, Assignment, count_all
from rebalance.detectors.inside import Inside
from rebalance.detectors.types import Candidates, Matches, Truths
from rebalance.samplers import Sampler

Costs = Callable[[Matches], Tensor]


def match(
    assigner: Assigner,
    sampler: Sampler,
    candidates: Candidates,
    truths: Truths,
    rngs: Sequence[torch.Generator],
    costs: Costs,
    inside: Sequence[Inside | None] | None = None,
    truths_last: bool = False,
) -> Matches:
    """Assign all images, then sample each. The device is waited for once.

    Args:
        assigner: see ``rebalance.assigners.make_assigner``.
        sampler: see ``rebalance.samplers.make_sampler``.
        candidates: of the batch.
        truths: of the batch.
        rngs: one per image, source of all randomness.
        costs: the loss [K] of each of some matches; called only for assigners and samplers that
            choose by it.
        inside: per image the candidates that take part at all; None: all.
        truths_last: the last candidates of each image are its ground truths. They belong to
            themselves and are not shown to the assigner: among its candidates they would be the
            best of every ground truth, and take the place of its best proposal.
    """
    assignments, boxes_of, places = [], [], []
    for image, (start, gt_start) in enumerate(zip(candidates.starts, truths.starts, strict=True)):
        own = slice(start, start + candidates.counts[image])
        own_gt = slice(gt_start, gt_start + truths.counts[image])
        boxes, level_sizes = candidates.boxes[own], candidates.level_sizes
        chosen = None
        if inside is not None and (part := inside[image]) is not None:
            chosen, level_sizes = part
            boxes = boxes[chosen]
        place = partial(_place, start=start, gt_start=gt_start, chosen=chosen)
        own_boxes = len(boxes) - (truths.counts[image] if truths_last else 0)
        assignment = assigner(
            boxes[:own_boxes],
            truths.boxes[own_gt],
            truths.labels[own_gt],
            ignored_boxes=truths.ignored[image],
            level_sizes=level_sizes,
            costs=partial(_losses, costs, place),
            image_size=truths.sizes[image],
            image=truths.ids[image],
            validate=False,  # the loader refused bad ground truths; a bad RoI shows in the loss
        )
        if truths_last:
            assignment = _with_truths(assignment, truths.labels[own_gt])
        assignments.append(assignment)
        boxes_of.append(boxes)
        places.append(place)
    found = [
        place(
            assignment,
            sampler(
                assignment, rng=rng, boxes=boxes, losses=partial(_losses, costs, place, assignment)
            ),
        )
        for assignment, boxes, place, rng in zip(
            count_all(assignments), boxes_of, places, rngs, strict=True
        )
    ]
    rows, gts, ious = zip(*found, strict=True)
    return Matches(torch.cat(rows), torch.cat(gts), torch.cat(ious))


def _with_truths(assignment: Assignment, labels: Tensor) -> Assignment:
    themselves = torch.arange(len(labels), device=labels.device)
    ones = assignment.overlaps.new_ones(len(labels))
    return Assignment(
        torch.cat([assignment.gt_idxs, themselves]),
        torch.cat([assignment.overlaps, ones]),
        torch.cat([assignment.labels, labels]),
    )


def _place(
    assignment: Assignment, some: Tensor, *, start: int, gt_start: int, chosen: Tensor | None
) -> Matches:
    """Positions [K] among an image's candidates that take part -> rows of the batch."""
    gt = assignment.gt_idxs[some]
    rows = some if chosen is None else chosen[some]
    return Matches(rows + start, torch.where(gt >= 0, gt + gt_start, -1), assignment.overlaps[some])


def _losses(
    costs: Costs,
    place: Callable[[Assignment, Tensor], Matches],
    assignment: Assignment,
    some: Tensor | None = None,
) -> Tensor:
    if some is None:
        some = torch.arange(len(assignment.gt_idxs), device=assignment.gt_idxs.device)
    return costs(place(assignment, some))
