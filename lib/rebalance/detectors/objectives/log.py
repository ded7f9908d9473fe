"""What an objective tells the log beside its losses; nothing of it is trained on."""

import torch
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.detectors.types import Matched


def gradient_sums(class_loss: Tensor, logits: Tensor, positive: Tensor) -> dict[str, Tensor]:
    """Sums of |gradient| over the logits of positives and of negatives, and their ratio.

    The ratio is that of thesis Figures 7.4 and L.1: negatives over positives, 1 for AP and aLRP
    (Theorem 2), 0 without positives.

    Args:
        class_loss: scalar, a function of ``logits``; its weight does not change the ratio.
        logits: [M, C].
        positive: bool, broadcasts with the logits.
    """
    if not class_loss.requires_grad:
        return {}
    (gradient,) = torch.autograd.grad(class_loss, logits, retain_graph=True)
    magnitude = gradient.abs().double()
    positives = torch.where(positive, magnitude, 0).sum()
    negatives = torch.where(positive, 0, magnitude).sum()
    return {
        "positive_gradients": positives,
        "negative_gradients": negatives,
        "gradient_ratio": ratio(negatives, positives),
    }


def score_iou_correlation(matched: Matched, scores: Tensor) -> dict[str, Tensor]:
    """Spearman's correlation of the scores of positives and the IoUs of their boxes.

    An indicator of how well the sorting works (thesis 8.5.1.1). nan for fewer than two different
    scores or IoUs; nothing of cells, which have masks and no boxes.

    Args:
        matched: its boxes.
        scores: [P, C] of the positives; that of the positive's own class counts.
    """
    if matched.predictions.deltas is None:
        return {}
    own = scores.gather(1, matched.positive_labels[:, None] - 1).squeeze(1)
    return {"score_iou_correlation": spearman(own.detach(), matched.ious)}


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of two [P], ties at their mean rank; nan where undefined."""
    ranks = torch.stack([_ranks(first), _ranks(second)])
    centred = ranks - ranks.mean(dim=1, keepdim=True)
    return (centred[0] * centred[1]).sum() / centred.square().sum(dim=1).prod().sqrt()


def _ranks(values: Tensor) -> Tensor:
    ascending = values.sort().values
    below = torch.searchsorted(ascending, values)
    up_to = torch.searchsorted(ascending, values, right=True)
    return (below + up_to).double() / 2
