"""Losses by name.

``LOSSES`` is the one lookup that experiments name; `make_loss` binds a name and its options. The
functions are exported too: ``from rebalance.losses import rank_sort_loss``.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rebalance.boxes import ggiou, pairwise_ggiou
from rebalance.errors import InputError
from rebalance.losses.classification import (
    focal_loss,
    sigmoid_cross_entropy_loss,
    softmax_cross_entropy_loss,
)
from rebalance.losses.ranking import alrp_loss, ap_loss, rank_sort_loss, ranking_weights
from rebalance.losses.regression import (
    balanced_l1_loss,
    ciou_loss,
    diou_loss,
    eiou_loss,
    focal_eiou_loss,
    focal_eiou_normaliser,
    focal_eiou_star_loss,
    focal_eiou_v1_loss,
    focal_l1_loss,
    giou_loss,
    iou_loss,
    l1_loss,
    normalised_focal_eiou_loss,
    smooth_l1_loss,
)


@dataclass(frozen=True)
class Loss:
    """An entry of ``LOSSES``.

    Attributes:
        function: the loss; its keyword parameters (but ``reduction``) are the options.
        takes: what it compares. "box_deltas": encoded deltas [N, 4], elementwise; "boxes": decoded
            boxes [N, 4] -> [N]; "logits": sigmoid logits and targets of one shape, elementwise;
            "softmax_logits": logits [N, C + 1] and labels [N] -> [N]; "ranking": all logits [n] of
            a batch -> named tuple or scalar; "mask": mask logits and targets [N, H, W] -> [N].
        normaliser: of the two inputs and the loss's options; what divides the summed loss in place
            of the number of positives.
    """

    function: Callable[..., Any]
    takes: str
    normaliser: Callable[..., Any] | None = None


LOSSES: dict[str, Loss] = {
    # on encoded deltas
    "l1": Loss(l1_loss, takes="box_deltas"),
    "smooth_l1": Loss(smooth_l1_loss, takes="box_deltas"),
    "balanced_l1": Loss(balanced_l1_loss, takes="box_deltas"),
    "focal_l1": Loss(focal_l1_loss, takes="box_deltas"),
    # on decoded boxes
    "iou": Loss(iou_loss, takes="boxes"),
    "giou": Loss(giou_loss, takes="boxes"),
    "diou": Loss(diou_loss, takes="boxes"),
    "ciou": Loss(ciou_loss, takes="boxes"),
    "eiou": Loss(eiou_loss, takes="boxes"),
    "focal_eiou": Loss(focal_eiou_loss, takes="boxes", normaliser=focal_eiou_normaliser),
    "focal_eiou_v1": Loss(focal_eiou_v1_loss, takes="boxes"),
    "focal_eiou_star": Loss(focal_eiou_star_loss, takes="boxes"),
    # classification, one logit at a time
    "sigmoid_cross_entropy": Loss(sigmoid_cross_entropy_loss, takes="logits"),
    "focal": Loss(focal_loss, takes="logits"),
    "softmax_cross_entropy": Loss(softmax_cross_entropy_loss, takes="softmax_logits"),
    # classification, all logits of a batch at once
    "ap": Loss(ap_loss, takes="ranking"),
    "alrp": Loss(alrp_loss, takes="ranking"),
    "rank_sort": Loss(rank_sort_loss, takes="ranking"),
}


@dataclass(frozen=True)
class BoundLoss:
    """A loss with its options: call it with the two (or more) inputs that ``takes`` names.

    Elementwise losses come unreduced. ``normaliser`` is None or a function of the same inputs.
    """

    name: str
    takes: str
    function: Callable[..., Any]
    normaliser: Callable[..., Any] | None

    def __call__(self, *inputs: Any) -> Any:
        """The loss of the inputs."""
        return self.function(*inputs)


def make_loss(name: str, **options: Any) -> BoundLoss:
    """``LOSSES[name]`` with ``options`` bound.

    Raises:
        InputError: unknown name or option; the message lists what is allowed.
    """
    if name not in LOSSES:
        raise InputError(f"loss must be one of {sorted(LOSSES)}, got {name!r}")
    loss = LOSSES[name]
    parameters = inspect.signature(loss.function).parameters.values()
    allowed = [p.name for p in parameters if p.default is not p.empty and p.name != "reduction"]
    for option in options:
        if option not in allowed:
            raise InputError(f"loss {name!r} has options {allowed}, got {option!r}")
    normaliser = partial(loss.normaliser, **options) if loss.normaliser else None
    return BoundLoss(name, loss.takes, partial(loss.function, **options), normaliser)


__all__ = [
    "LOSSES",
    "BoundLoss",
    "Loss",
    "alrp_loss",
    "ap_loss",
    "balanced_l1_loss",
    "ciou_loss",
    "diou_loss",
    "eiou_loss",
    "focal_eiou_loss",
    "focal_eiou_normaliser",
    "focal_eiou_star_loss",
    "focal_eiou_v1_loss",
    "focal_l1_loss",
    "focal_loss",
    "ggiou",
    "giou_loss",
    "iou_loss",
    "l1_loss",
    "make_loss",
    "normalised_focal_eiou_loss",
    "pairwise_ggiou",
    "rank_sort_loss",
    "ranking_weights",
    "sigmoid_cross_entropy_loss",
    "smooth_l1_loss",
    "softmax_cross_entropy_loss",
]
