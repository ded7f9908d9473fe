"""From a step's predictions to detections: threshold, decode, suppress, keep the best few."""

from collections.abc import Callable, Mapping, Sequence
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
    Augmentation,
    Suppression,
    best_of_groups,
    box_rows_of_size,
)
from rebalance.detectors.types import Candidates, Predictions, count_each, of_class, sizes_on
from rebalance.errors import InputError

COMBINATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "product": torch.mul,
    "geometric_mean": lambda scores, quality: (scores * quality).sqrt(),
}


class Quality(NamedTuple):
    """A head's own estimate of how good its boxes are, as part of their scores.

    Attributes:
        output: the head's output with the logits of the estimate: "centerness", "iou".
        combine: a name in ``COMBINATIONS``, of the scores of classes and the estimate.
        before_choice: which candidates are the best, and which reach the threshold, is decided by
            the combined scores (PAA), or by those of the classes (mmdetection's ATSS).
    """

    output: str
    combine: str = "product"
    before_choice: bool = False


class DetectionSettings(NamedTuple):
    """How detections are selected.

    Attributes:
        score_threshold: detections score higher.
        suppression: see ``rebalance.detectors.select``.
        max_detections: per image.
        pre_nms: of a grid, candidates per level and image that reach the suppression; None: all
            above the threshold.
        choose: of what these are the best: "pairs" of candidate and class (mmdetection 2.28), or
            "anchors", with all their classes (the published branches); or the best of all levels
            for each of the "classes" (SSD, torchvision).
        quality: how a head's estimate of quality enters the scores; None: not at all.
        voting: what boxes become after the suppression, see ``rebalance.detectors.select.voting``.
        clip_margin: boxes are cut to [0, size - margin]; FoveaBox as published: 1.
        drop_empty: drop boxes without area (torchvision); mmdetection keeps them.
        average: what of several box steps is averaged, their "scores" or their "logits";
            "largest_logits" takes the largest logit of each class instead.
        loops: box steps at prediction; beyond the last, the last one is repeated. None: all.
        mask_threshold: of the probabilities of masks.
        compares: what the suppression compares, "boxes" or "masks".
        augment: passes over the images; None: one, of the images as they are.
    """

    score_threshold: float
    suppression: Suppression
    max_detections: int = 100
    pre_nms: int | None = None
    choose: str = "pairs"
    quality: Quality | None = None
    voting: Callable[..., Tensor] | None = None
    clip_margin: float = 0.0
    drop_empty: bool = True
    average: str = "scores"
    loops: int | None = None
    mask_threshold: float = 0.5
    compares: str = "boxes"
    augment: Augmentation | None = None


def make_detection_settings(nms: Mapping[str, Any], **options: Any) -> DetectionSettings:
    """Settings from a detector's ``test``, see ``rebalance.config.options.select.Test``.

    Raises:
        InputError: unknown key, or a value that is not allowed.
    """
    test = parse(options_of.Test, {"nms": nms, **options}, "test")
    return DetectionSettings(
        suppression=test.nms.bind(),
        compares=test.nms.compares,
        quality=None if test.quality is None else Quality(**test.quality.model_dump()),
        voting=None if test.voting is None else test.voting.bind(),
        augment=None if test.augment is None else Augmentation(**test.augment.model_dump()),
        **test.model_dump(exclude={"nms", "quality", "voting", "augment"}),
    )


class ScoredBoxes(NamedTuple):
    """What reaches the suppression, in pixels of the images.

    Attributes:
        boxes: [K, 4] xyxy.
        scores: [K].
        labels: [K] int64, 1 ... C.
        image: [K] int64.
        groups: [K] int64, one for each class of each image.
        rows: [K] int64, which of its flow's last candidates each of them was.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image: Tensor
    groups: Tensor
    rows: Tensor


def select_detections(flows: Sequence[Flow], settings: DetectionSettings) -> Detected:
    """Detections of a batch from the predictions that the last step has left in each pass."""
    of_passes = [_scored_boxes(flow, settings) for flow in flows]
    boxes, scores, labels, image, groups, rows = map(torch.cat, zip(*of_passes, strict=True))
    keep, kept_scores = settings.suppression(boxes, scores, groups)
    best = best_of_groups(kept_scores, image[keep], settings.max_detections)
    keep, kept_scores = keep[best], kept_scores[best]
    found = boxes[keep]
    if settings.voting is not None:
        found = settings.voting(found, groups[keep], boxes, scores, groups)
    image = image[keep]
    candidates = Candidates(found, image, count_each(image, len(flows[0].sizes)))
    return Detected(candidates, kept_scores, labels[keep], rows[keep])


def _scored_boxes(flow: Flow, settings: DetectionSettings) -> ScoredBoxes:
    """Of one pass."""
    assert flow.last is not None
    step, predictions, candidates = flow.last
    class_scores = _scores(step, flow.logits or [predictions.logits], settings.average)
    rows, labels, scores = _scored_rows(class_scores, predictions, candidates, settings)
    image = candidates.image[rows]
    assert predictions.deltas is not None
    boxes = step.coder.decode(of_class(predictions.deltas[rows], labels), candidates.boxes[rows])
    sizes = sizes_on(flow.sizes, boxes.device)
    boxes = clip_boxes(boxes, sizes[image], margin=settings.clip_margin)
    if flow.view is not None:
        boxes = flow.view.to_original(boxes, image)
    groups = image * (class_scores.shape[1] + 1) + labels
    scored = ScoredBoxes(boxes, scores, labels, image, groups, rows)
    if settings.drop_empty:
        solid = box_rows_of_size(boxes)
        scored = ScoredBoxes(*(part[solid] for part in scored))
    return scored


def _scores(step: Deciding, logits: Sequence[Tensor | None], average: str) -> Tensor:
    """[N, C] over all passes of the box steps."""
    of_steps = [one for one in logits if one is not None]
    if average == "largest_logits":
        return step.objective.scores(torch.stack(of_steps).amax(dim=0))
    if average == "logits":
        return step.objective.scores(torch.stack(of_steps).mean(dim=0))
    return torch.stack([step.objective.scores(one) for one in of_steps]).mean(dim=0)


def _scored_rows(
    scores: Tensor, predictions: Predictions, candidates: Candidates, settings: DetectionSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """[K] rows, [K] labels and [K] scores of what reaches the suppression."""
    quality = settings.quality
    if quality is None:
        rows, labels = _choose(scores, candidates, settings)
        return rows, labels, scores[rows, labels - 1]
    if quality.output not in predictions.extra:
        raise InputError(
            f"test.quality.output must be one of {sorted(predictions.extra)}, which the head "
            f"gives, got {quality.output!r}"
        )
    estimates = predictions.extra[quality.output].sigmoid()
    combine = COMBINATIONS[quality.combine]
    if quality.before_choice:
        scores = combine(scores, estimates[:, None])
        rows, labels = _choose(scores, candidates, settings)
        return rows, labels, scores[rows, labels - 1]
    rows, labels = _choose(scores, candidates, settings)
    return rows, labels, combine(scores[rows, labels - 1], estimates[rows])


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
