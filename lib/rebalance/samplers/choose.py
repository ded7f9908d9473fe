"""Ways to choose some of a list of candidates; samplers are put together from these.

A scheme is called as ``scheme(candidates, num, pool)``: ``candidates`` are [P] int64 positions, the
answer is a subset of them, ascending, without duplicates, and all of them when P <= num.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from rebalance.assigners.assignment import Assignment
from rebalance.errors import InputError
from rebalance.rng import uniform


class Pool(NamedTuple):
    """What a scheme may look at.

    Attributes:
        assignment: of all N candidates.
        rng: source of all randomness.
        boxes: [N, 4] xyxy, or None when the caller has none.
        losses: given positions [K] among the candidates, the loss [K] of each; or None when the
            caller has none.
        nms_iou: hard schemes drop a box that overlaps one of larger loss by more; None keeps all.
        num_iou_bins: of the IoU-balanced scheme.
    """

    assignment: Assignment
    rng: torch.Generator
    boxes: Tensor | None = None
    losses: Callable[[Tensor], Tensor] | None = None
    nms_iou: float | None = None
    num_iou_bins: int = 3


Scheme = Callable[[Tensor, int, Pool], Tensor]


def choose_random(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """Every subset of ``num`` is equally likely."""
    if len(candidates) <= num:
        return candidates
    return _smallest(candidates, uniform((len(candidates),), pool.rng, candidates.device), num)


def choose_hardest(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """The largest losses (OHEM, Shrivastava et al., CVPR 2016).

    With ``pool.nms_iou`` suppression by loss comes first, over all candidates whatever their class,
    even when there are no more than ``num``; then fewer than asked may be left.

    Raises:
        InputError: losses are needed and there are none; suppression is asked for without boxes.
    """
    if (len(candidates) <= num and pool.nms_iou is None) or len(candidates) == 0:
        return candidates
    if pool.losses is None:
        raise InputError("hard examples are chosen by their loss: the sampler needs losses")
    losses = pool.losses(candidates).detach()
    if losses.shape != candidates.shape:
        raise InputError(
            f"losses must hold one value per candidate, {list(candidates.shape)}, "
            f"got {list(losses.shape)}"
        )
    if pool.nms_iou is not None:
        if pool.boxes is None:
            raise InputError("suppression by loss (nms_iou) needs boxes")
        kept = nms(pool.boxes[candidates].float(), losses.float(), pool.nms_iou).sort().values
        candidates, losses = candidates[kept], losses[kept]
        if len(candidates) <= num:
            return candidates
    return _smallest(candidates, -losses, num)


def choose_foreground_balanced(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """Multinomial draw without replacement with probability 1 / (C k_c) each (OFB, bbgen 6.1).

    C is the number of classes among the candidates and k_c the number of candidates of class c, so
    each class is equally likely at every draw until it runs out.
    """
    if len(candidates) <= num:
        return candidates
    labels = pool.assignment.labels[candidates]
    per_label = torch.bincount(labels)
    # An exponential race: the smallest of independent exponentials of rates w_i is i with
    # probability w_i / sum(w), and the next smallest is the next draw without replacement.
    # C is common to all rates and drops out.
    numbers = uniform((len(candidates),), pool.rng, candidates.device)
    return _smallest(candidates, -torch.log1p(-numbers) * per_label[labels], num)


def choose_instance_balanced(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """About as many of each ground truth: ``round(num / G) + 1`` of G (Libra R-CNN, section 3.1).

    Pang et al., CVPR 2019, and its published code. Where these are more than ``num``, some of them
    at random; where they are fewer, as a ground truth has less than its share, the rest is random.
    """
    if len(candidates) <= num:
        return candidates
    numbers = _two_uniform(candidates, pool)
    ranks, num_groups = _random_ranks(pool.assignment.gt_idxs[candidates], numbers[0])
    share = (num / num_groups).round() + 1
    return _smallest(candidates, (ranks >= share) + numbers[1], num)


def choose_iou_balanced(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """The same number from each of ``pool.num_iou_bins`` equal IoU intervals (Libra R-CNN, Eq. 1).

    Pang et al., CVPR 2019. The bins divide [0, largest overlap among the candidates]. Where a bin
    holds less than its share, and where the bins do not divide ``num``, the rest is random.
    """
    if len(candidates) <= num:
        return candidates
    overlaps = pool.assignment.overlaps[candidates].double()
    bins = _bins(overlaps, overlaps.amax(), pool.num_iou_bins)
    numbers = _two_uniform(candidates, pool)
    ranks, _ = _random_ranks(bins, numbers[0])
    return _smallest(candidates, (ranks >= num // pool.num_iou_bins) + numbers[1], num)


def choose_iou_balanced_published(candidates: Tensor, num: int, pool: Pool) -> Tensor:
    """``choose_iou_balanced`` as Libra R-CNN's published code (and mmdetection) has it.

    The bins divide [0, largest overlap of all], positives and ground truths among the RoIs
    included. That is 1, so with three bins and a threshold of 0.5 the third never holds a negative,
    the second those above 1/3, and a third of the sample is random. Candidates that overlap nothing
    are taken only when there are too few others. (There, the very first image of a training treats
    them as all others.)
    """
    if len(candidates) <= num:
        return candidates
    overlaps = pool.assignment.overlaps[candidates].double()
    bins = _bins(overlaps, pool.assignment.overlaps.amax().double(), pool.num_iou_bins)
    touching = overlaps > 0
    numbers = _two_uniform(candidates, pool)
    ranks, _ = _random_ranks(torch.where(touching, bins, -1), numbers[0])
    last = torch.where(touching, (ranks >= num // pool.num_iou_bins).long(), 2)
    return _smallest(candidates, last + numbers[1], num)


def _two_uniform(candidates: Tensor, pool: Pool) -> Tensor:
    """[2, P] numbers: for ranks within groups, and for a choice over all groups.

    With the same numbers for both, those of a large group that come after its share would have
    smaller ones than those of a small group, and be taken more often.
    """
    return uniform((2, len(candidates)), pool.rng, candidates.device)


def _bins(overlaps: Tensor, widest: Tensor, num: int) -> Tensor:
    """[P] int64, which of ``num`` equal parts of [0, widest] each overlap lies in."""
    widest = widest.clamp(min=torch.finfo(torch.float64).tiny)
    return (overlaps / widest * num).long().clamp(max=num - 1)


def _random_ranks(groups: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """[P] int64 random ranks within each group of candidates, and [] how many groups there are.

    Args:
        groups: [P] int64.
        numbers: [P] random, in [0, 1).
    """
    # Sorting by group + number in [0, 1) groups the candidates and shuffles inside the groups, so
    # the distance from the start of the group is a random rank in it.
    order = torch.argsort(groups + numbers)
    ordered = groups[order]
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    places = torch.arange(len(order), device=order.device)
    starts = torch.where(is_first, places, 0).cummax(0).values
    return torch.empty_like(order).index_copy_(0, order, places - starts), is_first.sum()


def _smallest(candidates: Tensor, keys: Tensor, num: int) -> Tensor:
    chosen = torch.topk(keys, num, largest=False, sorted=False).indices
    return candidates[chosen.sort().values]
