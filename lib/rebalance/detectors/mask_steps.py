"""Steps whose candidates have masks of the whole canvas: YOLACT's anchors, SOLOv2's cells."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rebalance.assigners.assignment import IGNORED
from rebalance.assigners.grid import GridAssignment, mask_centers
from rebalance.detectors.candidates import DividedCanvas
from rebalance.detectors.coders import Coder, DeltaCoder
from rebalance.detectors.flow import Detected, Flow
from rebalance.detectors.instance_masks import (
    MaskMatched,
    Owners,
    boxes_around,
    combine,
    cut_to_boxes,
)
from rebalance.detectors.objectives import Objective
from rebalance.detectors.selection import DetectionSettings
from rebalance.detectors.steps import DenseStep, Heads, Step
from rebalance.detectors.types import (
    Candidates,
    Matched,
    Matches,
    Predictions,
    Truths,
    make_candidates,
    repeat_candidates,
)
from rebalance.errors import InputError
from rebalance.rng import uniform

PAIRINGS = ("cells", "published")
MASKS = "canvas_mask_probabilities"


class PrototypeStep(DenseStep):
    """A dense step whose boxes get masks from the image's prototypes (YOLACT).

    Args:
        args: see ``DenseStep``.
        max_masks: positives of an image whose masks enter the loss, drawn at random; None: all.
        options: see ``DenseStep``.
    """

    def __init__(self, *args: Any, max_masks: int | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_masks = max_masks

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> MaskMatched:
        """See ``Step``."""
        matched = super().train_step(flow, truths, rngs, heads)
        places = matched.positives
        if self.max_masks is not None:
            counts = torch.bincount(matched.image[places], minlength=len(rngs)).tolist()
            places = torch.cat(
                [
                    _drawn(part, self.max_masks, rng)
                    for part, rng in zip(places.split(counts), rngs, strict=True)
                ]
            )
        owners = Owners(places, matched.matches.gt[places])
        return MaskMatched(matched, owners, flow.canvas, cut=True, at_half=False)

    def detect_step(self, flow: Flow, heads: Heads, detected: Detected) -> None:
        """Leave the masks of the detections, cut to their boxes, [D, h, w] of the whole canvas."""
        assert flow.last is not None
        _, predictions, _ = flow.last
        image, boxes = detected.candidates.image, detected.candidates.boxes
        coefficients = predictions.extra["coefficients"][detected.rows]
        masks = combine(coefficients, predictions.shared["prototypes"], image).sigmoid()
        detected.extra[MASKS] = [cut_to_boxes(masks, boxes, flow.canvas, 0.0)]


class GridStep(Step):
    """A class and a mask for each cell of a grid, no boxes (SOLOv2).

    Args:
        name: see ``Step``.
        head: its head takes pyramid maps and the numbers of cells.
        grid: the cells.
        assigner: cells -> ground truths, see ``assign_grid``.
        objective: see ``Step``.
        pairing: the order of the masks in the loss, which matters where a loss weighs them (Rank &
            Sort): that of the "cells" whose scores weigh them; or, as "published", on each level of
            an image that of the objects, beside scores in the order of cells, so that weights and
            quality labels go to the wrong cells where the two orders differ. The default is right.
        weight: see ``Step``.
    """

    kind = "dense"
    compares = "masks"

    def __init__(
        self,
        name: str,
        head: str,
        grid: DividedCanvas,
        assigner: Callable[..., GridAssignment],
        objective: Objective,
        *,
        pairing: str = "cells",
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, head, objective, weight)
        if pairing not in PAIRINGS:
            raise InputError(f"pairing must be one of {PAIRINGS}, got {pairing!r}")
        self.grid, self.assigner, self.pairing = grid, assigner, pairing
        self.coder: Coder = DeltaCoder()  # ``Matched`` has one; there are no deltas to decode

    def run(self, flow: Flow, heads: Heads) -> tuple[Predictions, Candidates]:
        """The head's predictions for every cell of the batch."""
        boxes, level_sizes = self.grid(flow.maps)
        predictions = heads[self.head](flow.maps, self.grid.num_cells)
        return predictions, repeat_candidates(boxes, level_sizes, len(flow.sizes))

    def train_step(
        self, flow: Flow, truths: Truths, rngs: Sequence[torch.Generator], heads: Heads
    ) -> MaskMatched:
        """See ``Step``."""
        predictions, candidates = self.run(flow, heads)
        assert truths.masks is not None
        centers = mask_centers(truths.masks)
        taken, owners = list[Matches](), list[Owners]()
        place = 0
        for image, start in enumerate(candidates.starts):
            own = slice(start, start + candidates.counts[image])
            first_gt = truths.starts[image]
            own_gt = slice(first_gt, first_gt + truths.counts[image])
            found = self.assigner(
                candidates.boxes[own],
                truths.boxes[own_gt],
                truths.labels[own_gt],
                gt_centers=centers[own_gt],
                level_sizes=candidates.level_sizes,
                canvas=flow.canvas,
                ignored_boxes=truths.ignored[image],
                image=truths.ids[image],
                validate=False,
            )
            of_cell, overlaps = found.assignment[:2]
            rows = (of_cell != IGNORED).nonzero().squeeze(1)
            gt = of_cell[rows]
            taken.append(
                Matches(rows + start, torch.where(gt >= 0, gt + first_gt, -1), overlaps[rows])
            )
            cells, gt = found.cells, found.gt_idxs
            if self.pairing == "cells":
                order = cells.argsort(stable=True)
                cells, gt = cells[order], gt[order]
            owners.append(Owners(torch.searchsorted(rows, cells) + place, gt + first_gt))
            place += len(rows)
        matches = Matches(*(torch.cat(parts) for parts in zip(*taken, strict=True)))
        matched = Matched(predictions, candidates, truths, matches, self.coder)
        pairs = Owners(*(torch.cat(parts) for parts in zip(*owners, strict=True)))
        return MaskMatched(matched, pairs, flow.canvas, cut=False, at_half=True)

    def predict_step(self, flow: Flow, heads: Heads) -> None:
        """See ``Step``."""
        flow.last = self, *self.run(flow, heads)

    def select(self, flows: Sequence[Flow], settings: DetectionSettings) -> Detected:
        """Detections by their masks, of one pass; a box is the smallest around its mask.

        A cell's class counts where no neighbour above or left of it says more (SOLOv2's code), and
        its score is multiplied by the mean probability within the mask. Masks must have more cells
        than the level's stride has pixels, as published.
        """
        (flow,) = flows
        assert flow.last is not None
        _, predictions, candidates = flow.last
        assert predictions.logits is not None
        assert candidates.level_sizes is not None
        scores = self.objective.scores(predictions.logits)
        scores = scores.unflatten(0, (len(candidates.counts), -1))
        scores = torch.cat(
            [
                _local_maxima(level, num)
                for level, num in zip(
                    scores.split(list(candidates.level_sizes), dim=1),
                    self.grid.num_cells,
                    strict=True,
                )
            ],
            dim=1,
        )
        least = scores.new_tensor([flow.strides[1], *flow.strides[1:-1], flow.strides[-2]])
        least = least.repeat_interleave(torch.tensor(candidates.level_sizes, device=least.device))
        coefficients = predictions.extra["coefficients"].unflatten(0, scores.shape[:2])
        prototypes = predictions.shared["prototypes"]
        rows, labels, kept_scores, masks, boxes = [], [], [], [], []
        for image, of_image in enumerate(scores):
            cells, columns = (of_image > settings.score_threshold).nonzero(as_tuple=True)
            probabilities = combine(
                coefficients[image, cells], prototypes[image : image + 1], torch.zeros_like(cells)
            ).sigmoid()
            inside = probabilities > settings.mask_threshold
            areas = inside.flatten(1).sum(dim=1)
            large = (areas > least[cells]).nonzero().squeeze(1)
            cells, columns, probabilities = cells[large], columns[large], probabilities[large]
            inside, areas = inside[large], areas[large]
            of_masks = (probabilities * inside).flatten(1).sum(dim=1) / areas
            keep, decayed = settings.suppression(
                inside, of_image[cells, columns] * of_masks, columns
            )
            keep, decayed = keep[: settings.max_detections], decayed[: settings.max_detections]
            rows.append(cells[keep] + candidates.starts[image])
            labels.append(columns[keep] + 1)
            kept_scores.append(decayed)
            masks.append(probabilities[keep])
            boxes.append(
                boxes_around(masks[-1], flow.canvas, flow.sizes[image], settings.mask_threshold)
            )
        return Detected(
            make_candidates(boxes),
            torch.cat(kept_scores),
            torch.cat(labels),
            torch.cat(rows),
            {MASKS: [torch.cat(masks)]},
        )


def _drawn(places: Tensor, num: int, rng: torch.Generator) -> Tensor:
    """Any ``num`` of [P] places, in their order."""
    if len(places) <= num:
        return places
    drawn = uniform((len(places),), rng, places.device).argsort()[:num]
    return places[drawn.sort().values]


def _local_maxima(scores: Tensor, num: int) -> Tensor:
    """[B, n * n, C] scores of a level, 0 where the cell above, left or above left has more."""
    grid = scores.mT.unflatten(2, (num, num))
    best = functional.max_pool2d(grid, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return torch.where(best == grid, grid, 0).flatten(2).mT
