"""Region proposal network (Faster R-CNN, Ren et al., NeurIPS 2015)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from rebalance.assigners import Assigner
from rebalance.detectors.anchors import AnchorGrid
from rebalance.detectors.criterion import Criterion
from rebalance.detectors.matching import (
    centres_inside,
    join_matches,
    match_candidates,
    predictions_of_image,
)
from rebalance.detectors.selection import clip_boxes
from rebalance.samplers import Sampler


class ProposalSettings(NamedTuple):
    """How many proposals an image gives.

    Attributes:
        pre_nms: best anchors per level that reach the suppression.
        post_nms: proposals per image.
        nms_iou: overlap above which the lower score is dropped.
        min_size: proposals have sides of at least this many pixels (and more than 0).
    """

    pre_nms: int = 1000
    post_nms: int = 1000
    nms_iou: float = 0.7
    min_size: float = 0.0


class RegionProposals(nn.Module):
    """Objectness and a box for every anchor; the best become proposals.

    Args:
        head: pyramid maps -> logits [B, N, 1], deltas [B, N, 4].
        anchors: pyramid maps -> anchors of all levels.
        assigner: anchors -> ground truths, all of one class.
        sampler: which anchors enter the loss.
        criterion: the losses.
        train_settings: of the proposals that the stages train on.
        test_settings: of the proposals at prediction.
    """

    def __init__(
        self,
        head: nn.Module,
        anchors: AnchorGrid,
        assigner: Assigner,
        sampler: Sampler,
        criterion: Criterion,
        train_settings: ProposalSettings,
        test_settings: ProposalSettings,
    ) -> None:
        super().__init__()
        self.head, self.anchors = head, anchors
        self.assigner, self.sampler, self.criterion = assigner, sampler, criterion
        self.train_settings, self.test_settings = train_settings, test_settings

    def forward(
        self,
        maps: Sequence[Tensor],
        canvas: tuple[int, int],
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Losses of a batch, and [R_i, 4] proposals per image (detached).

        Args:
            maps: pyramid maps.
            canvas: (height, width) of the padded images.
            targets: as for the detector.
            rngs: one generator per image.
        """
        logits, deltas = self.head(maps)
        anchors, level_sizes = self.anchors(maps)
        matches = []
        for index, (target, rng) in enumerate(zip(targets, rngs, strict=True)):
            objects = dict(target, labels=torch.ones_like(target["labels"]))
            matches.append(
                match_candidates(
                    self.assigner,
                    self.sampler,
                    self.criterion,
                    anchors,
                    objects,
                    rng,
                    predict=partial(predictions_of_image, logits, deltas, index),
                    level_sizes=level_sizes,
                    inside=centres_inside(anchors, target["image_size"], canvas),
                )
            )
        sampled = join_matches(matches, [len(anchors)] * len(matches))
        positive_rows = sampled.rows[: sampled.num_positives]
        class_loss, box_loss = self.criterion(
            logits.flatten(0, 1)[sampled.rows],
            sampled.labels,
            deltas.flatten(0, 1)[positive_rows],
            anchors[positive_rows % len(anchors)],
            sampled.boxes,
        )
        sizes = [target["image_size"] for target in targets]
        proposals = self._select(logits, deltas, anchors, level_sizes, sizes, self.train_settings)
        return {"rpn_class_loss": class_loss, "rpn_box_loss": box_loss}, proposals

    @torch.no_grad()
    def predict(
        self, maps: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """[R_i, 4] proposals per image."""
        logits, deltas = self.head(maps)
        anchors, level_sizes = self.anchors(maps)
        return self._select(logits, deltas, anchors, level_sizes, image_sizes, self.test_settings)

    @torch.no_grad()
    def _select(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        level_sizes: Sequence[int],
        image_sizes: Sequence[tuple[int, int]],
        settings: ProposalSettings,
    ) -> list[Tensor]:
        # The best anchors of each level, for all images at once.
        scores, rows, levels, start = [], [], [], 0
        for level, scores_of_level in enumerate(logits[..., 0].split(list(level_sizes), dim=1)):
            num = min(settings.pre_nms, scores_of_level.shape[1])
            best, positions = scores_of_level.topk(num, dim=1)
            scores.append(best)
            rows.append(positions + start)
            levels.append(torch.full_like(positions, level))
            start += scores_of_level.shape[1]
        score, row, level_of = (torch.cat(parts, dim=1) for parts in (scores, rows, levels))
        picked = deltas.gather(1, row[..., None].expand(-1, -1, 4))
        boxes = self.criterion.coder.decode(picked, anchors[row])
        proposals = []
        for index, image_size in enumerate(image_sizes):
            clipped = clip_boxes(boxes[index], image_size)
            sides = clipped[:, 2:] - clipped[:, :2]
            large = ((sides > 0) & (sides >= settings.min_size)).all(dim=1).nonzero().squeeze(1)
            clipped = clipped[large]
            keep = batched_nms(
                clipped, score[index, large], level_of[index, large], settings.nms_iou
            )
            proposals.append(clipped[keep[: settings.post_nms]])
        return proposals
