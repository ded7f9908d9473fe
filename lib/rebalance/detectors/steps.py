"""Steps: what a detector does, one after the other.

A step runs a head on the flow, matches its predictions with the ground truths, and leaves in the
flow what the next steps need. RetinaNet is one dense step; Faster R-CNN a dense step that proposes
and a box step; Mask R-CNN adds a mask step. Heads have names, so several steps may share one.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from rebalance.assigners import Assigner
from rebalance.detectors.anchors import AnchorGrid
from rebalance.detectors.box_coder import BoxCoder
from rebalance.detectors.flow import Flow
from rebalance.detectors.inside import InsideRule
from rebalance.detectors.matching import match
from rebalance.detectors.objectives import Objective
from rebalance.detectors.pooling import RoiPooling
from rebalance.detectors.proposals import ProposalSettings, select_proposals
from rebalance.detectors.roi_sources import RoiSource
from rebalance.detectors.selection import clip_to_images
from rebalance.detectors.types import (
    Candidates,
    Matched,
    Matches,
    Predictions,
    Truths,
    make_candidates,
    of_class,
    repeat_candidates,
)
from rebalance.samplers import Sampler

Heads = Mapping[str, nn.Module] | nn.ModuleDict


class Step(nn.Module):
    """Base of all steps.

    Args:
        name: what its losses are called by; "" where one step's losses need no name.
        head: name of its head.
        objective: what it is trained for.
        weight: factor of its losses.
    """

    kind: str
    """What it trains: "proposals", "dense", "box", "mask"."""

    def __init__(self, name: str, head: str, objective: Objective, weight: float = 1.0) -> None:
        super().__init__()
        self.name, self.head, self.weight = name, head, weight
        self.objective = objective

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """Run on a batch in training; what enters the loss."""
        raise NotImplementedError

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """Run on a batch at prediction."""
        raise NotImplementedError


class DenseStep(Step):
    """A head over a grid of candidates: every one-stage detector, and with proposals the RPN.

    Args:
        name: see ``Step``.
        head: its head takes pyramid maps.
        grid: pyramid maps -> candidates of one image.
        coder: of the box deltas.
        assigner: candidates -> ground truths.
        sampler: which candidates enter the loss.
        objective: see ``Step``.
        inside: which candidates take part at all.
        proposals: in training and at prediction, how many boxes become RoIs of the next step; the
            step then tells objects from background, whatever their class. None: no proposals.
        weight: see ``Step``.
    """

    kind = "dense"

    def __init__(
        self,
        name: str,
        head: str,
        grid: AnchorGrid,
        coder: BoxCoder,
        assigner: Assigner,
        sampler: Sampler,
        objective: Objective,
        *,
        inside: InsideRule,
        proposals: tuple[ProposalSettings, ProposalSettings] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, objective, weight)
        self.grid, self.coder = grid, coder
        self.assigner, self.sampler, self.inside = assigner, sampler, inside
        self.proposals = proposals
        if proposals is not None:
            self.kind = "proposals"

    def run(self, flow: Flow, heads: Heads) -> tuple[Predictions, Candidates]:
        """The head's predictions for every candidate of the batch."""
        boxes, level_sizes = self.grid(flow.maps)
        return heads[self.head](flow.maps), repeat_candidates(boxes, level_sizes, len(flow.sizes))

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """See ``Step``."""
        predictions, candidates = self.run(flow, heads)
        if self.proposals is not None:
            truths = truths._replace(labels=torch.ones_like(truths.labels))
        matched = partial(Matched, predictions, candidates, truths, coder=self.coder)
        one_image = candidates.boxes[: candidates.counts[0]]
        level_sizes = candidates.level_sizes
        assert level_sizes is not None
        matches = match(
            self.assigner,
            self.sampler,
            candidates,
            truths,
            rngs,
            costs=lambda some: self.objective.costs(matched(some)),
            inside=[
                self.inside(one_image, level_sizes, size, flow.canvas) for size in truths.sizes
            ],
        )
        if self.proposals is not None:
            flow.rois = select_proposals(
                predictions, candidates, flow.sizes, self.coder, self.proposals[0]
            )
        return matched(matches)

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """See ``Step``."""
        predictions, candidates = self.run(flow, heads)
        if self.proposals is None:
            flow.last = predictions, candidates
        else:
            flow.rois = select_proposals(
                predictions, candidates, flow.sizes, self.coder, self.proposals[1]
            )


class BoxStep(Step):
    """One classification and refinement of the RoIs (Fast R-CNN's head, a stage of Cascade R-CNN).

    Args:
        name: see ``Step``.
        head: its head takes pooled RoIs.
        rois: what a step trains on, from proposals or the RoIs that the step before has refined.
        pooling: RoIs -> features.
        coder: of the box deltas.
        assigner: RoIs -> ground truths, at this step's IoU threshold.
        sampler: which RoIs enter the loss.
        objective: see ``Step``.
        iou: that threshold, for the source of the RoIs.
        refines: whether a later step reads the refined RoIs.
        weight: see ``Step``.
    """

    kind = "box"

    def __init__(
        self,
        name: str,
        head: str,
        rois: RoiSource,
        pooling: RoiPooling,
        coder: BoxCoder,
        assigner: Assigner,
        sampler: Sampler,
        objective: Objective,
        *,
        iou: float,
        refines: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, objective, weight)
        self.rois, self.pooling, self.coder = rois, pooling, coder
        self.assigner, self.sampler, self.iou, self.refines = assigner, sampler, iou, refines

    def run(self, flow: Flow, heads: Heads, rois: Candidates) -> Predictions:
        """The head's predictions for some RoIs."""
        return heads[self.head](self.pooling(flow, rois))

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """See ``Step``."""
        assert flow.rois is not None
        rois, from_proposals = self._training_rois(flow.rois, truths, rngs)

        def costs(some: Matches) -> Tensor:
            taken = _take(rois, some.rows)
            places = torch.arange(len(some.rows), device=some.rows.device)
            return self.objective.costs(
                Matched(
                    self.run(flow, heads, taken),
                    taken,
                    truths,
                    some.at(places),
                    self.coder,
                    taken=True,
                )
            )

        matches = match(self.assigner, self.sampler, rois, truths, rngs, torch.no_grad()(costs))
        taken = _take(rois, matches.rows)
        predictions = self.run(flow, heads, taken)
        places = torch.arange(len(matches.rows), device=matches.rows.device)
        matched = Matched(
            predictions, taken, truths, matches.at(places), self.coder, taken=True
        )
        if self.refines:
            kept = from_proposals[matches.rows].nonzero().squeeze(1)
            refined = self.refine(predictions, taken, matched.labels, flow)
            image = refined.image[kept]
            counts = torch.bincount(image, minlength=len(flow.sizes)).tolist()
            flow.rois = Candidates(refined.boxes[kept], image, tuple(counts))
        return matched

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """See ``Step``."""
        assert flow.rois is not None
        predictions = self.run(flow, heads, flow.rois)
        assert predictions.logits is not None
        flow.logits.append(predictions.logits)
        flow.last = predictions, flow.rois
        if self.refines:
            labels = torch.zeros_like(flow.rois.image)
            flow.rois = self.refine(predictions, flow.rois, labels, flow)

    @torch.no_grad()
    def refine(
        self, predictions: Predictions, rois: Candidates, labels: Tensor, flow: Flow
    ) -> Candidates:
        """The decoded RoIs; those of label 0 by the deltas of their best-scored class."""
        assert predictions.logits is not None and predictions.deltas is not None
        best = self.objective.scores(predictions.logits).argmax(dim=1) + 1
        deltas = of_class(predictions.deltas, torch.where(labels > 0, labels, best))
        boxes = self.coder.decode(deltas, rois.boxes)
        return rois._replace(boxes=clip_to_images(boxes, rois.image, flow.sizes))

    def _training_rois(
        self, proposals: Candidates, truths: Truths, rngs: Sequence[torch.Generator]
    ) -> tuple[Candidates, Tensor]:
        """RoIs to train on, and [N] bool which of them may go on to the next step."""
        boxes, are_proposals = [], []
        for image, of_image in enumerate(proposals.boxes.split(list(proposals.counts))):
            start = truths.starts[image]
            own = slice(start, start + truths.counts[image])
            target = {
                "boxes": truths.boxes[own],
                "labels": truths.labels[own],
                "image_size": truths.sizes[image],
            }
            source = self.rois(of_image, target, rng=rngs[image], iou=self.iou)
            boxes.append(source.boxes)
            place = torch.arange(len(source.boxes), device=source.boxes.device)
            are_proposals.append(place < source.num_proposals)
        return make_candidates(boxes), torch.cat(are_proposals)


def _take(candidates: Candidates, rows: Tensor) -> Candidates:
    """Some candidates, images still in order; how many each image has is not known."""
    return Candidates(candidates.boxes[rows], candidates.image[rows], ())


