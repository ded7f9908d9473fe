"""What every objective offers to the steps."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from rebalance.detectors.types import Matched
from rebalance.losses import BoundLoss


class Objective(nn.Module):
    """Base of all objectives.

    Attributes:
        has_background: whether logits have a column for the background, which comes first
            (softmax), or one sigmoid per class.
    """

    has_background: bool = False

    def scores(self, logits: Tensor) -> Tensor:
        """Logits [..., columns] -> [..., C] scores of the classes 1 ... C."""
        if self.has_background:
            return logits.softmax(dim=-1)[..., 1:]
        return logits.sigmoid()

    def num_columns(self, num_classes: int) -> int:
        """Logits per candidate."""
        return num_classes + int(self.has_background)

    def forward(self, matched: Matched) -> dict[str, Tensor]:
        """Weighted scalar losses by name, each 0 with a gradient where there is nothing."""
        raise NotImplementedError

    def costs(self, matched: Matched, tasks: Sequence[str] | None = None) -> Tensor:
        """[M] weighted loss of each candidate, detached; for hard mining and PAA.

        Args:
            matched: some candidates.
            tasks: which losses count; None: those of classes and boxes, unless settings say else.
        """
        raise NotImplementedError


def evaluate(loss: BoundLoss, matched: Matched, task: str = "class") -> Any:
    """A loss of the inputs that its signature names, see ``inputs_of``."""
    return loss(*inputs_of(loss, matched, task))


def inputs_of(loss: BoundLoss, matched: Matched, task: str = "class") -> list[Tensor]:
    """The properties of ``matched`` that a loss takes.

    For a task beside classes and boxes, what the loss calls logits is the head's output of the
    task's name, and its targets are ``<task>_targets``: "centerness", "iou".
    """
    own = {} if task in ("class", "box") else {"logits": task, "targets": f"{task}_targets"}
    return [getattr(matched, own.get(name, name)) for name in loss.inputs]


def is_softmax(loss: BoundLoss) -> bool:
    """Softmax losses compare the logits with labels, sigmoid losses with targets."""
    return "labels" in loss.inputs


def row_sums(losses: Tensor) -> Tensor:
    """[R] or [R, ...] -> [R]."""
    return losses if losses.dim() == 1 else losses.flatten(1).sum(dim=1)
