"""The one place that turns a head's predictions into what a loss takes, and sums the losses.

A loss says by ``takes`` what it wants: encoded deltas or decoded boxes, sigmoid or softmax logits.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rebalance.detectors.box_coder import BoxCoder
from rebalance.distributed import world_mean, world_size
from rebalance.errors import InputError
from rebalance.losses import BoundLoss, make_loss

SMALLEST_NORMALISER = 1e-6


class ClassInterface(NamedTuple):
    """How logits are laid out for a kind of classification loss.

    Attributes:
        extra_columns: columns beyond one per class.
        targets: (labels [N], number of columns) -> what the loss compares the logits with.
        scores: logits [..., columns] -> [..., C] scores of the classes 1 ... C.
    """

    extra_columns: int
    targets: Callable[[Tensor, int], Tensor]
    scores: Callable[[Tensor], Tensor]


def one_hot(labels: Tensor, num_columns: int) -> Tensor:
    """[N] labels (0: background) -> [N, C] float; background rows are zero."""
    columns = torch.arange(1, num_columns + 1, device=labels.device)
    return (labels[:, None] == columns).float()


CLASS_INTERFACES = {
    "logits": ClassInterface(0, one_hot, torch.sigmoid),
    "softmax_logits": ClassInterface(
        1, lambda labels, _: labels, lambda logits: logits.softmax(dim=-1)[..., 1:]
    ),
}

BOX_INTERFACES: dict[str, Callable[[BoxCoder, Tensor, Tensor, Tensor], tuple[Tensor, ...]]] = {
    "box_deltas": lambda coder, deltas, references, boxes: (
        deltas,
        coder.encode(boxes, references),
    ),
    "boxes": lambda coder, deltas, references, boxes: (coder.decode(deltas, references), boxes),
    "box_deltas_and_boxes": lambda coder, deltas, references, boxes: (
        deltas,
        coder.encode(boxes, references),
        coder.decode(deltas, references),
        boxes,
    ),
}


class Criterion:
    """Classification and localisation loss of one head.

    Both are sums over the global batch, divided by the number of positives or of sampled candidates
    (at least 1), or by the loss's own normaliser where it has one (Eq. 11 of focal_eiou), times the
    weight.

    Args:
        class_loss: takes "logits" or "softmax_logits".
        box_loss: takes "box_deltas", "boxes" or "box_deltas_and_boxes".
        coder: of the deltas.
        class_weight: factor of the classification loss.
        box_weight: factor of the localisation loss.
        average_over: "positives" (dense family) or "sampled" (RPN and stages).

    Raises:
        InputError: a loss that takes something else.
    """

    def __init__(
        self,
        class_loss: BoundLoss,
        box_loss: BoundLoss,
        coder: BoxCoder,
        class_weight: float = 1.0,
        box_weight: float = 1.0,
        average_over: str = "positives",
    ) -> None:
        _check_takes("class_loss", class_loss, CLASS_INTERFACES)
        _check_takes("box_loss", box_loss, BOX_INTERFACES)
        if average_over not in ("positives", "sampled"):
            raise ValueError(
                f"average_over must be one of ('positives', 'sampled'), got {average_over!r}"
            )
        self.class_loss, self.class_weight = class_loss, class_weight
        self.box_loss, self.box_weight = box_loss, box_weight
        self.classes = CLASS_INTERFACES[class_loss.takes]
        self.box_inputs = BOX_INTERFACES[box_loss.takes]
        self.coder = coder
        self.average_over = average_over

    def __call__(
        self, logits: Tensor, labels: Tensor, deltas: Tensor, references: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weighted scalar losses, 0 (with a gradient) where there is nothing.

        Args:
            logits: [N, columns] of the sampled candidates.
            labels: [N] int64, 0 for negatives.
            deltas: [P, 4] of the positives.
            references: [P, 4] xyxy, the boxes that the deltas refer to.
            boxes: [P, 4] xyxy, ground truth of the positives.
        """
        count = len(deltas) if self.average_over == "positives" else len(logits)
        shared = world_mean(logits.new_tensor(float(count))).clamp(min=1 / world_size())
        class_sum = self.class_loss(logits, self.classes.targets(labels, logits.shape[1])).sum()
        box_inputs = self.box_inputs(self.coder, deltas, references, boxes)
        box_sum = self.box_loss(*box_inputs).sum()
        normaliser = shared
        if self.box_loss.normaliser is not None:
            own = world_mean(self.box_loss.normaliser(*box_inputs))
            normaliser = own.clamp(min=SMALLEST_NORMALISER)
        return class_sum / shared * self.class_weight, box_sum / normaliser * self.box_weight

    @torch.no_grad()
    def of_each(
        self, logits: Tensor, labels: Tensor, deltas: Tensor, references: Tensor, boxes: Tensor
    ) -> Tensor:
        """[N] weighted loss of each candidate: its class loss, and for positives its box loss.

        Args as for calling, but ``labels`` belong to all N candidates and ``deltas``,
        ``references``, ``boxes`` to the positives among them, in order.
        """
        class_losses = self.class_loss(logits, self.classes.targets(labels, logits.shape[1]))
        losses = _sum_of_row(class_losses) * self.class_weight
        box_losses = self.box_loss(*self.box_inputs(self.coder, deltas, references, boxes))
        losses[labels > 0] += _sum_of_row(box_losses) * self.box_weight
        return losses


def make_criterion(
    class_loss: Mapping[str, Any],
    box_loss: Mapping[str, Any],
    coder: BoxCoder,
    average_over: str,
) -> Criterion:
    """A criterion from settings ``{name, weight, options of the loss}``."""
    return Criterion(
        _bound(class_loss),
        _bound(box_loss),
        coder,
        class_weight=float(class_loss.get("weight", 1.0)),
        box_weight=float(box_loss.get("weight", 1.0)),
        average_over=average_over,
    )


def _bound(settings: Mapping[str, Any]) -> BoundLoss:
    return make_loss(**{key: value for key, value in settings.items() if key != "weight"})


def _sum_of_row(losses: Tensor) -> Tensor:
    """[N] or [N, K] -> [N]."""
    return losses if losses.dim() == 1 else losses.sum(dim=1)


def _check_takes(field: str, loss: BoundLoss, interfaces: Mapping[str, Any]) -> None:
    if loss.takes not in interfaces:
        raise InputError(
            f"{field} must be a loss that takes one of {list(interfaces)}, "
            f"got {loss.name!r}, which takes {loss.takes!r}"
        )
