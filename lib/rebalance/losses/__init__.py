"""Losses by name.

``LOSSES`` is the one lookup that experiments name; `make_loss` binds a name and its options. The
functions are exported too: ``from rebalance.losses import rank_sort_loss``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rebalance.boxes import ggiou, pairwise_ggiou
from rebalance.errors import InputError
from rebalance.losses.balancing import (
    INSTANCE_WEIGHTS,
    EpochBalance,
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
from rebalance.losses.mask import (
    dice_loss,
    mask_cross_entropy_loss,
    mask_iou_loss,
    mask_iou_normaliser,
    semantic_cross_entropy_loss,
    size_normalised_mask_loss,
)
from rebalance.losses.ranking import alrp_loss, ap_loss, rank_sort_loss, ranking_weights
from rebalance.losses.regression import (
    balanced_l1_loss,
    bounded_iou_loss,
    carl_loss,
    ciou_loss,
    diou_loss,
    dynamic_smooth_l1_loss,
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

LOSSES: dict[str, Callable[..., Any]] = {
    # on encoded deltas
    "l1": l1_loss,
    "smooth_l1": smooth_l1_loss,
    "balanced_l1": balanced_l1_loss,
    "focal_l1": focal_l1_loss,
    # on decoded boxes
    "iou": iou_loss,
    "giou": giou_loss,
    "diou": diou_loss,
    "ciou": ciou_loss,
    "eiou": eiou_loss,
    "focal_eiou": focal_eiou_loss,
    "focal_eiou_v1": focal_eiou_v1_loss,
    "focal_eiou_star": focal_eiou_star_loss,
    "bounded_iou": bounded_iou_loss,
    # on encoded deltas and something else
    "dynamic_smooth_l1": dynamic_smooth_l1_loss,
    "kl": kl_loss,
    "iou_balanced": iou_balanced_loss,
    "ggiou_balanced": ggiou_balanced_loss,
    "carl": carl_loss,
    # classification, one logit at a time
    "sigmoid_cross_entropy": sigmoid_cross_entropy_loss,
    "focal": focal_loss,
    "quality_focal": quality_focal_loss,
    "ghm_c": ghm_c_loss,
    "softmax_cross_entropy": softmax_cross_entropy_loss,
    # classification, all logits of a batch at once
    "ap": ap_loss,
    "rank_sort": rank_sort_loss,
    "alrp": alrp_loss,
    # masks
    "mask_cross_entropy": mask_cross_entropy_loss,
    "size_normalised_mask": size_normalised_mask_loss,
    "semantic_cross_entropy": semantic_cross_entropy_loss,
    "dice": dice_loss,
    "mask_iou": mask_iou_loss,
}

NORMALISERS: dict[str, Callable[..., Any]] = {
    "focal_eiou": focal_eiou_normaliser,
    "mask_iou": mask_iou_normaliser,
}
"""What divides a summed loss in place of the number of positives, same inputs, same options."""


@dataclass(frozen=True)
class BoundLoss:
    """A loss, or instance weights, with their options.

    Attributes:
        name: in ``LOSSES`` or ``INSTANCE_WEIGHTS``.
        inputs: names of its parameters without default: what it takes. Detectors offer their
            predictions and targets under these names (``rebalance.detectors.types.Matched``).
        normaliser: None or a function of the same inputs.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    normaliser: Callable[..., Any] | None

    def __call__(self, *inputs: Any) -> Any:
        """The loss of the inputs; elementwise losses come unreduced."""
        return self.function(*inputs)


def make_loss(name: str, **options: Any) -> BoundLoss:
    """``LOSSES[name]`` with ``options`` bound.

    Raises:
        InputError: unknown name or option; the message lists what is allowed.
    """
    normaliser = partial(NORMALISERS[name], **options) if name in NORMALISERS else None
    return _bind("loss", LOSSES, name, options, normaliser)


def make_instance_weights(name: str, **options: Any) -> BoundLoss:
    """``INSTANCE_WEIGHTS[name]`` with ``options`` bound.

    Raises:
        InputError: unknown name or option; the message lists what is allowed.
    """
    return _bind("instance weights", INSTANCE_WEIGHTS, name, options)


def _bind(
    kind: str,
    table: Mapping[str, Callable[..., Any]],
    name: str,
    options: Mapping[str, Any],
    normaliser: Callable[..., Any] | None = None,
) -> BoundLoss:
    if name not in table:
        raise InputError(f"{kind} must be one of {sorted(table)}, got {name!r}")
    parameters = inspect.signature(table[name]).parameters.values()
    allowed = [p.name for p in parameters if p.default is not p.empty and p.name != "reduction"]
    for option in options:
        if option not in allowed:
            raise InputError(f"{kind} {name!r} has options {allowed}, got {option!r}")
    inputs = tuple(p.name for p in parameters if p.default is p.empty)
    return BoundLoss(name, partial(table[name], **options), inputs, normaliser)


__all__ = [
    "INSTANCE_WEIGHTS",
    "LOSSES",
    "NORMALISERS",
    "BoundLoss",
    "EpochBalance",
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
    "dynamic_smooth_l1_loss",
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
    "make_instance_weights",
    "make_loss",
    "mask_cross_entropy_loss",
    "mask_iou_loss",
    "normalised_focal_eiou_loss",
    "pairwise_ggiou",
    "pisa_weights",
    "quality_focal_loss",
    "rank_sort_loss",
    "ranking_weights",
    "semantic_cross_entropy_loss",
    "sigmoid_cross_entropy_loss",
    "size_normalised_mask_loss",
    "smooth_l1_loss",
    "softmax_cross_entropy_loss",
    "value_weight",
    "weighted_mean",
]
