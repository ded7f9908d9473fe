"""Scored rows by group: their order, their ranks, the best of each group.

A group is whatever rows compete within: an image, a class of an image, a level of an image.
"""

import torch
from torch import Tensor


def order_of_groups(scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows sorted by group and, within a group, by falling score (equal scores: by row).

    Args:
        scores: [K].
        groups: [K] int64, any values.

    Returns:
        order [K] int64: the rows; place [K]: which group, counted from 0; rank [K]: position within
        the group, 0 is the best. All in the new order; the device is not waited for.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    sorted_groups = groups[order]
    is_first = torch.ones_like(sorted_groups, dtype=torch.bool)
    is_first[1:] = sorted_groups[1:] != sorted_groups[:-1]
    positions = torch.arange(len(order), device=order.device)
    starts = torch.where(is_first, positions, 0).cummax(0).values
    return order, is_first.cumsum(0) - 1, positions - starts


def best_of_groups(scores: Tensor, groups: Tensor, num: int) -> Tensor:
    """Rows of the ``num`` highest scores of each group.

    Args:
        scores: [K].
        groups: [K] int64, the image for "at most 100 detections per image".
        num: most rows of a group.

    Returns:
        [R] int64, sorted by group, within a group by falling score.
    """
    order, _, rank = order_of_groups(scores, groups)
    return order[rank < num]


def table_of_groups(scores: Tensor, groups: Tensor, num: int | None = None) -> Tensor:
    """The rows of each group side by side, so that all groups are worked on at once.

    Args:
        scores: [K], K > 0.
        groups: [K] int64.
        num: most rows of a group; None: all.

    Returns:
        [G, n] int64: a line per group, best score first, filled up with -1.
    """
    order, place, rank = order_of_groups(scores, groups)
    if num is not None:
        fits = rank < num
        order, place, rank = order[fits], place[fits], rank[fits]
    num_groups, longest = torch.stack((place[-1], rank.max())).add(1).tolist()
    table = order.new_full((num_groups, longest), -1)
    table[place, rank] = order
    return table


def by_falling_score(rows: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [R] and their scores [R], best first; equal scores by row."""
    by_row = rows.argsort()
    order = by_row[scores[by_row].argsort(descending=True, stable=True)]
    return rows[order], scores[order]
