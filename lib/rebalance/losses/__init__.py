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
from rebalance.losses.balancing import (
    INSTANCE_WEIGHTS,
    EpochBalance,
    Positives,
    constant_weight,
    guided_weight,
    magnitude_weight,
    value_weight,
    weighted_mean,
)
from rebalance.losses.classification import (
    focal_loss,
    ghm_c_loss,
    quality_focal_loss,
    sigmoid_cross_entropy_loss,
    softmax_cross_entropy_loss,
)
from rebalance.losses.mask import dice_loss, mask_cross_entropy_loss
from rebalance.losses.ranking import alrp_loss, ap_loss, rank_sort_loss, ranking_weights
from rebalance.losses.regression import (
    balanced_l1_loss,
    bounded_iou_loss,
    carl_loss,
    ciou_loss,
    diou_loss,
    eiou_loss,
    focal_eiou_loss,
    focal_eiou_normaliser,
    focal_eiou_star_loss,
    focal_eiou_v1_loss,
    focal_l1_loss,
    ggiou_balanced_loss,
    giou_loss,
    iou_balanced_loss,
    iou_loss,
    kl_loss,
    l1_loss,
    normalised_focal_eiou_loss,
    smooth_l1_loss,
)
from rebalance.losses.weighting import carl_weights, ghm_weights, pisa_weights


@dataclass(frozen=True)
class Loss:
    """An entry of ``LOSSES``.

    Attributes:
        function: the loss; its keyword parameters (but ``reduction``) are the options.
        takes: its inputs, see ``TAKES``.
        normaliser: of the same inputs and the loss's options; what divides the summed loss in place
            of the number of positives.
    """

    function: Callable[..., Any]
    takes: str
    normaliser: Callable[..., Any] | None = None


TAKES = {
    "box_deltas": "pred, target: encoded deltas [N, 4]; elementwise",
    "boxes": "pred, target: decoded boxes [N, 4]; [N]",
    "box_deltas_and_boxes": "pred, target deltas, then pred, target boxes; elementwise",
    "box_deltas_and_scores": "pred, target deltas, probabilities [N] of the classes; elementwise",
    "box_deltas_and_log_variances": "pred, target deltas, ln(sigma^2) [N, 4]; elementwise",
    "logits": "sigmoid logits, targets of one shape; elementwise",
    "softmax_logits": "logits [N, C + 1], labels [N]; [N]",
    "ranking": "all logits [n] of a batch, targets [n]; a scalar, or a named tuple led by one",
    "ranking_and_boxes": "logits [n], targets [n], localisation errors [P]; a named tuple",
    "mask": "mask logits, targets [N, H, W]; [N]",
}
"""What ``Loss.takes`` may say -> the inputs, and the shape that comes out (unreduced)."""

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
    "bounded_iou": Loss(bounded_iou_loss, takes="boxes"),
    # on encoded deltas and something else
    "kl": Loss(kl_loss, takes="box_deltas_and_log_variances"),
    "iou_balanced": Loss(iou_balanced_loss, takes="box_deltas_and_boxes"),
    "ggiou_balanced": Loss(ggiou_balanced_loss, takes="box_deltas_and_boxes"),
    "carl": Loss(carl_loss, takes="box_deltas_and_scores"),
    # classification, one logit at a time
    "sigmoid_cross_entropy": Loss(sigmoid_cross_entropy_loss, takes="logits"),
    "focal": Loss(focal_loss, takes="logits"),
    "quality_focal": Loss(quality_focal_loss, takes="logits"),
    "ghm_c": Loss(ghm_c_loss, takes="logits"),
    "softmax_cross_entropy": Loss(softmax_cross_entropy_loss, takes="softmax_logits"),
    # classification, all logits of a batch at once
    "ap": Loss(ap_loss, takes="ranking"),
    "rank_sort": Loss(rank_sort_loss, takes="ranking"),
    "alrp": Loss(alrp_loss, takes="ranking_and_boxes"),
    # masks
    "mask_cross_entropy": Loss(mask_cross_entropy_loss, takes="mask"),
    "dice": Loss(dice_loss, takes="mask"),
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
    "INSTANCE_WEIGHTS",
    "LOSSES",
    "TAKES",
    "BoundLoss",
    "EpochBalance",
    "Loss",
    "Positives",
    "alrp_loss",
    "ap_loss",
    "balanced_l1_loss",
    "bounded_iou_loss",
    "carl_loss",
    "carl_weights",
    "ciou_loss",
    "constant_weight",
    "dice_loss",
    "diou_loss",
    "eiou_loss",
    "focal_eiou_loss",
    "focal_eiou_normaliser",
    "focal_eiou_star_loss",
    "focal_eiou_v1_loss",
    "focal_l1_loss",
    "focal_loss",
    "ggiou",
    "ggiou_balanced_loss",
    "ghm_c_loss",
    "ghm_weights",
    "giou_loss",
    "guided_weight",
    "iou_balanced_loss",
    "iou_loss",
    "kl_loss",
    "l1_loss",
    "magnitude_weight",
    "make_loss",
    "mask_cross_entropy_loss",
    "normalised_focal_eiou_loss",
    "pairwise_ggiou",
    "pisa_weights",
    "quality_focal_loss",
    "rank_sort_loss",
    "ranking_weights",
    "sigmoid_cross_entropy_loss",
    "smooth_l1_loss",
    "softmax_cross_entropy_loss",
    "value_weight",
    "weighted_mean",
]
