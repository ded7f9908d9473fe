"""Weights of single examples: PISA, CARL, gradient harmonising (thesis 3.4-3.5, 3.20, 3.3)."""

import torch
from torch import Tensor

from rebalance.boxes import check_floating, ratio
from rebalance.errors import InputError
from rebalance.losses.reduction import loss_dtype


def pisa_weights(values: Tensor, classes: Tensor, gamma: float = 2.0, beta: float = 0.0) -> Tensor:
    """Prime sample attention (thesis Eq. 3.4-3.5), in [beta^gamma, 1]: the first of a class gets 1.

    Args:
        values: [N], what examples are ranked by within their class, largest first: IoU for
            positives, foreground score for negatives (weigh the two separately).
        classes: [N] int64.
        gamma: exponent, > 0.
        beta: smallest base, in [0, 1].

    Returns:
        [N], detached.
    """
    check_floating("values", values)
    if values.ndim != 1 or values.shape != classes.shape:
        raise InputError(
            f"values and classes must both be [N], got {list(values.shape)} "
            f"and {list(classes.shape)}"
        )
    if len(values) == 0:
        return values.detach()
    by_value = torch.argsort(values.detach(), descending=True, stable=True)
    order = by_value[torch.argsort(classes[by_value], stable=True)]
    sorted_classes = classes[order]
    place = torch.arange(len(order), device=values.device)
    rank_in_class = place - torch.searchsorted(sorted_classes, sorted_classes)
    largest = rank_in_class.max() + 1
    rank = torch.empty_like(rank_in_class).scatter_(0, order, rank_in_class)
    normalised = (largest - rank) / largest  # Eq. 3.4
    return ((1 - beta) * normalised + beta).pow(gamma).to(loss_dtype(values))  # Eq. 3.5


def carl_weights(scores: Tensor, gamma: float = 1.0, bias: float = 0.2) -> Tensor:
    """The factors ``c'_i`` of CARL (thesis Eq. 3.20; Cao et al., CVPR 2020), differentiable.

    ``c_i = ((1 - bias) p_i + bias)^gamma``, scaled to a mean of 1.

    Args:
        scores: [N] probabilities of the ground-truth classes, in [0, 1].
        gamma: exponent, > 0.
        bias: smallest base, in [0, 1].
    """
    check_floating("scores", scores)
    factors = ((1 - bias) * scores + bias).pow(gamma)
    return factors * ratio(factors.new_tensor(float(len(scores))), factors.sum())


def ghm_weights(gradient_norms: Tensor, width: float) -> Tensor:
    """Gradient harmonising (thesis Eq. 3.3; Li et al., AAAI 2019): ``N / density`` at each norm.

    The density is the number of examples within ``width / 2``, over the part of that window that
    lies in [0, 1]. Exact, O(N log N).

    Args:
        gradient_norms: [N] in [0, 1], ``|sigmoid(logit) - target|``.
        width: of the window (epsilon), in (0, 1].

    Returns:
        [N], detached.
    """
    check_floating("gradient_norms", gradient_norms)
    norms = gradient_norms.detach().double()
    low, high = norms - width / 2, norms + width / 2
    ordered = norms.sort().values
    # A hair wider, so that a norm exactly at the edge of a window counts despite rounding.
    near = torch.searchsorted(ordered, high + 1e-7, right=True) - torch.searchsorted(
        ordered, low - 1e-7
    )
    length = high.clamp(max=1) - low.clamp(min=0)
    return (len(norms) * length / near).to(loss_dtype(gradient_norms))
