"""Sums over steps ``H(x - s)`` without a matrix of all pairs: the arithmetic of ranking losses.

``H`` rises from 0 to 1, linearly over ``[-delta, delta]`` (`SmoothedSteps`; thesis Eq. 6.5) or at
once with ``H(0) = 1`` (`UnitSteps`). For P anchors s and M points x, a weighted sum of the steps is
a piecewise linear function of x with 2 P knots. Points are located between knots once (M log P);
after that every sum over anchors or over points is prefix sums over the knots.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor


class Located(NamedTuple):
    """Points between the knots.

    Attributes:
        segment: [M] int64, how many knots are at or below the point.
        offset: [M] float64, distance from the last of these (0 for unit steps).
    """

    segment: Tensor
    offset: Tensor

    def take(self, idxs: Tensor) -> Self:
        """Some of the points."""
        return self._replace(segment=self.segment[idxs], offset=self.offset[idxs])


@dataclass(frozen=True)
class SmoothedSteps:
    """Steps that rise over ``[s - delta, s + delta]``.

    Attributes:
        knots: [2 P] float64, ascending: where the steps start and end to rise.
        starts: [P], the knot at ``s_i - delta``.
        ends: [P], the knot at ``s_i + delta``.
        delta: > 0.
    """

    knots: Tensor
    starts: Tensor
    ends: Tensor
    delta: float

    @classmethod
    def at(cls, anchors: Tensor, delta: float) -> Self:
        """The steps at ``anchors`` [P] float64."""
        knots, order = torch.cat([anchors - delta, anchors + delta]).sort()
        starts, ends = _inverse(order).split(len(anchors))
        return cls(knots, starts, ends, delta)

    def locate(self, points: Tensor) -> Located:
        """Points [M] float64 between the knots."""
        segment = torch.searchsorted(self.knots, points, right=True)
        last = torch.cat([self.knots[:1], self.knots])
        return Located(segment, points - last.index_select(0, segment))

    def sum_over_steps(self, points: Located, weights: Tensor) -> Tensor:
        """[M]: the sum of ``weights_i H(x_j - s_i)`` over i, for every point j."""
        change = torch.empty_like(self.knots)
        change[self.starts] = weights / (2 * self.delta)
        change[self.ends] = -weights / (2 * self.delta)
        slope = change.cumsum(0)
        value = (slope[:-1] * self.knots.diff()).cumsum(0)  # at the knots after the first
        slope, value = F.pad(slope, (1, 0)), F.pad(value, (2, 0))
        return torch.addcmul(
            value.index_select(0, points.segment),
            slope.index_select(0, points.segment),
            points.offset,
        )

    def sum_over_points(self, points: Located, weights: Tensor) -> Tensor:
        """[P]: the sum of ``weights_j H(x_j - s_i)`` over points j, for every anchor i.

        H is the average of unit steps over ``[s - delta, s + delta]``, so this is the integral of
        the weight of the points above t, over these t, divided by ``2 delta``.
        """
        zeros = weights.new_zeros(len(self.knots) + 1)
        inside = zeros.scatter_add(0, points.segment, weights)
        moment = zeros.scatter_add(0, points.segment, weights * points.offset)
        above = _sums_from_the_top(inside)
        area = moment[1:-1] + above[2:] * self.knots.diff()
        area_above = F.pad(_sums_from_the_top(area), (0, 1))
        return (area_above[self.starts] - area_above[self.ends]) / (2 * self.delta)


@dataclass(frozen=True)
class UnitSteps:
    """Steps that rise at once: ``H(x - s) = [x >= s]``. The interface is that of `SmoothedSteps`.

    Attributes:
        knots: [P] float64, the anchors in ascending order.
        places: [P], where each anchor is among them.
    """

    knots: Tensor
    places: Tensor

    @classmethod
    def at(cls, anchors: Tensor) -> Self:
        """The steps at ``anchors`` [P] float64."""
        knots, order = anchors.sort()
        return cls(knots, _inverse(order))

    def locate(self, points: Tensor) -> Located:
        """Points [M] float64 between the knots."""
        segment = torch.searchsorted(self.knots, points, right=True)
        return Located(segment, torch.zeros_like(points))

    def sum_over_steps(self, points: Located, weights: Tensor) -> Tensor:
        """[M]: the sum of ``weights_i H(x_j - s_i)`` over i, for every point j."""
        value = torch.empty_like(weights).scatter_(0, self.places, weights).cumsum(0)
        return F.pad(value, (1, 0)).index_select(0, points.segment)

    def sum_over_points(self, points: Located, weights: Tensor) -> Tensor:
        """[P]: the sum of ``weights_j H(x_j - s_i)`` over points j, for every anchor i."""
        zeros = weights.new_zeros(len(self.knots) + 1)
        above = _sums_from_the_top(zeros.scatter_add(0, points.segment, weights))
        return above[1:][self.places]


def make_steps(anchors: Tensor, delta: float) -> SmoothedSteps | UnitSteps:
    """Steps at ``anchors`` [P] float64: unit steps for ``delta`` 0, smoothed ones else."""
    return SmoothedSteps.at(anchors, delta) if delta > 0 else UnitSteps.at(anchors)


def lower_label_sums(scores: Tensor, labels: Tensor, weights: Tensor, delta: float) -> Tensor:
    """[P, W]: the sum of ``weights_j H(s_j - s_i)`` over j with ``y_j < y_i``.

    In ascending order of the labels, the j with lower labels come before i: they are a union of
    aligned blocks of 1, 2, 4, ... examples, one for every set bit of their number. The examples of
    each block are in order of their scores, so a block's part is a difference of prefix sums. All
    log P levels are rows of one tensor; time O(P log^2 P), memory O(P log P).

    Args:
        scores: [P] float64.
        labels: [P] float64.
        weights: [P, W] float64, W sums at once.
        delta: half width of the step, >= 0; with 0, ``H(0) = 1``.
    """
    size = len(scores)
    sorted_scores, by_score = scores.sort()
    if delta > 0:
        start = torch.searchsorted(sorted_scores, scores - delta, right=True)
        end = torch.searchsorted(sorted_scores, scores + delta)
    else:
        start = end = torch.searchsorted(sorted_scores, scores)
    sorted_labels, by_label = labels.sort()
    lower = torch.searchsorted(sorted_labels, labels)  # [P]: how many labels are lower

    level = torch.arange(size.bit_length(), device=scores.device)[:, None]
    place = torch.arange(size, device=scores.device)
    # Level l: blocks of 2^l examples by label, within a block by score.
    keys, order = ((place >> level) * size + _inverse(by_score)[by_label]).sort(dim=1)
    members = by_label[order]
    total = F.pad(weights[members].cumsum(1), (0, 0, 1, 0))  # [levels, P + 1, W]
    centred = (scores - scores.mean())[:, None]  # smaller first moments cancel better
    moment = F.pad((weights * centred)[members].cumsum(1), (0, 0, 1, 0))

    block = lower >> level  # [levels, P]: i needs the block before this one, if this one is odd
    first_key = (block - 1) * size
    rise = torch.searchsorted(keys, first_key + start)  # in that block: where H leaves 0 ...
    full = torch.searchsorted(keys, first_key + end)  # ... and where it arrives at 1
    total_full = _rows(total, full)
    sums = _rows(total, block << level) - total_full
    if delta > 0:
        distance = (centred - delta) * (total_full - _rows(total, rise))
        sums = sums + (_rows(moment, full) - _rows(moment, rise) - distance) / (2 * delta)
    return (sums * (block & 1)[..., None]).sum(0)


def _rows(table: Tensor, idxs: Tensor) -> Tensor:
    """[L, P, W]: rows ``idxs`` [L, P] of each of the tables [L, R, W]."""
    return table.gather(1, idxs[..., None].expand(-1, -1, table.shape[2]))


def _inverse(order: Tensor) -> Tensor:
    """The inverse of a permutation."""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def _sums_from_the_top(values: Tensor) -> Tensor:
    """[K]: entry k is the sum of entries k, k + 1, ..."""
    return values.flip(0).cumsum(0).flip(0)
