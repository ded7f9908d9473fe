"""Candidates of one image -> those that enter the loss, with their targets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rebalance.assigners import Assigner, Assignment
from rebalance.detectors.criterion import Criterion
from rebalance.samplers import Sampler


class Matches(NamedTuple):
    """The sampled candidates of one image.

    Attributes:
        positive_idxs: [P] int64, positions among the candidates.
        negative_idxs: [Q] int64.
        labels: [P] int64, classes of the positives, 1 ... C.
        boxes: [P, 4] xyxy, ground truths of the positives.
    """

    positive_idxs: Tensor
    negative_idxs: Tensor
    labels: Tensor
    boxes: Tensor


def match_candidates(
    assigner: Assigner,
    sampler: Sampler,
    criterion: Criterion,
    candidates: Tensor,
    target: Mapping[str, Any],
    rng: torch.Generator,
    *,
    predict: Callable[[Tensor], tuple[Tensor, Tensor]],
    level_sizes: Sequence[int] | None = None,
    inside: Tensor | None = None,
) -> Matches:
    """Assign, then sample.

    Args:
        assigner: see ``rebalance.assigners.make_assigner``.
        sampler: see ``rebalance.samplers.make_sampler``.
        criterion: gives the loss of each candidate to assigners and samplers that ask for it.
        candidates: [N, 4] xyxy.
        target: "boxes" [G, 4], "labels" [G], "ignored_boxes" [K, 4], "image_size" (h, w),
            "image_id".
        rng: source of all randomness.
        predict: given positions [K] among the candidates, their logits [K, columns] and deltas
            [K, classes or 1, 4]; called only when losses are asked for.
        level_sizes: candidates per pyramid level.
        inside: [N] bool; the others take no part at all. None: all take part.
    """
    from_inside = None
    if inside is not None:
        from_inside = inside.nonzero().squeeze(1)
        candidates = candidates[from_inside]
        if level_sizes is not None:
            level_sizes = [int(level.sum()) for level in inside.split(list(level_sizes))]

    def losses(assignment: Assignment, rows: Tensor) -> Tensor:
        with torch.no_grad():
            logits, deltas = predict(rows if from_inside is None else from_inside[rows])
        labels, gt_idxs = assignment.labels[rows], assignment.gt_idxs[rows]
        positives = gt_idxs >= 0
        return criterion.of_each(
            logits,
            labels,
            deltas_of_class(deltas[positives], labels[positives]),
            candidates[rows[positives]],
            target["boxes"][gt_idxs[positives]],
        )

    assignment = assigner(
        candidates,
        target["boxes"],
        target["labels"],
        ignored_boxes=target["ignored_boxes"],
        level_sizes=level_sizes,
        costs=lambda first: losses(first, torch.arange(len(candidates), device=candidates.device)),
        image_size=target["image_size"],
        image=target["image_id"],
    )
    sample = sampler(assignment, rng=rng, boxes=candidates, losses=partial(losses, assignment))
    positives, negatives = sample.positive_idxs, sample.negative_idxs
    labels = assignment.labels[positives]
    boxes = target["boxes"][assignment.gt_idxs[positives]]
    if from_inside is not None:
        positives, negatives = from_inside[positives], from_inside[negatives]
    return Matches(positives, negatives, labels, boxes)


def deltas_of_class(deltas: Tensor, labels: Tensor) -> Tensor:
    """[R, classes or 1, 4] deltas and [R] labels 1 ... C -> [R, 4]."""
    if deltas.shape[1] == 1:
        return deltas[:, 0]
    return deltas[torch.arange(len(deltas), device=deltas.device), labels - 1]


class Sampled(NamedTuple):
    """The sampled candidates of a batch, as rows of its B x N candidates laid end to end.

    Attributes:
        rows: [M] int64; the positives of all images first.
        labels: [M] int64, 0 for negatives.
        num_positives: P, the length of the positives' part.
        boxes: [P, 4] xyxy, ground truths of the positives.
    """

    rows: Tensor
    labels: Tensor
    num_positives: int
    boxes: Tensor


def join_matches(matches: Sequence[Matches], counts: Sequence[int]) -> Sampled:
    """The matches of a batch's images, image i having ``counts[i]`` candidates."""
    starts = [sum(counts[:index]) for index in range(len(counts))]
    positives = torch.cat([m.positive_idxs + s for m, s in zip(matches, starts, strict=True)])
    negatives = torch.cat([m.negative_idxs + s for m, s in zip(matches, starts, strict=True)])
    labels = torch.cat([m.labels for m in matches])
    return Sampled(
        rows=torch.cat([positives, negatives]),
        labels=torch.cat([labels, labels.new_zeros(len(negatives))]),
        num_positives=len(positives),
        boxes=torch.cat([m.boxes for m in matches]),
    )


def predictions_of_image(
    logits: Tensor, deltas: Tensor, index: int, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """[B, N, columns], [B, N, 4] -> some of one image, as ``match_candidates`` wants them."""
    return logits[index, rows], deltas[index, rows, None]


def centres_inside(
    boxes: Tensor, image_size: tuple[int, int], canvas: Sequence[int]
) -> Tensor | None:
    """[N] bool: centre within the image; None: all are, because the image fills its canvas."""
    height, width = image_size
    if (height, width) == tuple(canvas):
        return None
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return (x >= 0) & (x < width) & (y >= 0) & (y < height)
