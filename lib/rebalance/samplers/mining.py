"""Samplers that choose by loss: OHEM, OHPM and SSD's online hard negatives."""

from collections.abc import Callable

import torch
from torch import Tensor

from rebalance.assigners.assignment import Assignment
from rebalance.errors import InputError
from rebalance.samplers.choose import Pool, choose_hardest
from rebalance.samplers.combined import sample_combined


def sample_ohem(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 128,
    nms_iou: float | None = 0.7,
) -> Tensor:
    """The ``num`` largest losses among positives and negatives together, in any proportion.

    Shrivastava et al., CVPR 2016: no fixed share of positives, and suppression by loss first, so
    that RoIs of the same place are not all taken. For a fixed share use ``sample_combined`` with
    "hard" and "hard".

    Too few: fewer than ``num`` are returned, also when suppression leaves fewer.

    Args:
        assignment: of N candidates.
        rng: not used by this sampler.
        boxes: [N, 4] xyxy; needed unless ``nms_iou`` is None.
        losses: given positions [K], the loss [K] of each.
        num: size of the sample.
        nms_iou: a box that overlaps one of larger loss by more is dropped; None keeps all.

    Raises:
        InputError: a negative number, or losses or boxes that are needed and missing.
    """
    if num < 0:
        raise InputError(f"num must be 0 or more, got {num}")
    pool = Pool(assignment, rng, boxes, losses, nms_iou)
    return choose_hardest(assignment.taking_part(), num, pool)


def sample_ohpm(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    num: int = 128,
    positive_fraction: float = 0.25,
    nms_iou: float | None = 0.7,
    pad_with_negatives: bool = True,
) -> Tensor:
    """Online hard positive mining (bbgen, section 5.3), negatives at random.

    Meant for generated positives: more are generated than wanted, suppression by loss leaves
    different ones, and of these the largest losses are kept. Too few: suppression runs however few
    positives there are, so fewer than the wanted share may be left (bbgen Table 4 reports their
    mean number); negatives are as in ``sample_combined``.

    Args:
        assignment: of N candidates.
        rng: chooses the negatives.
        boxes: [N, 4] xyxy; needed unless ``nms_iou`` is None.
        losses: given positions [K], the loss [K] of each.
        num: size of the sample.
        positive_fraction: of ``num``, rounded down.
        nms_iou: a positive that overlaps one of larger loss by more is dropped. The paper does not
            print it; OHEM's 0.7 leaves about as many positives as its Table 5 reports.
        pad_with_negatives: negatives fill the places of missing positives.
    """
    return sample_combined(
        assignment,
        rng=rng,
        boxes=boxes,
        losses=losses,
        num=num,
        positive_fraction=positive_fraction,
        positive="hard",
        negative="random",
        pad_with_negatives=pad_with_negatives,
        nms_iou=nms_iou,
    )


def sample_hard_negatives(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
    ratio: float = 3.0,
    least: int = 0,
    all_without_positives: bool = False,
) -> Tensor:
    """Every positive, and the negatives of largest loss, ``ratio`` of them per positive.

    SSD's online hard negative mining (Liu et al., ECCV 2016, section 2.2). Too few negatives: all
    are taken. No positives: ``least`` negatives, none by default, as in the paper.

    Args:
        assignment: of N candidates.
        rng: not used by this sampler.
        boxes: not used by this sampler.
        losses: given positions [K], the loss [K] of each; SSD takes that of classification.
        ratio: negatives per positive.
        least: of negatives, whatever the number of positives.
        all_without_positives: of an image without positives all negatives are taken (mmdetection's
            YOLACT). It then outweighs the others by far; the default is SSD's.

    Raises:
        InputError: a negative ratio or number, or losses that are needed and missing.
    """
    if ratio < 0 or least < 0:
        raise InputError(f"ratio and least must be 0 or more, got {ratio} and {least}")
    positives = assignment.positive_rows()
    negatives = assignment.negative_rows()
    num = max(int(len(positives) * ratio), least)
    if all_without_positives and len(positives) == 0:
        return negatives
    hardest = choose_hardest(negatives, num, Pool(assignment, rng, boxes, losses))
    return torch.cat([positives, hardest]).sort().values
