"""Rank & Sort and aLRP with one Python step per positive, as they have been computed so far.

Written from the thesis' equations (8.2-8.8 and 7.2-7.7, K.3); O(P n) time, O(n) memory. Negatives
that no positive's step reaches are dropped first, which changes nothing but the time.
"""

import torch
from torch import Tensor


def step(x: Tensor, delta: float) -> Tensor:
    """Eq. 6.5."""
    return (x / (2 * delta) + 0.5).clamp(0, 1)


@torch.no_grad()
def rank_sort_by_loop(logits: Tensor, targets: Tensor, delta: float = 0.5) -> tuple[Tensor, Tensor]:
    """Loss (scalar) and gradient [n]; arguments as `rebalance.losses.rank_sort_loss`."""
    is_positive = targets > 0
    scores, labels = logits[is_positive], targets[is_positive]
    relevant = (targets == 0) & (logits >= scores.min() - delta)
    negatives = logits[relevant]
    of_positives, of_negatives = torch.zeros_like(scores), torch.zeros_like(negatives)
    loss = torch.zeros(())
    for i in range(len(scores)):
        above = step(scores - scores[i], delta)
        negatives_above = step(negatives - scores[i], delta)
        rank_among_positives, false_positives = above.sum(), negatives_above.sum()
        ranking_error = false_positives / (rank_among_positives + false_positives)
        lower = above * (labels < labels[i])
        higher = above - lower
        sorting_error = (above * (1 - labels)).sum() / rank_among_positives
        sorting_error = sorting_error - (higher * (1 - labels)).sum() / higher.sum()
        if false_positives > 1e-10:
            of_negatives += negatives_above * (ranking_error / false_positives)
            of_positives[i] -= ranking_error
        if lower.sum() > 1e-10:
            of_positives += lower * (sorting_error / lower.sum())
            of_positives[i] -= sorting_error
        loss += ranking_error + sorting_error
    return _whole(logits, is_positive, of_positives, relevant, of_negatives, loss)


@torch.no_grad()
def alrp_by_loop(
    logits: Tensor, targets: Tensor, localisation_errors: Tensor, delta: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Loss (scalar) and gradient [n]; arguments as `rebalance.losses.alrp_loss`."""
    is_positive = targets > 0
    scores = logits[is_positive]
    relevant = (targets == 0) & (logits >= scores.min() - delta)
    negatives = logits[relevant]
    of_positives, of_negatives = torch.zeros_like(scores), torch.zeros_like(negatives)
    loss = torch.zeros(())
    for i in range(len(scores)):
        above = step(scores - scores[i], delta)
        above[i] = 1
        negatives_above = step(negatives - scores[i], delta)
        false_positives = negatives_above.sum()
        rank = above.sum() + false_positives
        others = (localisation_errors * above).sum() - localisation_errors[i]
        if false_positives > 1e-5:
            error = (false_positives + others) / rank
            of_negatives += negatives_above * (error / false_positives)
            of_positives[i] -= error
        loss += false_positives / rank
        loss += (localisation_errors * (scores >= scores[i])).sum() / rank
    return _whole(logits, is_positive, of_positives, relevant, of_negatives, loss)


def _whole(
    logits: Tensor,
    is_positive: Tensor,
    of_positives: Tensor,
    relevant: Tensor,
    of_negatives: Tensor,
    loss: Tensor,
) -> tuple[Tensor, Tensor]:
    gradient = torch.zeros_like(logits)
    gradient[is_positive] = of_positives
    gradient[relevant] = of_negatives
    return loss / len(of_positives), gradient / len(of_positives)
