"""Dense family: a head predicts class and box for every anchor (RetinaNet and its relatives)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rebalance.assigners import Assigner
from rebalance.detectors.anchors import AnchorGrid
from rebalance.detectors.criterion import Criterion
from rebalance.detectors.matching import (
    centres_inside,
    join_matches,
    match_candidates,
    predictions_of_image,
)
from rebalance.detectors.selection import Detections, select_detections, top_of_level
from rebalance.samplers import Sampler

Target = Mapping[str, Any]


class DenseDetector(nn.Module):
    """Backbone, neck, and one head over anchors.

    Args:
        backbone: images -> maps.
        neck: maps -> pyramid maps.
        head: pyramid maps -> logits [B, N, columns], deltas [B, N, 4].
        anchors: pyramid maps -> anchors of all levels.
        assigner: anchors -> ground truths.
        sampler: which anchors enter the loss.
        criterion: the losses.
        score_threshold: detections score higher.
        nms_iou: overlap above which the lower score is dropped.
        pre_nms: (anchor, class) pairs per level that reach the suppression.
        max_detections: per image.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        head: nn.Module,
        anchors: AnchorGrid,
        assigner: Assigner,
        sampler: Sampler,
        criterion: Criterion,
        *,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        pre_nms: int = 1000,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head
        self.anchors = anchors
        self.assigner, self.sampler, self.criterion = assigner, sampler, criterion
        self.score_threshold, self.nms_iou = score_threshold, nms_iou
        self.pre_nms, self.max_detections = pre_nms, max_detections

    def forward(
        self, images: Tensor, targets: Sequence[Target], rngs: Sequence[torch.Generator]
    ) -> dict[str, Tensor]:
        """Training losses of a batch, weighted scalars.

        Args:
            images: [B, 3, H, W], normalised, zero outside each image.
            targets: per image "boxes" [G, 4] xyxy, "labels" [G], "ignored_boxes" [K, 4],
                "image_size" (height, width) and "image_id"; G and K may be 0.
            rngs: one generator per image.
        """
        maps = self.neck(self.backbone(images))
        logits, deltas = self.head(maps)
        anchors, level_sizes = self.anchors(maps)
        matches = [
            match_candidates(
                self.assigner,
                self.sampler,
                self.criterion,
                anchors,
                target,
                rng,
                predict=partial(predictions_of_image, logits, deltas, index),
                level_sizes=level_sizes,
                inside=centres_inside(anchors, target["image_size"], images.shape[-2:]),
            )
            for index, (target, rng) in enumerate(zip(targets, rngs, strict=True))
        ]
        sampled = join_matches(matches, [len(anchors)] * len(matches))
        positive_rows = sampled.rows[: sampled.num_positives]
        class_loss, box_loss = self.criterion(
            logits.flatten(0, 1)[sampled.rows],
            sampled.labels,
            deltas.flatten(0, 1)[positive_rows],
            anchors[positive_rows % len(anchors)],
            sampled.boxes,
        )
        return {"class_loss": class_loss, "box_loss": box_loss}

    @torch.no_grad()
    def predict(self, images: Tensor, image_sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Per image, in pixels of ``images``: "boxes", "scores", "labels"; there may be none."""
        maps = self.neck(self.backbone(images))
        logits, deltas = self.head(maps)
        anchors, level_sizes = self.anchors(maps)
        scores = self.criterion.classes.scores(logits)
        found = []
        for index, image_size in enumerate(image_sizes):
            levels = [
                top_of_level(self.criterion.coder, *parts, self.score_threshold, self.pre_nms)
                for parts in zip(
                    scores[index].split(level_sizes),
                    deltas[index].split(level_sizes),
                    anchors.split(level_sizes),
                    strict=True,
                )
            ]
            boxes, best, labels = (torch.cat(parts) for parts in zip(*levels, strict=True))
            found.append(
                select_detections(
                    boxes, best, labels, image_size, self.nms_iou, self.max_detections
                )
            )
        return found
