"""Sums over steps ``H(x - s)`` without a matrix of all pairs: the arithmetic of ranking losses.

``H`` rises from 0 to 1, linearly over ``[-delta, delta]`` (`SmoothedSteps`; thesis Eq. 6.5) or at
once with ``H(0) = 1`` (`UnitSteps`). For P anchors s and M points x, a weighted sum of the steps is
a piecewise linear function of x with 2 P knots. Points are located between knots once (M log P);
after that every sum over anchors or over points is prefix sums over the knots. Points stay in their
own dtype and are read in chunks; sums are in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from rebalance.losses.reduction import loss_dtype

CHUNK_OF_CACHE = 2**15  # points whose working set stays in the cache of a core ...
CHUNK_OF_DEVICE = 2**22  # ... and which take some 200 MB of a device in few kernels
MANY_POINTS = 2**12  # from here on a table of buckets is quicker to make than to do without
BUCKETS_PER_KNOT = 16


class Located(NamedTuple):
    """Points between the knots.

    Attributes:
        points: [M] floating point.
        segment: [M] int32, how many knots are at or below the point. Nothing counts at 0, so 0
            also leaves a point out.
    """

    points: Tensor
    segment: Tensor

    def chunks(self, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Chunks of the points, their segments, and other tensors [M]."""
        size = _chunk_size(self.points)
        return zip(*(x.split(size) for x in (self.points, self.segment, *others)), strict=True)

    def weighted_chunks(self, weights: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
        """Chunks of the points, their segments, and their weights [M] in float64 or ones."""
        given = () if weights is None else (weights.double(),)
        for x, segment, *weight in self.chunks(*given):
            yield x, segment, *(weight or [torch.ones_like(x, dtype=torch.float64)])


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

    def locate(self, points: Tensor, among: Tensor | None = None) -> Located:
        """Points [M] between the knots; those that are not ``among`` [M] bool are left out."""
        return _locate(self.knots, points, among)

    def add_sums_over_steps(self, points: Located, weights: Tensor, to: Tensor) -> None:
        """Add to ``to`` [M] the sum of ``weights_i H(x_j - s_i)`` over i, for every point j."""
        change = torch.empty_like(self.knots)
        change[self.starts] = weights / (2 * self.delta)
        change[self.ends] = -weights / (2 * self.delta)
        slope = change.cumsum(0)
        value = (slope[:-1] * self.knots.diff()).cumsum(0)  # at the knots after the first
        slope, value = F.pad(slope, (1, 0)), F.pad(value, (2, 0))
        last = self._last_knots()
        for x, segment, out in points.chunks(to):  # index_select is several times faster than []
            offset = x.double() - last.index_select(0, segment)
            sums = value.index_select(0, segment)
            out += sums.addcmul_(slope.index_select(0, segment), offset)

    def sum_over_points(self, points: Located, weights: Tensor | None = None) -> Tensor:
        """[P]: the sum of ``weights_j H(x_j - s_i)`` over points j, for every anchor i.

        H is the average of unit steps over ``[s - delta, s + delta]``, so this is the integral of
        the weight of the points above t, over these t, divided by ``2 delta``. Without weights,
        every point weighs 1.
        """
        inside = self.knots.new_zeros(len(self.knots) + 1)
        moment = torch.zeros_like(inside)
        last = self._last_knots()
        for x, segment, weight in points.weighted_chunks(weights):
            offset = x.double() - last.index_select(0, segment)
            idxs = segment.long()
            inside.scatter_add_(0, idxs, weight)
            moment.scatter_add_(0, idxs, offset.mul_(weight))
        above = sums_from_the_top(inside)
        area = moment[1:-1] + above[2:] * self.knots.diff()
        area_above = F.pad(sums_from_the_top(area), (0, 1))
        return (area_above[self.starts] - area_above[self.ends]) / (2 * self.delta)

    def _last_knots(self) -> Tensor:
        """[2 P + 1]: the last knot at or below the points of a segment, and any for the first."""
        return torch.cat([self.knots[:1], self.knots])


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

    def locate(self, points: Tensor, among: Tensor | None = None) -> Located:
        """Points [M] between the knots; those that are not ``among`` [M] bool are left out."""
        return _locate(self.knots, points, among)

    def add_sums_over_steps(self, points: Located, weights: Tensor, to: Tensor) -> None:
        """Add to ``to`` [M] the sum of ``weights_i H(x_j - s_i)`` over i, for every point j."""
        value = torch.empty_like(weights).scatter_(0, self.places, weights).cumsum(0)
        value = F.pad(value, (1, 0))
        for _, segment, out in points.chunks(to):
            out += value.index_select(0, segment)

    def sum_over_points(self, points: Located, weights: Tensor | None = None) -> Tensor:
        """[P]: the sum of ``weights_j H(x_j - s_i)`` over points j, for every anchor i."""
        inside = self.knots.new_zeros(len(self.knots) + 1)
        for _, segment, weight in points.weighted_chunks(weights):
            inside.scatter_add_(0, segment.long(), weight)
        return sums_from_the_top(inside)[1:][self.places]


def make_steps(anchors: Tensor, delta: float) -> SmoothedSteps | UnitSteps:
    """Steps at ``anchors`` [P] float64: unit steps for ``delta`` 0, smoothed ones else."""
    return SmoothedSteps.at(anchors, delta) if delta > 0 else UnitSteps.at(anchors)


@dataclass(frozen=True)
class BucketSearch:
    """``searchsorted(knots, points, right=True)`` for very many points on a processor.

    A processor cannot foresee where a binary search branches. Here the place of a point in a table
    of equal buckets says which knots are certainly below it, and the few knots of one bucket are
    searched without branches, by whole steps of all points: a tenth of the time.

    Attributes:
        knots: [K + 2^bits - 1], ascending; nan, at or below no point, beyond the K knots.
        scale: buckets per unit.
        below: [B] int32, how many knots are in the buckets before each one.
        bits: of the number of knots in the fullest bucket.
    """

    knots: Tensor
    scale: Tensor
    below: Tensor
    bits: int

    @classmethod
    def among(cls, knots: Tensor) -> Self:
        """The search among ``knots`` [K], ascending, K > 0."""
        size = BUCKETS_PER_KNOT * len(knots)
        scale = size / (knots[-1] - knots[0])
        inside = torch.zeros(size, dtype=torch.int32)
        buckets = _buckets(knots, knots[0], scale, size)
        inside.index_add_(0, buckets, torch.ones_like(buckets))
        bits = int(inside.max()).bit_length()
        padded = F.pad(knots, (0, 2**bits - 1), value=torch.nan)
        return cls(padded, scale, inside.cumsum(0, dtype=torch.int32).sub_(inside), bits)

    def count(self, points: Tensor) -> Tensor:
        """[M] int32: how many knots are at or below each point."""
        buckets = _buckets(points, self.knots[0], self.scale, len(self.below))
        count = self.below.index_select(0, buckets)
        for step in (2**bit for bit in reversed(range(self.bits))):
            knot = self.knots[step - 1 :].index_select(0, count)
            count.add_(knot.le_(points).int(), alpha=step)
        return count


def _buckets(points: Tensor, lowest: Tensor, scale: Tensor, size: int) -> Tensor:
    """[M] int32 in ``[0, size)``; whatever rounding does, it never falls as points rise."""
    places = (points - lowest).mul_(scale).clamp_(max=size - 1)
    return places.int().clamp_(min=0)  # of nan, too: a nan point, or 0 * inf at the lowest knot


def _counter(knots: Tensor, num_points: int) -> Callable[[Tensor], Tensor]:
    """A function of points [M]: how many of the ascending ``knots`` are at or below each, int32.

    Args:
        knots: [K], ascending.
        num_points: about how many there will be; for few no table is made.
    """
    if num_points >= MANY_POINTS and on_processor(knots):
        return BucketSearch.among(knots).count
    return partial(torch.searchsorted, knots, right=True, out_int32=True)


def _locate(knots: Tensor, points: Tensor, among: Tensor | None) -> Located:
    """See `SmoothedSteps.locate`; nan may be found anywhere."""
    dtype = loss_dtype(points)
    rounded = knots.to(dtype)
    # No number of this dtype is between a knot and the next one above it: locating is exact.
    above = rounded.nextafter(rounded.new_tensor(torch.inf))
    rounded = torch.where(rounded < knots, above, rounded)
    count = _counter(rounded, len(points))
    located = Located(points, torch.empty_like(points, dtype=torch.int32))
    for x, out in located.chunks():
        out.copy_(count(x.to(dtype)))
    if among is not None:
        for _, out, taken in located.chunks(among):
            out.mul_(taken)
    return located


@dataclass(frozen=True)
class LabelledSteps:
    """Steps between examples with different labels.

    In ascending order of the labels, the examples with lower labels than i come before i: they are
    a union of aligned blocks of 1, 2, 4, ... examples, one for every set bit of their number. The
    examples of each block are in order of their scores, so a block's part of a sum is a difference
    of prefix sums. All L = log P levels are rows of one tensor; time O(P log^2 P), memory
    O(P log P).

    Attributes:
        delta: half width of the step, >= 0; with 0, ``H(0) = 1``.
        members: [L, P], examples in the order of each level: by block, then by score.
        places: [L, P], where each example is in this order.
        needs: [L, P] bool, whether an example (in the order of the level, like all that follows)
            sums over the block before its own.
        rise: [L, P], in that block, the first place where H is above 0 ...
        full: [L, P], ... and the first where it is 1 ...
        top: [L, P], ... and the end of the block.
        centred: [L, P] float64, scores; smaller first moments cancel better.
    """

    delta: float
    members: Tensor
    places: Tensor
    needs: Tensor
    rise: Tensor
    full: Tensor
    top: Tensor
    centred: Tensor

    @classmethod
    def at(cls, scores: Tensor, labels: Tensor, delta: float) -> Self:
        """The steps at ``scores`` [P] float64 with ``labels`` [P] float64."""
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
        # Level l: blocks of 2^l examples by label, within a block by score. Keys ascend from level
        # to level, so that one search finds all; as float64 they are exact.
        keys, order = (
            (level * size + (place >> level)) * size + _inverse(by_score)[by_label]
        ).sort(dim=1)
        count_keys = _counter(keys.flatten().double(), keys.numel())
        members = by_label.take(order)
        block = lower.take(members) >> level
        first_key = (level * size + block - 1) * size

        def place_of(score_rank: Tensor) -> Tensor:
            below = count_keys((first_key + score_rank.take(members) - 1).double().flatten())
            return (below.view_as(members) - level * size).clamp(min=0)  # block 0 has none before

        places = torch.empty_like(members).scatter_(1, members, place.expand_as(members))
        centred = (scores - scores.mean()).take(members)
        rise, full = place_of(start), place_of(end)
        return cls(delta, members, places, (block & 1).bool(), rise, full, block << level, centred)

    def sum_over_lower(self, weights: Tensor) -> Tensor:
        """[P]: the sum of ``weights_j H(s_j - s_i)`` over j with ``y_j < y_i``."""
        weights = weights.take(self.members)
        total = F.pad(weights.cumsum(1), (1, 0))
        total_full = total.gather(1, self.full)
        sums = total.gather(1, self.top) - total_full
        if self.delta > 0:
            moment = F.pad((weights * self.centred).cumsum(1), (1, 0))
            rising = moment.gather(1, self.full) - moment.gather(1, self.rise)
            distance = (self.centred - self.delta) * (total_full - total.gather(1, self.rise))
            sums = sums + (rising - distance) / (2 * self.delta)
        return (sums * self.needs).gather(1, self.places).sum(0)

    def sum_over_higher(self, weights: Tensor) -> Tensor:
        """[P]: the sum of ``weights_i H(s_j - s_i)`` over i with ``y_i > y_j``, for every j.

        `sum_over_lower` transposed: what it reads off prefix sums is added to them.
        """
        weights = weights.take(self.members) * self.needs
        total = weights.new_zeros(len(weights), weights.shape[1] + 1)
        total.scatter_add_(1, self.top, weights).scatter_add_(1, self.full, -weights)
        moment = torch.zeros_like(total)
        if self.delta > 0:
            slope = weights / (2 * self.delta)
            distance = (self.centred - self.delta) * slope
            total.scatter_add_(1, self.full, -distance).scatter_add_(1, self.rise, distance)
            moment.scatter_add_(1, self.full, slope).scatter_add_(1, self.rise, -slope)
        total, moment = (sums_from_the_top(x)[:, 1:] for x in (total, moment))
        return (total + moment * self.centred).gather(1, self.places).sum(0)


def _chunk_size(points: Tensor) -> int:
    return CHUNK_OF_CACHE if on_processor(points) else CHUNK_OF_DEVICE


def on_processor(tensor: Tensor) -> bool:
    """Whether values may be read at no cost: not on other devices, nor where code is compiled."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _inverse(order: Tensor) -> Tensor:
    """The inverse of a permutation."""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def sums_from_the_top(values: Tensor) -> Tensor:
    """Entry k along the last dimension is the sum of entries k, k + 1, ..."""
    return values.flip(-1).cumsum(-1).flip(-1)
