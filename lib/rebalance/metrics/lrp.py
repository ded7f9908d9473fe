"""Localisation-Recall-Precision (LRP) error (Oksuz, thesis chapter 5; appendices E and F).

A detector's output with a score threshold is summed up by four numbers, how many true positives,
false positives and false negatives, and how well the true positives fit:

    LRP = (sum over TP of (1 - lq) / (1 - tau) + N_FP + N_FN) / (N_TP + N_FP + N_FN)      Eq. 5.2

0 is perfect and 1 is the worst. Conventions, those of the published code:

- The localisation component is the mean of 1 - lq, not divided by 1 - tau.
- Detections with the same score are separate operating points, in the order of the matching. No
  threshold can separate them; ``operating_points="scores"`` takes only whole groups of equal score.
- The optimum is the first of equal minima. Without a true positive oLRP = oLRP_FN = 1, the other
  components and the threshold are undefined. Undefined is nan and is skipped by averages.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError

OPERATING_POINTS = ("detections", "scores")
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Importance of the three kinds of error (Eq. E.1); LRP as published has 1, 1, 1."""

    tp: float = 1.0
    fp: float = 1.0
    fn: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no weight."""
        values = (self.tp, self.fp, self.fn)
        if not all(np.isfinite(value) and value >= 0 for value in values) or not any(values):
            raise InputError(f"weights must be finite, >= 0 and not all 0, got {values}")


EQUAL_WEIGHTS = Weights()


@dataclass(frozen=True)
class Lrp:
    """LRP error and its components, for one threshold or (arrays) along many.

    Attributes:
        lrp: Eq. 5.2, or E.1 with weights.
        loc: mean 1 - lq of the true positives, Eq. 5.4.
        fp: 1 - precision, Eq. 5.5.
        fn: 1 - recall, Eq. 5.6.
        n_tp, n_fp, n_fn: the counts.
    """

    lrp: Numbers
    loc: Numbers
    fp: Numbers
    fn: Numbers
    n_tp: Numbers
    n_fp: Numbers
    n_fn: Numbers

    def __getitem__(self, index: int | slice | NDArray[np.int64]) -> "Lrp":
        """The same at some of the thresholds."""
        return Lrp(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def lrp_error(
    localisation_error: Numbers | float,
    n_tp: Numbers | float,
    n_fp: Numbers | float,
    n_fn: Numbers | float,
    tau: float = 0.5,
    weights: Weights = EQUAL_WEIGHTS,
) -> Lrp:
    """LRP of hard predictions, from their counts; scalars or arrays of one shape.

    Args:
        localisation_error: sum over the true positives of 1 - lq, at most n_tp (1 - tau).
        n_tp, n_fp, n_fn: counts.
        tau: the quality a true positive needs, in [0, 1).
        weights: importance of each kind of error.

    Raises:
        InputError: tau outside [0, 1).
    """
    check_tau(tau)
    localisation_error, n_tp, n_fp, n_fn = np.broadcast_arrays(
        *(np.asarray(value, np.float64) for value in (localisation_error, n_tp, n_fp, n_fn))
    )
    matching_error = (
        weights.tp * localisation_error / (1 - tau) + weights.fp * n_fp + weights.fn * n_fn
    )
    worst = weights.tp * n_tp + weights.fp * n_fp + weights.fn * n_fn
    return Lrp(
        lrp=np.minimum(_ratio(matching_error, worst), 1.0),  # 1 + 2e-16 by rounding
        loc=_ratio(localisation_error, n_tp),
        fp=_ratio(n_fp, n_tp + n_fp),
        fn=_ratio(n_fn, n_tp + n_fn),
        n_tp=n_tp,
        n_fp=n_fp,
        n_fn=n_fn,
    )


def lrp_from_components(components: Lrp, tau: float = 0.5) -> Numbers:
    """LRP as the weighted mean of its components (Eq. 5.3); equals ``components.lrp``."""
    n_detections = components.n_tp + components.n_fp
    n_ground_truths = components.n_tp + components.n_fn
    total = (
        components.n_tp / (1 - tau) * np.nan_to_num(components.loc)
        + n_detections * np.nan_to_num(components.fp)
        + n_ground_truths * np.nan_to_num(components.fn)
    )
    return _ratio(total, components.n_tp + components.n_fp + components.n_fn)


@dataclass(frozen=True)
class SLrp:
    """The s-LRP curve of one class: LRP of the detections that score at least s.

    Attributes:
        scores: float64 [S], falling; the operating points.
        errors: LRP and components at each, [S].
        num_gt: ground truths that count.
    """

    scores: Numbers
    errors: Lrp
    num_gt: int

    def at(self, threshold: float) -> Lrp:
        """LRP of the detections with score >= ``threshold``."""
        kept = int(np.searchsorted(-self.scores, -threshold, side="right"))
        return self.errors[kept - 1] if kept else lrp_error(0, 0, 0, self.num_gt)


def s_lrp(
    scores: Numbers,
    quality: Numbers,
    true_positives: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    num_gt: int,
    tau: float = 0.5,
    operating_points: str = "detections",
    weights: Weights = EQUAL_WEIGHTS,
) -> SLrp:
    """LRP along all score thresholds of one class.

    Args:
        scores: float64 [D], falling.
        quality: float64 [D], localisation quality of the true positives.
        true_positives: bool [D].
        ignored: bool [D], neither true nor false positives; they keep their operating point.
        num_gt: ground truths that count.
        tau: the quality that made a match.
        operating_points: "detections" (published code) or "scores" (whole groups of equal score).
        weights: importance of each kind of error.
    """
    if operating_points not in OPERATING_POINTS:
        raise InputError(
            f"operating_points must be one of {OPERATING_POINTS}, got {operating_points!r}"
        )
    n_tp = np.cumsum(true_positives, dtype=np.float64)
    errors = lrp_error(
        np.cumsum(np.where(true_positives, 1 - quality, 0.0)),
        n_tp,
        np.cumsum(~true_positives & ~ignored, dtype=np.float64),
        num_gt - n_tp,
        tau,
        weights,
    )
    if operating_points == "scores":
        last_of_score = np.flatnonzero(np.diff(scores, append=-np.inf))
        return SLrp(scores[last_of_score], errors[last_of_score], num_gt)
    return SLrp(scores, errors, num_gt)


@dataclass(frozen=True)
class OptimalLrp:
    """oLRP of one class (Eq. 5.7), its components and the threshold where they are attained."""

    olrp: float
    loc: float
    fp: float
    fn: float
    threshold: float
    n_tp: int
    n_fp: int
    n_fn: int


def optimal_lrp(curve: SLrp) -> OptimalLrp:
    """The minimum of the curve; all nan without ground truth, 1 without a true positive."""
    nan = float("nan")
    if not curve.num_gt:
        return OptimalLrp(nan, nan, nan, nan, nan, 0, 0, 0)
    if not len(curve.scores) or not curve.errors.n_tp[-1]:
        return OptimalLrp(1.0, nan, nan, 1.0, nan, 0, 0, curve.num_gt)
    best = int(np.argmin(curve.errors.lrp))
    at = curve.errors[best]
    return OptimalLrp(
        float(at.lrp),
        float(at.loc),
        float(at.fp),
        float(at.fn),
        float(curve.scores[best]),
        int(at.n_tp),
        int(at.n_fp),
        int(at.n_fn),
    )


def average_lrp(curve: SLrp) -> float:
    """aLRP error (Eq. F.1): mean LRP over the operating points; nan without ground truth.

    Without detections the only output is the empty one, whose LRP is 1.
    """
    if not curve.num_gt:
        return float("nan")
    return float(curve.errors.lrp.mean()) if len(curve.scores) else 1.0


def mean_of_defined(values: Numbers) -> float:
    """Mean over classes that skips the undefined (nan); nan if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def check_tau(tau: float) -> None:
    """Raise :class:`InputError` unless tau is in [0, 1)."""
    if not 0 <= tau < 1:
        raise InputError(f"tau must be in [0, 1), got {tau}")


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    """part / whole; nan where whole is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
