"""What travels from step to step within one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from rebalance.detectors.canvas import Size
from rebalance.detectors.coders import Coder
from rebalance.detectors.objectives import Objective
from rebalance.detectors.select import View
from rebalance.detectors.types import Candidates, Predictions, Trained


class Deciding(Protocol):
    """A step whose predictions become detections."""

    coder: Coder

    @property
    def objective(self) -> Objective:
        """Turns its logits into scores."""

    def select(self, flows: Sequence["Flow"], settings: Any) -> "Detected":
        """Detections of a batch from the predictions that it has left in the flow of each pass.

        ``settings`` are ``DetectionSettings`` of ``selection``, which itself reads the flows.
        """


@dataclass
class Flow:
    """State of one pass; each step reads what it needs and leaves what the next ones need.

    Attributes:
        maps: pyramid maps [B, C, h, w], finest first.
        strides: pixels per cell of each.
        canvas: (height, width) that all images are padded to.
        sizes: of each image.
        view: how this pass sees the images; None: as they are.
        rois: RoIs for the next step, from proposals or from the refinement of the last step.
        refine: makes those of the last step when somebody asks for them.
        trained: of each training step so far, what it trained on and its losses.
        logits: of each box step at prediction, [R, columns], for the mean over the steps.
        last: what the final selection reads: the last step that found boxes, its predictions and
            their candidates.
        mask_heads: names of the mask steps' heads so far.
    """

    maps: Sequence[Tensor]
    strides: Sequence[int]
    canvas: Size
    sizes: list[Size]
    view: View | None = None
    rois: Candidates | None = None
    refine: Callable[[], Candidates] | None = None
    trained: list[Trained] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    last: tuple[Deciding, Predictions, Candidates] | None = None
    mask_heads: list[str] = field(default_factory=list)

    def next_rois(self) -> Candidates:
        """The RoIs for the next step; refined only now, so that the last step's never are."""
        if self.refine is not None:
            self.rois, self.refine = self.refine(), None
        assert self.rois is not None
        return self.rois


@dataclass
class Detected:
    """The selected detections of a batch, and what later steps add to them.

    Attributes:
        candidates: their boxes, images in order, falling scores within each.
        scores: [D].
        labels: [D] int64, 1 ... C.
        rows: [D] int64, which of the flow's last candidates each of them was.
        extra: by name, one entry per step that gives it: "mask_probabilities" [D, h, w], ...
        masks: what the last mask step's head has predicted for them.
    """

    candidates: Candidates
    scores: Tensor
    labels: Tensor
    rows: Tensor
    extra: dict[str, list[Tensor]] = field(default_factory=dict)
    masks: Predictions | None = None
