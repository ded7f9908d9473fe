"""Ranking losses: AP, aLRP and Rank & Sort, each a short definition on one core, Identity Update.

Notation as in Oksuz, *Identifying and Addressing Imbalance Problems in Visual Detection*, chapters
6 to 8 ("thesis"): example i has logit s_i, ``x_ij = s_j - s_i``, and ``H(x)`` is a step from 0 to 1
that rises linearly over ``[-delta, delta]`` (Eq. 6.5). All sums of H are exact: positives are
sorted, and every sum is read off a piecewise linear function of the logit (`steps`). n logits with
P positives take O(n log P + P log^2 P) time and O(n + P log P) memory, of which a float32 logit
takes 16 bytes at most. Sums are in float64.

A new loss writes its errors and how they are shared, not its gradient::

    def my_loss(logits, targets):
        ranks = Ranks(logits, targets, delta=0.5)
        error = 1 - 1 / (1 + ranks.false_positives)
        return identity_update(ranks, PrimaryTerms(error, NegativesAbove(ranks)))
"""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from rebalance.boxes import check_floating
from rebalance.errors import InputError
from rebalance.losses.reduction import loss_dtype
from rebalance.losses.steps import (
    LabelledSteps,
    Located,
    make_steps,
    on_processor,
    sums_from_the_top,
)

ALRP_EPS = 1e-5  # the published guards: no gradient below this many false positives ...
RANK_SORT_EPS = 1e-10  # ... or this much of a share to distribute


class RankSortLoss(NamedTuple):
    """``loss = ranking + sorting`` is differentiable; its two parts are detached."""

    loss: Tensor
    ranking: Tensor
    sorting: Tensor


class ALRPLoss(NamedTuple):
    """``loss = classification + localisation``; logits have a gradient in the first of its parts,
    localisation errors in the second, so that the parts may be weighed.
    """

    loss: Tensor
    classification: Tensor
    localisation: Tensor


class Ranks:
    """The positives of a batch ranked among all of its examples.

    Args:
        logits: [n] float.
        targets: [n]; > 0 positive, 0 negative, -1 ignored.
        delta: half width of the smoothed step, >= 0; 0 is the unit step (``H(0) = 1``).
        count_self: what a positive adds to its own rank: "step" ``H(0)``, "one" 1.
        max_positives: a bound on the number of positives, known beforehand. With it, and without
            ``check``, nothing waits for the device.
        check: look for nan, inf and targets outside [0, 1] and -1. Without it a logit that is
            nan or inf makes the errors of all positives nan.

    Attributes (P positives in array order; up to ``max_positives`` the rest are not ``valid``):
        valid: [P] bool, True for a positive.
        count: scalar, the number of positives, at least 1.
        labels: [P] float64, targets of the positives.
        false_positives: [P], ``N_FP(i)``, the sum of ``H(x_ij)`` over negatives j.
        positive_rank: [P], ``rank+(i)``, the same over positives.
        rank: [P], the same over both.

    Raises:
        InputError: shapes, values; TypeError: ``logits`` not floating point, ``targets`` complex.
    """

    def __init__(
        self,
        logits: Tensor,
        targets: Tensor,
        delta: float,
        count_self: str = "step",
        max_positives: int | None = None,
        check: bool = True,
    ) -> None:
        check_ranking_inputs(logits, targets, delta, count_self)
        may_wait = check or max_positives is None or on_processor(logits)
        if check:
            check_ranking_values(logits, targets, max_positives)
        if len(logits) == 0:  # is one ignored example
            logits, targets = F.pad(logits, (0, 1)), logits.new_full((1,), -1.0)
        self.logits, self.targets = logits, targets
        positive = targets > 0
        count = positive.count_nonzero()
        size = int(count) if max_positives is None else max_positives
        # One place that holds no positive keeps the empty batch out of every line below.
        self.idxs = torch.nonzero_static(positive, size=max(size, 1), fill_value=0).squeeze(1)
        places = torch.arange(len(self.idxs), device=logits.device)
        self.valid = places < count
        self.count = self.valid.sum().clamp(min=1)
        self.labels = self.of_positives(targets[self.idxs].double())
        self.scores = logits.detach()[self.idxs].double()
        self.delta = delta
        self.step_at_zero = _step_at_zero(delta)
        self.own_step = 1.0 if count_self == "one" else self.step_at_zero
        self.steps = make_steps(self.scores, delta)
        self.positives = self.steps.locate(self.scores)
        self.negatives, self.negative_idxs = self._locate_negatives(may_wait)
        self.false_positives = self.steps.sum_over_points(self.negatives)
        if not check:
            extremes = torch.stack(torch.aminmax(logits.detach()))
            self.false_positives += (0 * extremes).sum()  # nan, if one of the logits is not finite
        self.positive_rank = self.over_positives(torch.ones_like(self.scores))
        self.rank = self.false_positives + self.positive_rank

    def _locate_negatives(self, may_wait: bool) -> tuple[Located, Tensor | None]:
        """The negatives between the steps, and their indices if they have been picked out.

        Those that no positive meets, because they are below all steps, are left out. Where values
        may be read and these are most of the examples, the others are picked out.
        """
        logits = self.logits.detach()
        met = self.negative
        met &= logits >= self.steps.knots[0]
        if may_wait and 2 * int(met.count_nonzero()) < len(met):
            idxs = met.nonzero().squeeze(1)
            return self.steps.locate(logits.take(idxs)), idxs
        return self.steps.locate(logits, among=met), None

    @property
    def negative(self) -> Tensor:
        """[n] bool, True for a negative."""
        return self.targets == 0

    def over_positives(self, values: Tensor) -> Tensor:
        """[P]: the sum of ``values_j H(x_ij)`` over positives j, i counted by ``count_self``."""
        return self.over_other_positives(values) + self.own_step * self.of_positives(values)

    def over_other_positives(self, values: Tensor) -> Tensor:
        """[P]: the sum of ``values_j H(x_ij)`` over positives j other than i."""
        values = self.of_positives(values)
        total = self.steps.sum_over_points(self.positives, values)
        return total - self.step_at_zero * values

    def of_positives(self, values: Tensor) -> Tensor:
        """[P]: ``values``, but 0 at places that hold no positive."""
        return torch.where(self.valid, values, 0)

    def mean(self, values: Tensor) -> Tensor:
        """Scalar: the mean over positives, 0 without any, in the dtype of the loss."""
        mean = self.of_positives(values).sum() / self.count
        return mean.to(loss_dtype(self.logits))


class Gradient(NamedTuple):
    """What the examples of a batch are pushed by; what positives get is the sum of both.

    Attributes:
        examples: [n], at least float32.
        positives: [P] float64.
    """

    examples: Tensor
    positives: Tensor


class Pmf(Protocol):
    """How the error of a positive i is shared: ``p(j|i) = share_ij / mass_i`` (Definition 2).

    Attributes:
        mass: [P], the sum of ``share_ij`` over j.
        eps: where ``mass`` is not above it, ``p(.|i) = 0``: the error makes no gradient.
    """

    mass: Tensor
    eps: float

    def spread(self, weights: Tensor, gradient: Gradient) -> None:
        """Add to every example j the sum of ``weights_i share_ij`` over positives i, in place."""
        ...


class NegativesAbove:
    """``p(j|i)`` proportional to ``H(x_ij)`` on negatives j: they share alike (section 6.3)."""

    def __init__(self, ranks: Ranks, eps: float = 0.0) -> None:
        self.ranks, self.eps, self.mass = ranks, eps, ranks.false_positives

    def spread(self, weights: Tensor, gradient: Gradient) -> None:
        """See `Pmf`."""
        ranks = self.ranks
        if ranks.negative_idxs is None:
            ranks.steps.add_sums_over_steps(ranks.negatives, weights, to=gradient.examples)
            return
        sums = gradient.examples.new_zeros(len(ranks.negative_idxs))
        ranks.steps.add_sums_over_steps(ranks.negatives, weights, to=sums)
        gradient.examples.index_add_(0, ranks.negative_idxs, sums)


class LowerLabelsAbove:
    """``p(j|i)`` proportional to ``H(x_ij) [y_j < y_i]`` on positives j (Eq. 8.6)."""

    def __init__(self, ranks: Ranks, eps: float = 0.0) -> None:
        self.ranks, self.eps = ranks, eps
        self.steps = LabelledSteps.at(ranks.scores, ranks.labels, ranks.delta)
        self.mass = self.sum(torch.ones_like(ranks.scores))

    def sum(self, values: Tensor) -> Tensor:
        """[P]: the sum of ``values_j H(x_ij)`` over positives j with a lower label than i."""
        return self.steps.sum_over_lower(self.ranks.of_positives(values))

    def spread(self, weights: Tensor, gradient: Gradient) -> None:
        """See `Pmf`."""
        gradient.positives.add_(self.steps.sum_over_higher(self.ranks.of_positives(weights)))


class PrimaryTerms(NamedTuple):
    """``L_ij = (l(i) - l*(i)) p(j|i)`` (Eq. 6.18), never written out as a matrix.

    Attributes:
        error: [P], ``l(i) - l*(i)`` of each positive.
        pmf: how it is shared.
        keep_unshared: whether an error that nothing shares pushes its positive up all the same.
            With a right target there is no such error.
    """

    error: Tensor
    pmf: Pmf
    keep_unshared: bool = False


def identity_update(ranks: Ranks, *terms: PrimaryTerms) -> Tensor:
    """The mean error of the positives (Eq. 6.17, Z = P), with the gradient of Identity Update.

    ``dL/ds_k = 1/Z (sum_i L_ik - sum_j L_kj)`` (Eq. 6.24): an example is pushed down by what it
    gets of the errors of others, and a positive is pushed up by the error that it hands on.

    Returns:
        Scalar, at least float32, differentiable in the logits.
    """
    loss = torch.stack([ranks.mean(term.error) for term in terms]).sum()
    if not (ranks.logits.requires_grad and torch.is_grad_enabled()):
        return loss
    gradient = Gradient(
        torch.zeros_like(ranks.logits, dtype=loss.dtype),
        torch.zeros_like(ranks.scores),
    )
    for error, pmf, keep_unshared in terms:
        shared = ranks.valid & ~(pmf.mass <= pmf.eps)  # nan goes on into the gradient
        passed_down = torch.where(shared, error, 0) / ranks.count
        pmf.spread(passed_down / torch.where(shared, pmf.mass, 1), gradient)
        gradient.positives.sub_(error / ranks.count if keep_unshared else passed_down)
    of_positives = ranks.of_positives(gradient.positives).to(loss.dtype)
    gradient.examples.index_add_(0, ranks.idxs, of_positives)
    return _WithGradient.apply(ranks.logits, loss, gradient.examples.to(ranks.logits.dtype))


class _WithGradient(torch.autograd.Function):
    """The given value with the given gradient in the logits."""

    @staticmethod
    def forward(logits: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output.to(gradient.dtype) * gradient, None, None


def ap_loss(
    logits: Tensor,
    targets: Tensor,
    delta: float = 1.0,
    interpolated: bool = True,
    count_self: str = "one",
    max_positives: int | None = None,
    check: bool = True,
) -> Tensor:
    """Average Precision loss ``1 - AP`` (Chen et al., CVPR 2019; thesis Eq. 6.2-6.15), in [0, 1].

    Args:
        logits: [n] float.
        targets: [n]; > 0 positive, 0 negative, -1 ignored.
        delta: half width of the smoothed step; 0 is the unit step.
        interpolated: the published code takes for precision(i) the largest precision of the
            positives scored at or below i; False is the thesis (Eq. 6.2).
        count_self: "one" (published) or "step", see `Ranks`.
        max_positives: see `Ranks`.
        check: see `Ranks`.

    Returns:
        Scalar; 0 with a gradient path when there is no positive or no negative.
    """
    ranks = Ranks(logits, targets, delta, count_self, max_positives, check)
    error = ranks.false_positives / ranks.rank
    if interpolated:
        ascending = torch.argsort(ranks.scores)
        # Places that hold no positive must not lower the minimum.
        running = torch.where(ranks.valid, error, 1)[ascending].cummin(0).values
        error = torch.empty_like(error).scatter_(0, ascending, running)
    return identity_update(ranks, PrimaryTerms(error, NegativesAbove(ranks)))


def alrp_loss(
    logits: Tensor,
    targets: Tensor,
    localisation_errors: Tensor,
    delta: float = 1.0,
    delta_loc: float = 0.0,
    count_self: str = "one",
    eps: float = ALRP_EPS,
    check: bool = True,
    target: str = "own",
    ties: str = "sorted",
) -> ALRPLoss:
    """Average Localisation-Recall-Precision loss (thesis Eq. 7.2-7.7).

    The logits get the gradient of Eq. 7.7, the localisation errors their weights of Eq. K.3. For
    errors in [0, 1] it is in [0, 1] with ``delta_loc = delta``; scores closer than ``delta`` can
    take it to 2 with the unsmoothed weights.

    Args:
        logits: [n] float.
        targets: [n]; > 0 positive, 0 negative, -1 ignored.
        localisation_errors: [P] ``E_loc = (1 - IoU) / (1 - tau)`` of the positives in array order,
            differentiable. P gives the number of positives, so nothing waits for the device.
        delta: half width of the smoothed step; 0 is the unit step.
        delta_loc: the same for the weights of the localisation errors; 0 as published (Eq. K.3),
            ``delta`` for Eq. 7.5.
        count_self: "one" (published) or "step", see `Ranks`.
        eps: no gradient from positives with ``N_FP <= eps``, where Eq. 7.7 jumps; 0 for none.
        check: see `Ranks`.
        target: what the error of a positive is measured from: "own" ``E_loc(i) / rank(i)`` (Eq.
            J.3), or "zero", the mistake that lets trainings diverge (thesis L.3): a positive above
            all negatives is pushed up further by its localisation error, which no negative shares.
        ties: how positives of equal scores weigh each other's errors with ``delta_loc`` 0: in the
            order of a "sorted" array (published; the later comes before the earlier), or "both"
            ways (Eq. K.3), and then the order of the examples does not matter.

    Returns:
        ``(loss, classification, localisation)``; zeros with a gradient path without positives.
    """
    if target not in ("own", "zero"):
        raise InputError(f"target must be 'own' or 'zero', got {target!r}")
    if ties not in ("sorted", "both"):
        raise InputError(f"ties must be 'sorted' or 'both', got {ties!r}")
    check_floating("localisation_errors", localisation_errors)
    if localisation_errors.ndim != 1:
        raise InputError(f"localisation_errors must be [P], got {list(localisation_errors.shape)}")
    if check and not localisation_errors.isfinite().all():
        raise InputError("localisation_errors must be finite, got nan or inf")
    size = len(localisation_errors)
    bound = None if check else size
    ranks = Ranks(logits, targets, delta, count_self, max_positives=bound, check=check)
    if check and (positives := int(ranks.valid.sum())) != size:
        raise InputError(
            f"localisation_errors must be [{positives}], one per positive, got [{size}]"
        )
    padded = F.pad(localisation_errors.double(), (0, len(ranks.valid) - size))
    errors = padded.detach()
    # Eq. J.1-J.3: the target of i is its own E_loc(i) / rank(i).
    errors_above = ranks.over_other_positives(errors) + (errors if target == "zero" else 0)
    above_target = (ranks.false_positives + errors_above) / ranks.rank
    term = PrimaryTerms(above_target, NegativesAbove(ranks, eps), keep_unshared=target == "zero")
    update = identity_update(ranks, term)
    classification = ranks.mean(ranks.false_positives / ranks.rank)  # Eq. 7.4
    if ties == "sorted" and delta_loc == 0:
        weights = _sorted_weights(ranks)
    else:
        weights = _ranking_weights(ranks, delta_loc, "one")  # Eq. K.3
    # `update` has the right gradient, but its value leaves the target out.
    classification = classification + (update - update.detach())
    localisation = (weights * padded).sum().to(update.dtype)
    return ALRPLoss(classification + localisation, classification, localisation)


def rank_sort_loss(
    logits: Tensor,
    targets: Tensor,
    delta: float = 0.5,
    count_self: str = "step",
    eps: float = RANK_SORT_EPS,
    max_positives: int | None = None,
    check: bool = True,
) -> RankSortLoss:
    """Rank & Sort loss (thesis Eq. 8.2-8.8): positives above negatives, and sorted by their labels.

    Args:
        logits: [n] float.
        targets: [n] in [0, 1], IoU of a positive with its ground truth; 0 negative, -1 ignored.
        delta: half width of the smoothed step; 0 is the unit step (thesis Fig. M.1).
        count_self: "step" (published) or "one", see `Ranks`.
        eps: no gradient from a positive whose error has no more than this mass to share.
        max_positives: see `Ranks`.
        check: see `Ranks`.

    Returns:
        ``(loss, ranking, sorting)``; zeros with a gradient path without positives.
    """
    ranks = Ranks(logits, targets, delta, count_self, max_positives, check)
    ranking_error = ranks.false_positives / ranks.rank  # Eq. 8.3, target 0
    inverted = 1 - ranks.labels
    inverted_above = ranks.over_positives(inverted)
    lower = LowerLabelsAbove(ranks, eps)
    current = inverted_above / ranks.positive_rank  # Eq. 8.3
    # Eq. 8.4: positives with labels of at least y_i are all but those with lower ones.
    target = (inverted_above - lower.sum(inverted)) / (ranks.positive_rank - lower.mass)
    sorting_error = current - target
    loss = identity_update(
        ranks,
        PrimaryTerms(ranking_error, NegativesAbove(ranks, eps)),
        PrimaryTerms(sorting_error, lower),
    )
    return RankSortLoss(loss, ranks.mean(ranking_error), ranks.mean(sorting_error))


def ranking_weights(
    logits: Tensor,
    targets: Tensor,
    delta: float = 0.5,
    delta_loc: float = 0.0,
    count_self: str = "step",
    max_positives: int | None = None,
    check: bool = True,
) -> Tensor:
    """Instance weights ``w_i = 1/P sum_k H(x_ki) / rank(k)`` of the positives (thesis 8.4.2).

    Args:
        logits: [n] float.
        targets: [n]; > 0 positive, 0 negative, -1 ignored.
        delta: half width of the step in ``rank(k)``.
        delta_loc: half width of the step in the numerator; 0 is the unit step.
        count_self: see `Ranks`.
        max_positives: see `Ranks`.
        check: see `Ranks`.

    Returns:
        [P] in array order, detached ([max_positives] with zeros at the end, if given).
    """
    ranks = Ranks(logits, targets, delta, count_self, max_positives, check)
    weights = _ranking_weights(ranks, delta_loc, count_self)
    size = int(ranks.valid.sum()) if max_positives is None else max_positives
    return weights[:size].to(loss_dtype(logits))


def _ranking_weights(ranks: Ranks, delta_loc: float, count_self: str) -> Tensor:
    steps = make_steps(ranks.scores, delta_loc)
    shares = ranks.of_positives(1 / ranks.rank)
    total = torch.zeros_like(shares)
    steps.add_sums_over_steps(steps.locate(ranks.scores), shares, to=total)
    if count_self == "one":
        total = total + (1 - _step_at_zero(delta_loc)) * shares
    return ranks.of_positives(total) / ranks.count


def _sorted_weights(ranks: Ranks) -> Tensor:
    """`_ranking_weights` of unit steps, but of equal scores the later comes first."""
    order = ranks.scores.argsort(stable=True).flip(0)
    shares = ranks.of_positives(1 / ranks.rank)[order]
    total = torch.empty_like(shares).scatter_(0, order, sums_from_the_top(shares))
    return ranks.of_positives(total) / ranks.count


def _step_at_zero(delta: float) -> float:
    return 0.5 if delta > 0 else 1.0


def check_ranking_inputs(logits: Tensor, targets: Tensor, delta: float, count_self: str) -> None:
    """Raise unless types, shapes and options are those of a ranking loss."""
    check_floating("logits", logits)
    if targets.is_complex():
        raise TypeError(f"targets must be real, got {targets.dtype}")
    if logits.ndim != 1 or logits.shape != targets.shape:
        raise InputError(
            f"logits and targets must both be [n], got {list(logits.shape)} "
            f"and {list(targets.shape)}"
        )
    if not delta >= 0:
        raise InputError(f"delta must be >= 0, got {delta}")
    if count_self not in ("one", "step"):
        raise InputError(f"count_self must be 'one' or 'step', got {count_self!r}")


def check_ranking_values(logits: Tensor, targets: Tensor, max_positives: int | None) -> None:
    """Raise unless the values are those of a ranking loss; waits for the device."""
    if len(logits) == 0:
        return
    # aminmax hands nan on, and is one quick pass.
    if not torch.stack(torch.aminmax(logits)).isfinite().all():
        raise InputError("logits must be finite, got nan or inf")
    lowest, highest = torch.aminmax(targets)
    if not highest <= 1 or (lowest < 0 and ((targets < 0) & (targets != -1)).any()):
        raise InputError("targets must be in [0, 1], or -1 for ignored")
    if (
        max_positives is not None
        and (positives := int((targets > 0).count_nonzero())) > max_positives
    ):
        raise InputError(f"there may be {max_positives} positives at most, got {positives}")
