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
from rebalance.detectors.candidates import Grid
from rebalance.detectors.coders import Coder, DeltaCoder, clip_boxes
from rebalance.detectors.dynamic import Dynamic
from rebalance.detectors.flow import Detected, Flow
from rebalance.detectors.inside import InsideRule
from rebalance.detectors.mask_ious import BINARISED, mask_iou_targets
from rebalance.detectors.matching import match
from rebalance.detectors.objectives import Objective
from rebalance.detectors.pooling import Pooling
from rebalance.detectors.proposals import ProposalSettings, propose
from rebalance.detectors.roi_sources import RoiSource
from rebalance.detectors.selection import DetectionSettings, select_detections
from rebalance.detectors.types import (
    Candidates,
    Matched,
    Matches,
    Predictions,
    SoftMatched,
    Truths,
    count_each,
    make_candidates,
    of_class,
    repeat_candidates,
    sizes_on,
)
from rebalance.errors import InputError
from rebalance.samplers import Sampler

MASK_TARGETS: dict[str, type[Matched]] = {"binary": Matched, "soft": SoftMatched}
MASKS_IN_BOXES = "mask_probabilities"
INFORMATION_FLOWS = ("none", "in_prediction", "always")
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
    """What it trains: "proposals", "dense", "box", "mask", "mask_iou"."""
    iou: float | None = None
    """Least IoU of its positives, where its kind has one."""
    compares: str = "boxes"
    """What its detections are suppressed by: "boxes" or "masks"."""

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
        """Run on a batch at prediction, before detections are selected."""

    def select(self, flows: Sequence[Flow], settings: DetectionSettings) -> Detected:
        """Detections of a batch, where this step was the last to leave predictions in each pass."""
        return select_detections(flows, settings)

    def detect_step(self, flow: Flow, heads: Heads, detected: Detected) -> None:
        """Add to what is known of the selected detections: masks, their scores."""


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
        costs: tasks whose losses an assigner or sampler that chooses by loss reads; None: classes
            and boxes. SSD mines negatives by classes alone.
        weight: see ``Step``.
    """

    kind = "dense"

    def __init__(
        self,
        name: str,
        head: str,
        grid: Grid,
        coder: Coder,
        assigner: Assigner,
        sampler: Sampler,
        objective: Objective,
        *,
        inside: InsideRule,
        proposals: tuple[ProposalSettings, ProposalSettings] | None = None,
        costs: Sequence[str] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, objective, weight)
        self.grid, self.coder, self.costs = grid, coder, costs
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
            costs=lambda some: self.objective.costs(matched(some), self.costs),
            inside=[
                self.inside(one_image, level_sizes, size, flow.canvas) for size in truths.sizes
            ],
        )
        if self.proposals is not None:
            flow.rois = propose(predictions, candidates, flow.sizes, self.coder, self.proposals[0])
        return matched(matches)

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """See ``Step``."""
        predictions, candidates = self.run(flow, heads)
        if self.proposals is None:
            flow.last = self, predictions, candidates
        else:
            flow.rois = propose(predictions, candidates, flow.sizes, self.coder, self.proposals[1])


class RoiStep(Step):
    """Base of the steps that pool RoIs.

    Args:
        name: see ``Step``.
        head: its head takes pooled RoIs.
        pooling: RoIs -> features. One with parameters belongs to the detector, as heads do, for
            steps that share a head share its pooling.
        objective: see ``Step``.
        weight: see ``Step``.
    """

    def __init__(
        self, name: str, head: str, pooling: Pooling, objective: Objective, weight: float = 1.0
    ) -> None:
        super().__init__(name, head, objective, weight)
        self._pooling = (pooling,)  # in a tuple, so that it does not become a part of this step

    @property
    def pooling(self) -> Pooling:
        """RoIs -> features."""
        return self._pooling[0]


class BoxStep(RoiStep):
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
        dynamic: lets that threshold follow the training, and gives losses a "smooth_l1_beta".
        weight: see ``Step``.
    """

    kind = "box"

    def __init__(
        self,
        name: str,
        head: str,
        rois: RoiSource,
        pooling: Pooling,
        coder: Coder,
        assigner: Assigner,
        sampler: Sampler,
        objective: Objective,
        *,
        iou: float,
        dynamic: Dynamic | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, pooling, objective, weight)
        self.rois, self.coder = rois, coder
        self.assigner, self.sampler, self.iou = assigner, sampler, iou
        self.dynamic = dynamic

    def run(self, flow: Flow, heads: Heads, rois: Candidates) -> Predictions:
        """The head's predictions for some RoIs."""
        return heads[self.head](self.pooling(flow, rois))

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """See ``Step``."""
        rois, from_proposals, matches = self.assign(flow, truths, rngs, heads)
        taken = _take(rois, matches.rows)
        predictions = self.run(flow, heads, taken)
        places = torch.arange(len(matches.rows), device=matches.rows.device)
        given = {} if self.dynamic is None else {"smooth_l1_beta": self.dynamic.beta}
        matched = Matched(
            predictions, taken, truths, matches.at(places), self.coder, taken=True, given=given
        )
        if self.dynamic is not None and self.training:
            self.dynamic.observe(rois, truths, matched.target_deltas)

        def refined() -> Candidates:
            boxes = self.refine(predictions, taken, matched.labels, flow).boxes
            kept = from_proposals[matches.rows].nonzero().squeeze(1)
            image = taken.image[kept]
            return Candidates(boxes[kept], image, count_each(image, len(flow.sizes)))

        flow.refine = refined
        return matched

    def assign(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> tuple[Candidates, Tensor, Matches]:
        """The flow's RoIs and the source's own, which of them are proposals, and their matches."""
        rois, from_proposals, truths_last = self._training_rois(flow.next_rois(), truths, rngs)

        @torch.no_grad()
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

        assigner = self.assigner
        if self.dynamic is not None:
            iou = self.dynamic.iou
            assigner = partial(assigner, positive_iou=iou, negative_iou=iou)
        matches = match(assigner, self.sampler, rois, truths, rngs, costs, truths_last=truths_last)
        return rois, from_proposals, matches

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """See ``Step``."""
        rois = flow.next_rois()
        predictions = self.run(flow, heads, rois)
        assert predictions.logits is not None
        flow.logits.append(predictions.logits)
        flow.last = self, predictions, rois
        flow.refine = partial(self.refine, predictions, rois, torch.zeros_like(rois.image), flow)

    @torch.no_grad()
    def refine(
        self, predictions: Predictions, rois: Candidates, labels: Tensor, flow: Flow
    ) -> Candidates:
        """The decoded RoIs; those of label 0 by the deltas of their best-scored class."""
        assert predictions.logits is not None
        assert predictions.deltas is not None
        best = self.objective.scores(predictions.logits).argmax(dim=1) + 1
        deltas = of_class(predictions.deltas, torch.where(labels > 0, labels, best))
        boxes = self.coder.decode(deltas, rois.boxes)
        return rois._replace(
            boxes=clip_boxes(boxes, sizes_on(flow.sizes, boxes.device)[rois.image])
        )

    def _training_rois(
        self, proposals: Candidates, truths: Truths, rngs: Sequence[torch.Generator]
    ) -> tuple[Candidates, Tensor, bool]:
        """RoIs to train on, [N] bool which are proposals, and whether the others are the truths."""
        boxes, are_proposals, truths_last = [], [], False
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
            truths_last = source.has_truths
        return make_candidates(boxes), torch.cat(are_proposals), truths_last


class MaskStep(RoiStep):
    """Masks of the positives (Mask R-CNN, He et al., ICCV 2017; HTC, Chen et al., CVPR 2019).

    Args:
        name: see ``Step``.
        head: its head takes pooled RoIs and the mask features of the step before, or None.
        pooling: see ``RoiStep``.
        objective: see ``Step``.
        boxes: the box step before, whose coder, assigner, sampler and source of RoIs serve the
            refined RoIs, too.
        refined: train on the boxes that the step before has refined, assigned anew (interleaved
            execution); False: on the RoIs that it was trained on.
        information_flow: whether the mask features of the mask steps before go into this step's
            head. "none" keeps them out. "always": in training the heads of the earlier mask steps
            run on this step's RoIs one after the other, as in HTC. "in_prediction" leaves them out
            in training: so the published R3-CNN trains its 1x1 convolution on zeros, and first
            gives it features at prediction. "always" mends that.
        targets: "binary" masks, as Mask R-CNN defines them and mmdetection makes them, or "soft"
            ones, as torchvision does.
        weight: see ``Step``.
    """

    kind = "mask"

    def __init__(
        self,
        name: str,
        head: str,
        pooling: Pooling,
        objective: Objective,
        *,
        boxes: BoxStep,
        refined: bool = False,
        information_flow: str = "none",
        targets: str = "binary",
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, pooling, objective, weight)
        if targets not in MASK_TARGETS:
            raise InputError(
                f"targets of a mask step must be one of {list(MASK_TARGETS)}, got {targets!r}"
            )
        self.matched = MASK_TARGETS[targets]
        if information_flow not in INFORMATION_FLOWS:
            raise InputError(
                f"information_flow must be one of {INFORMATION_FLOWS}, got {information_flow!r}"
            )
        self.refined, self.information_flow = refined, information_flow
        self.assign_refined = boxes.assign

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """See ``Step``; every match is a positive."""
        of_boxes = None
        if self.refined:
            rois, _, matches = self.assign_refined(flow, truths, rngs, heads)
        else:
            of_boxes = flow.trained[-1]
            rois, matches = of_boxes.matched.candidates, of_boxes.matched.matches
        positives = (matches.gt >= 0).nonzero().squeeze(1)
        taken = _take(rois, matches.rows[positives])
        places = torch.arange(len(positives), device=positives.device)
        own = Matches(places, matches.gt[positives], matches.ious[positives])
        pooled, feature = self.pooling(flow, taken), None
        if self.information_flow == "always":
            for earlier in flow.mask_heads:
                feature = heads[earlier](pooled, feature).extra["mask_feature"]
        flow.mask_heads.append(self.head)
        predictions = heads[self.head](pooled, feature)
        return self.matched(
            predictions, taken, truths, own, DeltaCoder(), taken=True, of_boxes=of_boxes
        )

    def detect_step(self, flow: Flow, heads: Heads, detected: Detected) -> None:
        """Leave the probabilities of the detected classes, [D, h, w]."""
        feature = None
        if self.information_flow != "none" and detected.masks is not None:
            feature = detected.masks.extra["mask_feature"]
        detected.masks = heads[self.head](self.pooling(flow, detected.candidates), feature)
        logits = of_class(detected.masks.extra["mask_logits"], detected.labels)
        detected.extra.setdefault(MASKS_IN_BOXES, []).append(logits.sigmoid())


class MaskIouStep(Step):
    """How good the last mask step's masks are (Mask Scoring R-CNN, Huang et al., CVPR 2019).

    The score of a mask is its box's score times the predicted IoU.

    Args:
        name: see ``Step``.
        head: its head takes the RoI features of the mask step before and its mask logits [R, h, w].
        objective: see ``Step``.
        binarised: when a predicted pixel counts as one of the object in the IoU that is learnt:
            where its "probability" exceeds one half, which is when it counts at prediction. The
            published code compares the "logit" with 0.5, hence the probability with 0.62, and so
            learns the IoU of smaller masks than those that it scores.
        weight: see ``Step``.
    """

    kind = "mask_iou"

    def __init__(
        self,
        name: str,
        head: str,
        objective: Objective,
        *,
        binarised: str = "probability",
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, objective, weight)
        if binarised not in BINARISED:
            raise InputError(f"binarised must be one of {list(BINARISED)}, got {binarised!r}")
        self.binarised = binarised

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> Matched:
        """See ``Step``; on the positives of the mask step before."""
        masks = flow.trained[-1][0]
        logits = masks.mask_logits
        predictions = heads[self.head](masks.predictions.extra["roi_feature"], logits)
        targets = mask_iou_targets(
            logits.detach() > BINARISED[self.binarised],
            masks.mask_targets,
            masks.reference_boxes,
            masks.gt,
            truths,
        )
        return Matched(
            predictions,
            masks.candidates,
            truths,
            masks.matches,
            masks.coder,
            taken=True,
            given={"mask_iou_targets": targets},
        )

    def detect_step(self, flow: Flow, heads: Heads, detected: Detected) -> None:
        """Leave the scores of the masks, [D]."""
        assert detected.masks is not None
        logits = of_class(detected.masks.extra["mask_logits"], detected.labels)
        predictions = heads[self.head](detected.masks.extra["roi_feature"], logits)
        ious = of_class(predictions.extra["mask_ious"], detected.labels)
        detected.extra["mask_scores"] = [detected.scores * ious]


def _take(candidates: Candidates, rows: Tensor) -> Candidates:
    """Some candidates, images still in order; how many each image has is not known."""
    return Candidates(candidates.boxes[rows], candidates.image[rows], ())
