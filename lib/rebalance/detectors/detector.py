"""The one loop of all detectors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from rebalance.detectors.canvas import Size
from rebalance.detectors.flow import Detected, Flow
from rebalance.detectors.necks import Neck
from rebalance.detectors.objectives import is_loss
from rebalance.detectors.select import View
from rebalance.detectors.selection import DetectionSettings
from rebalance.detectors.steps import MASKS_IN_BOXES, RoiStep, Step
from rebalance.detectors.types import Candidates, Matched, Trained, make_truths

Detections = dict[str, Tensor]


class Detector(nn.Module):
    """Backbone, neck, named heads and a list of steps.

    Args:
        backbone: images -> maps.
        neck: maps -> pyramid maps; has ``strides``.
        heads: by name.
        steps: in order.
        test: how detections are selected.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: Neck,
        heads: Mapping[str, nn.Module],
        steps: Sequence[Step],
        test: DetectionSettings,
    ) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck
        self.heads = nn.ModuleDict(heads)
        self.steps: Sequence[Step] = nn.ModuleList(steps)  # type: ignore[assignment]
        self.poolings = nn.ModuleDict(
            {
                step.head: step.pooling
                for step in steps
                if isinstance(step, RoiStep) and isinstance(step.pooling, nn.Module)
            }
        )
        self.test = test

    def train_steps(
        self,
        images: Tensor,
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> Iterator[tuple[Step, Matched, dict[str, Tensor]]]:
        """Each step with what it trains on and its weighted losses by name.

        Training sums the losses (``total_loss``); whoever wants to know what a step trains on reads
        the rest. An objective that logs gives further values, see ``is_loss``.

        Args:
            images: [B, 3, H, W], normalised, zero outside each image.
            targets: per image "boxes" [G, 4] xyxy, "labels" [G], "ignored_boxes" [I, 4],
                "image_size" (height, width), "image_id" and, for mask heads, "masks" [G, h, w];
                G and I may be 0.
            rngs: one generator per image.
        """
        flow = self._start(images, [tuple(target["image_size"]) for target in targets])
        truths = make_truths(targets, flow.canvas)
        for step in self.steps:
            matched = step.train_step(flow, truths, rngs, self.heads)
            losses = step.objective(matched)
            flow.trained.append(Trained(matched, losses))
            prefix = f"{step.name}_" if step.name else ""
            yield (
                step,
                matched,
                {
                    prefix + name: value * step.weight if is_loss(name) else value
                    for name, value in losses.items()
                },
            )

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> dict[str, Tensor]:
        """Weighted losses of a batch and what is to be logged; arguments as of ``train_steps``."""
        return {
            name: loss
            for _, _, losses in self.train_steps(images, targets, rngs)
            for name, loss in losses.items()
        }

    @torch.no_grad()
    def predict(self, images: Tensor, image_sizes: Sequence[Size]) -> list[Detections]:
        """Detections of each image; there may be none.

        Args:
            images: [B, 3, H, W], normalised, zero outside each image.
            image_sizes: (height, width) of each.

        Returns:
            Per image "boxes" [D, 4] in pixels of ``images``, "scores" [D] in falling order,
            "labels" [D] in 1 ... C, and of a detector with masks "mask_probabilities" [D, h, w],
            each to be laid over its box, or "canvas_mask_probabilities" [D, h, w], each over the
            canvas.
        """
        sizes, augment = list(image_sizes), self.test.augment
        views = [None] if augment is None else augment.views(sizes)
        flows = [self._see(images, sizes, view) for view in views]
        last = flows[0].last
        assert last is not None
        detected = last[0].select(flows, self.test)
        extras = [self._describe(detected, flow) for flow in flows]
        fields = {
            "boxes": detected.candidates.boxes,
            "scores": detected.scores,
            "labels": detected.labels,
            **{
                name: torch.stack([part for extra in extras for part in extra[name]]).mean(dim=0)
                for name in extras[0]
            },
        }
        counts = list(detected.candidates.counts)
        split = {name: value.split(counts) for name, value in fields.items()}
        return [
            {name: parts[image] for name, parts in split.items()} for image in range(len(counts))
        ]

    def prediction_steps(self) -> list[Step]:
        """The steps that run at prediction; box and mask steps as often as asked."""
        steps = list(self.steps)
        if self.test.loops is None:
            return steps
        starts = [place for place, step in enumerate(steps) if step.kind == "box"]
        end = 1 + max(place for place, step in enumerate(steps) if step.kind in ("box", "mask"))
        loops = [steps[a:b] for a, b in pairwise([*starts, end])]
        repeated = (loops[min(loop, len(loops) - 1)] for loop in range(self.test.loops))
        return [*steps[: starts[0]], *(step for loop in repeated for step in loop), *steps[end:]]

    def _see(self, images: Tensor, sizes: list[Size], view: View | None) -> Flow:
        """One pass over the images, up to the predictions of all steps."""
        if view is None:
            flow = self._start(images, sizes)
        else:
            flow = self._start(view.seen(images), list(view.sizes))
            flow.view = view
        for step in self.prediction_steps():
            step.predict_step(flow, self.heads)
        return flow

    def _describe(self, detected: Detected, flow: Flow) -> dict[str, list[Tensor]]:
        """What the steps of a pass know of the detections of all passes."""
        view = flow.view
        if view is not None:
            boxes, image, counts = detected.candidates[:3]
            seen = Candidates(view.from_original(boxes, image), image, counts)
            detected = replace(detected, candidates=seen, extra={}, masks=None)
        for step in self.prediction_steps():
            step.detect_step(flow, self.heads, detected)
        if view is not None and MASKS_IN_BOXES in detected.extra:
            masks = detected.extra[MASKS_IN_BOXES]
            detected.extra[MASKS_IN_BOXES] = [view.unflipped(part) for part in masks]
        return detected.extra

    def _start(self, images: Tensor, sizes: list[Size]) -> Flow:
        maps = self.neck(self.backbone(images))
        return Flow(maps, self.neck.strides, (images.shape[2], images.shape[3]), sizes)
