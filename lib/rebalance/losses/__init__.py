"""Losses by name.

`make_loss` binds a name of ``LOSSES`` and its options. The
functions are exported too: ``from rebalance.losses import rank_sort_loss``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rebalance.boxes import ggiou, pairwise_ggiou
from rebalance.config.bind import bind_part, callables
from rebalance.config.options import losses as options_of
from rebalance.config.part import Part, imported
from rebalance.losses.balancing import (
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
    ghm_c_normaliser,
    quality_focal_loss,
    sigmoid_cross_entropy_loss,
    softmax_cross_entropy_loss,
)
from rebalance.losses.mask import (
    dice_loss,
    mask_cross_entropy_loss,
    mask_iou_loss,
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

# Name -> function; ``rebalance.config.options.losses`` defines both, with the options.
LOSSES = callables(options_of.Loss)
INSTANCE_WEIGHTS = callables(options_of.InstanceWeights)


@dataclass(frozen=True)
class BoundLoss:
    """A loss, or instance weights, with their options.

    Attributes:
        name: of a loss or of instance weights.
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
        InputError: unknown name or option, or a value that is not allowed.
    """
    own = options_of.Loss.parts()[name].normaliser if name in LOSSES else None
    return _bind(options_of.Loss, name, options, own)


def make_instance_weights(name: str, **options: Any) -> BoundLoss:
    """Instance weights by name, with ``options`` bound.

    Raises:
        InputError: unknown name or option, or a value that is not allowed.
    """
    return _bind(options_of.InstanceWeights, name, options)


def _bind(
    kind: type[Part], name: str, options: Mapping[str, Any], normaliser: str | None = None
) -> BoundLoss:
    bound = bind_part(kind, name, options)
    parameters = inspect.signature(bound.func).parameters.values()
    inputs = tuple(p.name for p in parameters if p.default is p.empty)
    own = partial(imported(normaliser), **bound.keywords) if normaliser is not None else None
    return BoundLoss(name, bound, inputs, own)


__all__ = [
    "INSTANCE_WEIGHTS",
    "LOSSES",
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
    "ghm_c_normaliser",
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
