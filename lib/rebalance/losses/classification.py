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
from rebalance.losses.reduction import logits_and_targets, reduce_loss, widen


def sigmoid_cross_entropy_loss(logits: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """Binary cross-entropy of ``sigmoid(logits)``; targets in [0, 1], same shape."""
    logits, targets = logits_and_targets(logits, targets)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
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
    logits, targets = logits_and_targets(logits, targets)
    loss = sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    return reduce_loss(loss, reduction, logits)


def quality_focal_loss(
    logits: Tensor, quality_targets: Tensor, reduction: str = "none", beta: float = 2.0
) -> Tensor:
    """Quality focal loss (Li et al., NeurIPS 2020): ``|y - p|^beta`` times cross-entropy, soft y.

    Args:
        logits: any shape.
        quality_targets: the same shape, in [0, 1]: IoU of a positive, 0 for negatives.
        reduction: "none", "mean" or "sum".
        beta: >= 0; 0 is cross-entropy.
    """
    logits, quality_targets = logits_and_targets(logits, quality_targets)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, quality_targets, reduction="none")
    modulation = (quality_targets - logits.sigmoid()).abs().pow(beta)
    return reduce_loss(modulation * cross_entropy, reduction, logits)


def ghm_c_loss(logits: Tensor, targets: Tensor, reduction: str = "none", bins: int = 30) -> Tensor:
    """GHM-C (Li et al., AAAI 2019; thesis Eq. 3.3): cross-entropy over the density of gradients.

    The density is approximated by a histogram of gradient norms, as in the paper, over the given
    logits (without its moving average); `ghm_weights` has the exact windows. Training divides the
    sum by the number of logits: `ghm_c_normaliser`.

    Args:
        logits: any shape; all of them make the histogram.
        targets: the same shape, in [0, 1].
        reduction: "none", "mean" or "sum".
        bins: of the histogram, >= 1.
    """
    logits, targets = logits_and_targets(logits, targets)
    if bins < 1:
        raise InputError(f"bins must be >= 1, got {bins}")
    norms = (logits.detach().sigmoid() - targets).abs()
    idxs = (norms * bins).long().clamp(max=bins - 1).flatten()
    counts = logits.new_zeros(bins).index_add_(0, idxs, torch.ones_like(norms).flatten())
    weights = (logits.numel() / (counts * bins))[idxs].reshape(norms.shape)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return reduce_loss(weights * cross_entropy, reduction, logits)


def ghm_c_normaliser(logits: Tensor, targets: Tensor, bins: int = 30) -> Tensor:
    """Number of examples, what the sum of `ghm_c_loss` is divided by (Li et al., AAAI 2019).

    The weights of all examples add up to at most their number, and not to that of the positives.

    Args:
        logits: any shape; each is an example.
        targets: not used.
        bins: not used.

    Returns:
        Scalar, detached.
    """
    return logits.new_tensor(float(logits.numel()))
