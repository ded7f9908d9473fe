"""Do confidence and localisation rank true positives alike? (thesis 7.4, Tables 7.1 and 7.4)."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from rebalance.errors import InputError
from rebalance.metrics.evaluation import ClassMatches, Evaluation

RANKINGS = ("scores", "lower", "upper")


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Linear correlation in [-1, 1]; nan for fewer than two values or a constant."""
    if len(x) < 2:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > 0 else float("nan")


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Correlation of the ranks, equal values sharing their mean rank; nan as in :func:`pearson`."""
    return pearson(rankdata(x), rankdata(y))


def score_quality_correlation(matches: ClassMatches) -> tuple[float, float]:
    """Pearson and Spearman correlation of score and localisation quality over true positives."""
    hits = matches.true_positives
    scores, quality = matches.scores[hits], matches.quality[hits]
    return pearson(scores, quality), spearman(scores, quality)


def with_ranking(evaluation: Evaluation, ranking: str, threshold: float = 0.5) -> Evaluation:
    """The same matching with the scores of each class's true positives dealt out anew.

    The true positives at ``threshold`` keep their places in the ranking of all detections but
    change them among each other: by rising quality ("upper", as if localisation ranked exactly like
    confidence) or by falling quality ("lower", the opposite). AP at ``threshold`` stays as it is,
    and AP at higher thresholds is what a detector gains or loses by its ranking (Table 7.4).

    Args:
        evaluation: matched at ``threshold`` among others.
        ranking: "scores" leaves everything as it is.
        threshold: localisation quality of a true positive.
    """
    if ranking not in RANKINGS:
        raise InputError(f"ranking must be one of {RANKINGS}, got {ranking!r}")
    if ranking == "scores":
        return evaluation
    t = evaluation.threshold_index(threshold)
    orders = []
    for k in range(evaluation.num_classes):
        order = evaluation.by_score(k)
        is_hit = evaluation.matching.true_positives[0, t, order]
        hits = order[is_hit]
        quality = evaluation.matching.quality(0, t, hits)
        order = order.copy()
        order[is_hit] = hits[np.argsort(-quality if ranking == "upper" else quality, kind="stable")]
        orders.append(order)
    return evaluation.reordered(np.concatenate(orders))
