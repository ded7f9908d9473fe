"""Classification losses.

Sigmoid losses are elementwise on [N, C]; softmax takes [N, C + 1] and labels [N].
"none" keeps the elements; "mean" and "sum" give a scalar, 0 when there is nothing. Mismatched
shapes raise InputError, wrong dtypes TypeError.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from rebalance.boxes import check_floating
from rebalance.errors import InputError
from rebalance.losses.reduction import check_same_shape, reduce_loss, widen


def sigmoid_cross_entropy_loss(logits: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """Binary cross-entropy of ``sigmoid(logits)``; targets in [0, 1], same shape."""
    check_same_shape(logits, targets, "logits and targets")
    loss = F.binary_cross_entropy_with_logits(widen(logits), widen(targets), reduction="none")
    return reduce_loss(loss, reduction, logits)


def softmax_cross_entropy_loss(logits: Tensor, labels: Tensor, reduction: str = "none") -> Tensor:
    """``-ln softmax(logits)[label]``, [N] with "none".

    Args:
        logits: [N, C + 1], column 0 is the background.
        labels: [N] int64 in 0 ... C.
        reduction: "none", "mean" or "sum".
    """
    check_floating("logits", logits)
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(
            "logits and labels must be [N, C + 1] and [N], "
            f"got {list(logits.shape)} and {list(labels.shape)}"
        )
    return reduce_loss(F.cross_entropy(widen(logits), labels, reduction="none"), reduction, logits)


def focal_loss(
    logits: Tensor, targets: Tensor, reduction: str = "none", alpha: float = 0.25, gamma: float = 2
) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017; thesis Eq. 3.2): cross-entropy times ``(1 - p_t)^gamma``.

    Args:
        logits: any shape.
        targets: the same shape, in {0, 1}.
        reduction: "none", "mean" or "sum".
        alpha: weight of positives, ``1 - alpha`` of negatives; negative for no weights.
        gamma: >= 0; 0 is (weighted) cross-entropy.
    """
    check_same_shape(logits, targets, "logits and targets")
    loss = sigmoid_focal_loss(widen(logits), widen(targets), alpha=alpha, gamma=gamma)
    return reduce_loss(loss, reduction, logits)
