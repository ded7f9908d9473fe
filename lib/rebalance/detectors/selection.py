"""From a step's predictions to detections: threshold, decode, suppress, keep the best few."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rebalance.config.options import select as options_of
from rebalance.config.parse import parse
from rebalance.detectors.coders import clip_boxes
from rebalance.detectors.flow import Deciding, Detected, Flow
from rebalance.detectors.select import (
    CHOICES,
    Suppression,
    best_of_groups,
    box_rows_of_size,
)
from rebalance.detectors.types import Candidates, of_class, sizes_on


class DetectionSettings(NamedTuple):
    """How detections are selected.

    Attributes:
        score_threshold: detections score higher.
        suppression: see ``rebalance.detectors.select``.
        max_detections: per image.
        pre_nms: of a grid, candidates per level and image that reach the suppression; None: all
            above the threshold.
        choose: of what these are the best: "pairs" of candidate and class (mmdetection 2.28), or
            "anchors", with all their classes (the published branches).
        drop_empty: drop boxes without area (torchvision); mmdetection keeps them.
        average: what of several box steps is averaged, their "scores" or their "logits".
        loops: box steps at prediction; beyond the last, the last one is repeated. None: all.
        mask_threshold: of the probabilities of masks.
    """

    score_threshold: float
    suppression: Suppression
    max_detections: int = 100
    pre_nms: int | None = None
    choose: str = "pairs"
    drop_empty: bool = True
    average: str = "scores"
    loops: int | None = None
    mask_threshold: float = 0.5


def make_detection_settings(**options: Any) -> DetectionSettings:
    """Settings from a detector's ``test``, see ``rebalance.config.options.select.Test``.

    Raises:
        InputError: unknown key, or a value that is not allowed.
    """
    test = parse(options_of.Test, options, "test")
    own = test.model_dump(exclude={"nms"})
    return DetectionSettings(suppression=test.nms.bind(), **own)


def select_detections(flow: Flow, settings: DetectionSettings) -> Detected:
    """Detections of a batch from the predictions that the flow's last step has left."""
    assert flow.last is not None
    step, predictions, candidates = flow.last
    scores = _scores(step, flow.logits or [predictions.logits], settings.average)
    rows, labels = _choose(scores, candidates, settings)
    image = candidates.image[rows]
    assert predictions.deltas is not None
    boxes = step.coder.decode(of_class(predictions.deltas[rows], labels), candidates.boxes[rows])
    boxes = clip_boxes(boxes, sizes_on(flow.sizes, boxes.device)[image])
    if settings.drop_empty:
        solid = box_rows_of_size(boxes)
        rows, labels, image, boxes = rows[solid], labels[solid], image[solid], boxes[solid]
    groups = image * (scores.shape[1] + 1) + labels
    keep, kept_scores = settings.suppression(boxes, scores[rows, labels - 1], groups)
    best = best_of_groups(kept_scores, image[keep], settings.max_detections)
    keep, kept_scores = keep[best], kept_scores[best]
    counts = torch.bincount(image[keep], minlength=len(flow.sizes)).tolist()
    found = Candidates(boxes[keep], image[keep], tuple(counts))
    return Detected(found, kept_scores, labels[keep], rows[keep])


def _scores(step: Deciding, logits: Sequence[Tensor | None], average: str) -> Tensor:
    """[N, C] over all passes of the box steps."""
    of_steps = [one for one in logits if one is not None]
    if average == "logits":
        return step.objective.scores(torch.stack(of_steps).mean(dim=0))
    return torch.stack([step.objective.scores(one) for one in of_steps]).mean(dim=0)


def _choose(
    scores: Tensor, candidates: Candidates, settings: DetectionSettings
) -> tuple[Tensor, Tensor]:
    """[K] rows and [K] labels of what reaches the suppression."""
    if candidates.level_sizes is None:
        rows, columns = (scores > settings.score_threshold).nonzero(as_tuple=True)
        return rows, columns + 1
    choose: Callable[..., tuple[Tensor, Tensor]] = partial(
        CHOICES[settings.choose], num=settings.pre_nms, threshold=settings.score_threshold
    )
    return choose(scores.unflatten(0, (len(candidates.counts), -1)), candidates.level_sizes)
