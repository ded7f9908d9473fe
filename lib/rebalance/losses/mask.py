"""Mask losses: one value per instance from [N, H, W] logits and masks.

"none" gives [N]; "mean" and "sum" give a scalar, 0 when N == 0. Mismatched shapes raise InputError,
integer tensors TypeError.
"""

import torch.nn.functional as F
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.errors import InputError
from rebalance.losses.reduction import logits_and_targets, reduce_loss


def mask_cross_entropy_loss(
    mask_logits: Tensor, mask_targets: Tensor, reduction: str = "none"
) -> Tensor:
    """Binary cross-entropy averaged over the pixels of each mask (Mask R-CNN), in [0, inf).

    Args:
        mask_logits: [N, H, W], before the sigmoid.
        mask_targets: [N, H, W] float in [0, 1].
        reduction: "none", "mean" or "sum" over instances.
    """
    mask_logits, mask_targets = _masks(mask_logits, mask_targets)
    loss = F.binary_cross_entropy_with_logits(mask_logits, mask_targets, reduction="none")
    return reduce_loss(loss.mean((1, 2)), reduction, mask_logits)


def dice_loss(
    mask_logits: Tensor, mask_targets: Tensor, reduction: str = "none", squared: bool = True
) -> Tensor:
    """``1 - 2 sum(p t) / (sum(p^2) + sum(t^2))`` with ``p = sigmoid(mask_logits)``, in [0, 1].

    Args:
        mask_logits: [N, H, W], before the sigmoid.
        mask_targets: [N, H, W] float in [0, 1].
        reduction: "none", "mean" or "sum" over instances.
        squared: the denominator of V-Net and SOLO; False sums ``p + t`` (Sørensen-Dice). The two
            agree on binary masks.
    """
    mask_logits, mask_targets = _masks(mask_logits, mask_targets)
    probabilities, mask_targets = mask_logits.sigmoid().flatten(1), mask_targets.flatten(1)
    power = 2 if squared else 1
    total = probabilities.pow(power).sum(1) + mask_targets.pow(power).sum(1)
    dice = ratio(2 * (probabilities * mask_targets).sum(1), total)
    return reduce_loss(1 - dice, reduction, mask_logits)


def _masks(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits, targets = logits_and_targets(logits, targets)
    if logits.ndim != 3 or 0 in logits.shape[1:]:
        raise InputError(f"mask logits must be [N, H, W] with H, W > 0, got {list(logits.shape)}")
    return logits, targets
