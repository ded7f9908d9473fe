"""The ranking losses by slow loops over the thesis' equations, in float64: one pair at a time.

Independent of the library: nothing here sorts, and the gradient is that of the full matrix of
primary terms (Eq. 6.24).
"""

from collections.abc import Sequence
from typing import NamedTuple


class Reference(NamedTuple):
    loss: float
    parts: tuple[float, float]
    gradient: list[float]
    localisation_weights: list[float]


def step(x: float, delta: float) -> float:
    """Eq. 6.5; the unit step, with H(0) = 1, for delta 0."""
    if delta == 0:
        return float(x >= 0)
    return min(max(x / (2 * delta) + 0.5, 0.0), 1.0)


def split(targets: Sequence[float]) -> tuple[list[int], list[int]]:
    positives = [i for i, y in enumerate(targets) if y > 0]
    negatives = [i for i, y in enumerate(targets) if y == 0]
    return positives, negatives


def identity_update(
    size: int, terms: dict[tuple[int, int], float], normaliser: float
) -> list[float]:
    """Eq. 6.24 from the primary terms L_ij."""
    gradient = [0.0] * size
    for (i, j), term in terms.items():
        gradient[i] -= term / normaliser
        gradient[j] += term / normaliser
    return gradient


def share(
    terms: dict[tuple[int, int], float], i: int, error: float, pmf: dict[int, float], eps: float
) -> None:
    """Add L_ij = error p(j|i) (Eq. 6.18); ``pmf`` is not normalised yet."""
    mass = sum(pmf.values())
    if mass > eps:
        for j, part in pmf.items():
            terms[i, j] = terms.get((i, j), 0.0) + error * part / mass


def rank_sort(
    logits: Sequence[float],
    targets: Sequence[float],
    delta: float,
    count_self: str = "step",
    eps: float = 1e-10,
) -> Reference:
    """Eq. 8.2-8.8."""
    positives, negatives = split(targets)
    ranking = sorting = 0.0
    terms: dict[tuple[int, int], float] = {}
    for i in positives:
        above = {j: step(logits[j] - logits[i], delta) for j in positives + negatives}
        if count_self == "one":
            above[i] = 1.0
        false_positives = {j: above[j] for j in negatives}
        rank = sum(above.values())
        ranking_error = sum(false_positives.values()) / rank
        current = sum(above[j] * (1 - targets[j]) for j in positives) / sum(
            above[j] for j in positives
        )
        higher = [j for j in positives if targets[j] >= targets[i]]
        target = sum(above[j] * (1 - targets[j]) for j in higher) / sum(above[j] for j in higher)
        lower = {j: above[j] for j in positives if targets[j] < targets[i]}
        ranking += ranking_error / len(positives)
        sorting += (current - target) / len(positives)
        share(terms, i, ranking_error, false_positives, eps)
        share(terms, i, current - target, lower, eps)
    gradient = identity_update(len(logits), terms, max(len(positives), 1))
    return Reference(ranking + sorting, (ranking, sorting), gradient, [])


def ap(
    logits: Sequence[float],
    targets: Sequence[float],
    delta: float,
    interpolated: bool,
    count_self: str = "one",
) -> Reference:
    """Eq. 6.2-6.15; ``interpolated`` takes the best precision at or below each positive."""
    positives, negatives = split(targets)
    errors, pmfs = {}, {}
    for i in positives:
        above = {j: step(logits[j] - logits[i], delta) for j in positives + negatives}
        if count_self == "one":
            above[i] = 1.0
        pmfs[i] = {j: above[j] for j in negatives}
        errors[i] = sum(pmfs[i].values()) / sum(above.values())
    if interpolated:
        errors = {i: min(errors[k] for k in positives if logits[k] <= logits[i]) for i in positives}
    terms: dict[tuple[int, int], float] = {}
    for i in positives:
        share(terms, i, errors[i], pmfs[i], 0.0)
    loss = sum(errors.values()) / max(len(positives), 1)
    gradient = identity_update(len(logits), terms, max(len(positives), 1))
    return Reference(loss, (loss, 0.0), gradient, [])


def alrp(
    logits: Sequence[float],
    targets: Sequence[float],
    localisation_errors: Sequence[float],
    delta: float,
    delta_loc: float,
    count_self: str = "one",
    eps: float = 1e-5,
) -> Reference:
    """Eq. 7.2-7.7; the weights of the localisation errors are those of Eq. K.3."""
    positives, negatives = split(targets)
    errors = dict(zip(positives, localisation_errors, strict=True))
    classification = localisation = 0.0
    weights = dict.fromkeys(positives, 0.0)
    terms: dict[tuple[int, int], float] = {}
    for i in positives:
        above = {j: step(logits[j] - logits[i], delta) for j in positives + negatives}
        if count_self == "one":
            above[i] = 1.0
        rank = sum(above.values())
        pmf = {j: above[j] for j in negatives}
        others = sum(errors[k] * above[k] for k in positives if k != i)
        share(terms, i, (sum(pmf.values()) + others) / rank, pmf, eps)
        classification += sum(pmf.values()) / rank / len(positives)
        for k in positives:
            counted = 1.0 if k == i else step(logits[k] - logits[i], delta_loc)
            weights[k] += counted / rank / len(positives)
    localisation = sum(weights[k] * errors[k] for k in positives)
    gradient = identity_update(len(logits), terms, max(len(positives), 1))
    return Reference(
        classification + localisation,
        (classification, localisation),
        gradient,
        list(weights.values()),
    )
