"""What travels from step to step within one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rebalance.detectors.types import Candidates, Matched, Predictions, Size


@dataclass
class Flow:
    """State of one pass; each step reads what it needs and leaves what the next ones need.

    Attributes:
        maps: pyramid maps [B, C, h, w], finest first.
        strides: pixels per cell of each.
        canvas: (height, width) that all images are padded to.
        sizes: of each image.
        rois: RoIs for the next step, from proposals or from the refinement of the last step.
        trained: of each training step so far, what it trained on and its losses.
        logits: of each box step at prediction, [R, columns], for the mean over the steps.
        last: what the final selection reads: the last step's predictions and their candidates.
        memory: whatever else two steps agree on, by name.
    """

    maps: Sequence[Tensor]
    strides: Sequence[int]
    canvas: Size
    sizes: list[Size]
    rois: Candidates | None = None
    trained: list[tuple[Matched, dict[str, Tensor]]] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    last: tuple[Predictions, Candidates] | None = None
    memory: dict[str, list[Tensor]] = field(default_factory=dict)
