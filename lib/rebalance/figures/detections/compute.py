"""The curves and errors of every class of a detections file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.metrics.evaluation import Evaluation
from rebalance.metrics.lrp import OptimalLrp, SLrp, optimal_lrp
from rebalance.metrics.precision_recall import precision_recall

Numbers = NDArray[np.float64]
SHARES = ("localisation", "false positives", "false negatives")


@dataclass(frozen=True)
class ClassCurves:
    """Precision, recall and LRP of one class along its score thresholds, float64 [S] each."""

    precision: Numbers
    recall: Numbers
    s_lrp: SLrp
    optimum: OptimalLrp


def class_curves(evaluation: Evaluation, tau: float = 0.5) -> dict[str, ClassCurves]:
    """Class name -> curves, for the classes with ground truth, the most frequent first."""
    curves = {}
    for k in range(evaluation.num_classes):
        matches = evaluation.class_matches(k, tau)
        if matches.num_gt:
            s_lrp = matches.s_lrp(tau)
            precision, recall = precision_recall(
                matches.true_positives, matches.false_positives, matches.num_gt
            )
            name = evaluation.ground_truth.class_names[k]
            curves[name] = ClassCurves(precision, recall, s_lrp, optimal_lrp(s_lrp))
    return dict(sorted(curves.items(), key=lambda item: -item[1].s_lrp.num_gt))


def choose_classes(
    curves: Mapping[str, ClassCurves], names: Sequence[str], count: int = 6
) -> dict[str, ClassCurves]:
    """The named classes; the most frequent ``count`` if none is named.

    Raises:
        InputError: a name that is no class with ground truth.
    """
    for name in names:
        if name not in curves:
            raise InputError(f"classes: {name!r} is no class with ground truth, of {list(curves)}")
    return {name: curves[name] for name in names or list(curves)[:count]}


def error_shares(curves: Mapping[str, ClassCurves], tau: float = 0.5) -> pd.DataFrame:
    """What each kind of error adds to a class's oLRP (Eq. 5.3), which is their sum.

    Returns:
        Columns SHARES and ``objects``, one row per class, the worst first.
    """
    rows = []
    for curve in curves.values():
        best = curve.optimum
        total = best.n_tp + best.n_fp + best.n_fn
        localisation = best.n_tp * best.loc / (1 - tau) if best.n_tp else 0.0
        parts = np.array([localisation, best.n_fp, best.n_fn]) / total
        rows.append([*parts, curve.s_lrp.num_gt])
    shares = pd.DataFrame(rows, index=list(curves), columns=[*SHARES, "objects"], dtype=float)
    olrp = shares[list(SHARES)].sum(axis=1)
    return shares.loc[olrp.sort_values(ascending=False, kind="stable").index]
