"""What every objective offers to the steps."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rebalance.detectors.types import Matched
from rebalance.losses import BoundLoss

T = TypeVar("T")
NOTHING: Mapping[str, str] = MappingProxyType({})


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
        """Weighted scalar losses by name, each 0 with a gradient where there is nothing.

        Their names end in "_loss"; values of other names are for the log (``is_loss``).
        """
        raise NotImplementedError

    def costs(self, matched: Matched, tasks: Sequence[str] | None = None) -> Tensor:
        """[M] weighted loss of each candidate, detached; for hard mining and PAA.

        Args:
            matched: some candidates.
            tasks: which losses count; None: those of classes and boxes, unless settings say else.
        """
        raise NotImplementedError


def is_loss(name: str) -> bool:
    """Whether a value of that name is summed in training; others are only logged."""
    return name.endswith("_loss")


def total_loss(values: Mapping[str, Tensor]) -> Tensor:
    """The sum of the losses among them, a scalar."""
    return torch.stack([value for name, value in values.items() if is_loss(name)]).sum()


def order_of_tasks(terms: Mapping[str, T]) -> dict[str, T]:
    """Sorted, classes and boxes first: one order, however the settings were written.

    It decides the columns of the log.
    """
    first = {"class": 0, "box": 1}
    return dict(sorted(terms.items(), key=lambda term: (first.get(term[0], 2), term[0])))


def evaluate(
    loss: BoundLoss, matched: Matched, task: str = "class", renamed: Mapping[str, str] = NOTHING
) -> Any:
    """A loss of the inputs that its signature names, see ``inputs_of``."""
    return loss(*inputs_of(loss, matched, task, renamed))


def inputs_of(
    loss: BoundLoss, matched: Matched, task: str = "class", renamed: Mapping[str, str] = NOTHING
) -> list[Tensor]:
    """The properties of ``matched`` that a loss takes, others in place of those ``renamed``.

    For a task beside classes and boxes, what the loss calls logits is the head's output of the
    task's name, and its targets are ``<task>_targets``: "centerness", "iou".
    """
    own = {} if task in ("class", "box") else {"logits": task, "targets": f"{task}_targets"}
    names = {**own, **renamed}
    return [getattr(matched, names.get(name, name)) for name in loss.inputs]


def is_softmax(loss: BoundLoss) -> bool:
    """Softmax losses compare the logits with labels, sigmoid losses with targets."""
    return "labels" in loss.inputs


def row_sums(losses: Tensor) -> Tensor:
    """[R] or [R, ...] -> [R]."""
    return losses if losses.dim() == 1 else losses.flatten(1).sum(dim=1)
