"""Fixed-size samplers: a share of positives chosen one way, negatives chosen another.

bbgen Table 3 crosses the ways; ``random`` and ``ohpm`` are two of the combinations.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rebalance.assigners.assignment import Assignment
from rebalance.errors import InputError
from rebalance.samplers.choose import (
    Pool,
    Scheme,
    choose_foreground_balanced,
    choose_hardest,
    choose_instance_balanced,
    choose_iou_balanced,
    choose_iou_balanced_published,
    choose_random,
)

POSITIVE_SCHEMES: dict[str, Scheme] = {
    "random": choose_random,
    "hard": choose_hardest,
    "ofb": choose_foreground_balanced,
    "instance_balanced": choose_instance_balanced,
}

NEGATIVE_SCHEMES: dict[str, Scheme] = {
    "random": choose_random,
    "hard": choose_hardest,
    "iou_balanced": choose_iou_balanced,
    "iou_balanced_published": choose_iou_balanced_published,
}


def sample_combined(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 512,
    positive_fraction: float = 0.25,
    positive: str = "random",
    negative: str = "random",
    pad_with_negatives: bool = True,
    negatives_per_positive: float | None = None,
    nms_iou: float | None = None,
    num_iou_bins: int = 3,
) -> Tensor:
    """At most ``num`` candidates, at most ``positive_fraction`` of them positive.

    Too few positives: all are taken, and with ``pad_with_negatives`` negatives fill their places.
    Too few negatives: all are taken and the sample is smaller than ``num``; no candidate is
    repeated, and positives never fill the places of negatives.

    Args:
        assignment: of N candidates.
        rng: source of all randomness.
        boxes: [N, 4] xyxy; needed with ``nms_iou`` only.
        losses: given positions [K], the loss [K] of each; called only for what a "hard" scheme
            has to choose from.
        num: size of the sample.
        positive_fraction: of ``num``, rounded down.
        positive: a name in ``POSITIVE_SCHEMES``.
        negative: a name in ``NEGATIVE_SCHEMES``.
        pad_with_negatives: False keeps at most ``num - floor(num * positive_fraction)`` negatives.
        negatives_per_positive: most negatives for each positive in the sample, and for one positive
            where there is none (mmdetection's neg_pos_ub; Libra R-CNN's proposals: 5). None: any.
        nms_iou: the hard schemes first drop a box that overlaps one of larger loss by more.
        num_iou_bins: of the schemes "iou_balanced" and "iou_balanced_published".

    Raises:
        InputError: unknown scheme, a negative number, a fraction outside [0, 1], or losses or
            boxes that are needed and missing.
    """
    choose_positives = _scheme("positive", POSITIVE_SCHEMES, positive)
    choose_negatives = _scheme("negative", NEGATIVE_SCHEMES, negative)
    if num < 0:
        raise InputError(f"num must be 0 or more, got {num}")
    if not 0 <= positive_fraction <= 1:
        raise InputError(f"positive_fraction must be in [0, 1], got {positive_fraction}")
    if negatives_per_positive is not None and negatives_per_positive < 0:
        raise InputError(f"negatives_per_positive must be 0 or more, got {negatives_per_positive}")
    if num_iou_bins < 1:
        raise InputError(f"num_iou_bins must be 1 or more, got {num_iou_bins}")
    pool = Pool(assignment, rng, boxes, losses, nms_iou, num_iou_bins)
    # 0.29 * 100 is 28.999...; the tolerance keeps exact products whole.
    num_positives = int(num * positive_fraction + 1e-6)
    positives = assignment.positive_rows()
    positives = choose_positives(positives, num_positives, pool)
    num_negatives = num - (len(positives) if pad_with_negatives else num_positives)
    if negatives_per_positive is not None:
        num_negatives = min(num_negatives, int(negatives_per_positive * max(len(positives), 1)))
    negatives = assignment.negative_rows()
    return torch.cat([positives, choose_negatives(negatives, num_negatives, pool)]).sort().values


def sample_random(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 512,
    positive_fraction: float = 0.25,
    pad_with_negatives: bool = True,
) -> Tensor:
    """Positives and negatives at random (Fast R-CNN); see ``sample_combined``."""
    return sample_combined(
        assignment,
        rng=rng,
        num=num,
        positive_fraction=positive_fraction,
        pad_with_negatives=pad_with_negatives,
    )


def sample_iou_balanced_negatives(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 512,
    positive_fraction: float = 0.25,
    num_iou_bins: int = 3,
    pad_with_negatives: bool = True,
) -> Tensor:
    """Positives at random, negatives balanced over their IoU (Libra R-CNN, Eq. 1)."""
    return sample_combined(
        assignment,
        rng=rng,
        num=num,
        positive_fraction=positive_fraction,
        negative="iou_balanced",
        num_iou_bins=num_iou_bins,
        pad_with_negatives=pad_with_negatives,
    )


def sample_ofb(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 512,
    positive_fraction: float = 0.25,
    pad_with_negatives: bool = True,
) -> Tensor:
    """Positives balanced over the classes present (bbgen, section 6.1), negatives at random."""
    return sample_combined(
        assignment,
        rng=rng,
        num=num,
        positive_fraction=positive_fraction,
        positive="ofb",
        pad_with_negatives=pad_with_negatives,
    )


def _scheme(which: str, schemes: dict[str, Scheme], name: str) -> Scheme:
    if name not in schemes:
        raise InputError(f"{which} must be one of {sorted(schemes)}, got {name!r}")
    return schemes[name]
