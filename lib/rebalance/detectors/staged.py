"""Staged family: proposals, then a list of stages, each an IoU threshold and a head.

One stage is Faster R-CNN; three stages with three heads are Cascade R-CNN (Cai and Vasconcelos,
CVPR 2018); several stages that name one head are R3-CNN.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from rebalance.assigners import Assigner
from rebalance.detectors.criterion import Criterion
from rebalance.detectors.matching import deltas_of_class, join_matches, match_candidates
from rebalance.detectors.roi_sources import RoiSource
from rebalance.detectors.rpn import RegionProposals
from rebalance.detectors.selection import Detections, clip_boxes, select_detections
from rebalance.samplers import Sampler


class Stage(NamedTuple):
    """One refinement of the RoIs.

    Attributes:
        head: position in the detector's list of heads; stages may share one.
        assigner: RoIs -> ground truths, at this stage's IoU threshold.
        sampler: which RoIs enter the loss.
        criterion: the losses.
        iou: that threshold, for the source of the RoIs.
        weight: factor of this stage's losses.
    """

    head: int
    assigner: Assigner
    sampler: Sampler
    criterion: Criterion
    iou: float
    weight: float = 1.0


class StagedDetector(nn.Module):
    """Backbone, neck, region proposals, and stages.

    Args:
        backbone: images -> maps.
        neck: maps -> pyramid maps.
        rpn: pyramid maps -> proposals.
        heads: pooled RoIs -> logits [R, columns], deltas [R, classes or 1, 4].
        stages: at least one.
        roi_source: proposals of one image -> RoIs that a stage trains on.
        num_pooled_levels: the finest so many levels are pooled from.
        canonical_size: side in pixels of the RoIs that are pooled from level 4 (Eq. 1 of FPN: 224).
        score_threshold: detections score higher.
        nms_iou: overlap above which the lower score is dropped.
        max_detections: per image.
        num_stages: stages at prediction; beyond the last, the last one is repeated. None: all.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        rpn: RegionProposals,
        heads: Sequence[nn.Module],
        stages: Sequence[Stage],
        roi_source: RoiSource,
        *,
        num_pooled_levels: int = 4,
        canonical_size: int = 224,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        num_stages: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn = backbone, neck, rpn
        self.heads = nn.ModuleList(heads)
        self.stages = tuple(stages)
        self.level_names = [str(level) for level in range(num_pooled_levels)]
        self.poolers = {
            size: MultiScaleRoIAlign(
                self.level_names, size, sampling_ratio=2, canonical_scale=canonical_size
            )
            for size in {head.roi_size for head in heads}
        }
        self.roi_source = roi_source
        self.score_threshold, self.nms_iou = score_threshold, nms_iou
        self.max_detections = max_detections
        count = len(self.stages) if num_stages is None else num_stages
        self.test_stages = tuple(self.stages[min(k, len(self.stages) - 1)] for k in range(count))

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> dict[str, Tensor]:
        """Training losses of a batch, weighted scalars; arguments as of ``DenseDetector``."""
        maps = self.neck(self.backbone(images))
        canvas = (images.shape[2], images.shape[3])
        losses, proposals = self.rpn(maps, canvas, targets, rngs)
        for index, stage in enumerate(self.stages):
            class_loss, box_loss, proposals = self._train_stage(
                stage, maps, canvas, proposals, targets, rngs
            )
            prefix = f"stage{index + 1}_" if len(self.stages) > 1 else ""
            losses[f"{prefix}class_loss"] = class_loss * stage.weight
            losses[f"{prefix}box_loss"] = box_loss * stage.weight
        return losses

    def _train_stage(
        self,
        stage: Stage,
        maps: Sequence[Tensor],
        canvas: tuple[int, int],
        proposals: Sequence[Tensor],
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The stage's two losses, and the refined proposals of each image."""
        sources = [
            self.roi_source(boxes, target, rng=rng, iou=stage.iou)
            for boxes, target, rng in zip(proposals, targets, rngs, strict=True)
        ]
        matches = [
            match_candidates(
                stage.assigner,
                stage.sampler,
                stage.criterion,
                boxes,
                target,
                rng,
                predict=partial(
                    self._run_head_on,
                    stage.head,
                    [map_[index : index + 1] for map_ in maps],
                    canvas,
                    boxes,
                ),
            )
            for index, ((boxes, _), target, rng) in enumerate(
                zip(sources, targets, rngs, strict=True)
            )
        ]
        # RoIs stay grouped by image for pooling; the sampled rows point into that order.
        rois = [
            boxes[torch.cat([match.positive_idxs, match.negative_idxs])]
            for (boxes, _), match in zip(sources, matches, strict=True)
        ]
        places = [torch.arange(len(boxes), device=boxes.device) for boxes in rois]
        in_rois = [
            match._replace(
                positive_idxs=place[: len(match.positive_idxs)],
                negative_idxs=place[len(match.positive_idxs) :],
            )
            for match, place in zip(matches, places, strict=True)
        ]
        sampled = join_matches(in_rois, [len(boxes) for boxes in rois])
        all_rois = torch.cat(list(rois))
        logits, deltas = self._run_head(stage.head, maps, canvas, rois)
        positive_rows = sampled.rows[: sampled.num_positives]
        class_loss, box_loss = stage.criterion(
            logits[sampled.rows],
            sampled.labels,
            deltas_of_class(deltas[positive_rows], sampled.labels[: sampled.num_positives]),
            all_rois[positive_rows],
            sampled.boxes,
        )
        labels = torch.empty_like(sampled.labels).scatter_(0, sampled.rows, sampled.labels)
        refined = self._refine(stage, logits.detach(), deltas.detach(), all_rois, labels)
        next_proposals = []
        for boxes, match, source, target in zip(
            refined.split([len(boxes) for boxes in rois]),
            matches,
            sources,
            targets,
            strict=True,
        ):
            sampled_idxs = torch.cat([match.positive_idxs, match.negative_idxs])
            from_proposals = sampled_idxs < source.num_proposals
            next_proposals.append(clip_boxes(boxes[from_proposals], target["image_size"]))
        return class_loss, box_loss, next_proposals

    @torch.no_grad()
    def predict(self, images: Tensor, image_sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """Per image, in pixels of ``images``: "boxes", "scores", "labels"; there may be none.

        Scores are the mean over the stages, each on its own RoIs; boxes are the last stage's.
        """
        maps = self.neck(self.backbone(images))
        canvas = (images.shape[2], images.shape[3])
        rois = self.rpn.predict(maps, image_sizes)
        scores_of_stages = []
        for position, stage in enumerate(self.test_stages):
            logits, deltas = self._run_head(stage.head, maps, canvas, rois)
            scores_of_stages.append(stage.criterion.classes.scores(logits))
            if position + 1 < len(self.test_stages):
                counts = [len(boxes) for boxes in rois]
                labels = logits.new_zeros(len(logits), dtype=torch.int64)
                refined = self._refine(stage, logits, deltas, torch.cat(rois), labels).split(counts)
                rois = [
                    clip_boxes(boxes, size)
                    for boxes, size in zip(refined, image_sizes, strict=True)
                ]
        scores = torch.stack(scores_of_stages).mean(dim=0)
        counts = [len(boxes) for boxes in rois]
        return [
            self._detections(stage, *parts)
            for parts in zip(
                scores.split(counts), deltas.split(counts), rois, image_sizes, strict=True
            )
        ]

    def _detections(
        self,
        stage: Stage,
        scores: Tensor,
        deltas: Tensor,
        rois: Tensor,
        image_size: tuple[int, int],
    ) -> Detections:
        rows, columns = (scores > self.score_threshold).nonzero(as_tuple=True)
        boxes = stage.criterion.coder.decode(deltas_of_class(deltas[rows], columns + 1), rois[rows])
        return select_detections(
            boxes,
            scores[rows, columns],
            columns + 1,
            image_size,
            self.nms_iou,
            self.max_detections,
        )

    def _run_head(
        self, head: int, maps: Sequence[Tensor], canvas: tuple[int, int], rois: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        pooler = self.poolers[self.heads[head].roi_size]
        levels = dict(zip(self.level_names, maps, strict=False))
        pooled = pooler(levels, list(rois), [canvas] * len(rois))
        logits, deltas = self.heads[head](pooled)
        return logits.float(), deltas.float()

    def _run_head_on(
        self,
        head: int,
        maps: Sequence[Tensor],
        canvas: tuple[int, int],
        boxes: Tensor,
        rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Of one image, those of its RoIs that are asked for."""
        return self._run_head(head, maps, canvas, [boxes[rows]])

    @staticmethod
    @torch.no_grad()
    def _refine(
        stage: Stage, logits: Tensor, deltas: Tensor, rois: Tensor, labels: Tensor
    ) -> Tensor:
        """[R, 4] decoded RoIs; those of label 0 by the deltas of their best-scored class."""
        best = stage.criterion.classes.scores(logits).argmax(dim=1) + 1
        labels = torch.where(labels > 0, labels, best)
        return stage.criterion.coder.decode(deltas_of_class(deltas, labels), rois)
