"""What AP, PQ and LRP say of toy detectors and masks (thesis chapter 5, Figure 1.3, appendix C).

Detections and masks are ours, chosen to have the printed properties; the measures are those of the
library.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rebalance.figures.checks import Check, named_numbers, printed_claim, printed_number
from rebalance.figures.family import MadeTable, Row
from rebalance.metrics import (
    OptimalLrp,
    area_average_precision,
    evaluate,
    interpolated_average_precision,
    lrp_error,
    match_files,
    optimal_lrp,
    panoptic_quality,
    precision_recall,
    s_lrp,
)

Numbers = NDArray[np.float64]
TAU = 0.5


class Counts(NamedTuple):
    """Hard predictions: true positives with a mean quality, false positives, false negatives."""

    n_tp: int
    n_fp: int
    n_fn: int
    mean_quality: float = 1.0


# --- Figure 1.3: how scores and IoUs go together ------------------------------------------------

SCORES = np.array([0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25])
CORRELATED = {
    "positive": np.array([0.95, 0.85, 0.0, 0.75, 0.0, 0.65, 0.0, 0.55]),
    "negative": np.array([0.55, 0.65, 0.0, 0.75, 0.0, 0.85, 0.0, 0.95]),
}
"""IoU of each detection, in the order of the scores; 0 is a false positive. Ours."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def correlation_aps(correlation: str) -> Numbers:
    """[10] AP (COCO's interpolation) of the toy detections at each IoU threshold."""
    ious = CORRELATED[correlation]
    num_gt = int((ious > 0).sum())
    return np.array([
        interpolated_average_precision(
            *precision_recall(ious >= threshold - 1e-9, ious < threshold - 1e-9, num_gt)
        )
        for threshold in THRESHOLDS
    ])  # fmt: skip


def correlation_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 1.3: a positive correlation gives the larger AP, more so at high thresholds."""
    aps = {name: correlation_aps(name) for name in CORRELATED}
    gap = aps["positive"] - aps["negative"]
    means = [float(aps[name].mean()) for name in aps]
    return [
        printed_claim(
            "AP is larger when scores and IoUs are positively correlated",
            means[0] > means[1], f"{means[0]:.3f} against {means[1]:.3f}",
        ),
        printed_claim(
            "AP50 is the same, so that the gain lies in higher thresholds",
            abs(gap[0]) < 1e-9 and bool((gap[3:] > 0).all()),
            f"AP50 {gap[0]:+.3f}, AP75 {gap[5]:+.3f}",
        ),
        printed_claim(
            "a loss that adds up IoU errors is the same for both",
            bool(np.isclose(CORRELATED["positive"].sum(), CORRELATED["negative"].sum())),
        ),
    ]  # fmt: skip


# --- Figure 5.1, Table 5.1: equal AP, different failures ----------------------------------------


class Detector(NamedTuple):
    """A toy detector on an image with four objects, its detections in order of falling score.

    Attributes:
        title: what it does wrong.
        ious: [D] with the object that a detection finds, 0 for a false positive.
    """

    title: str
    ious: Numbers


def _ranked(num: int, hits: Sequence[int], iou: float) -> Numbers:
    ious = np.zeros(num)
    ious[np.array(hits) - 1] = iou
    return ious


NUM_OBJECTS = 4
DETECTORS = {
    "a": Detector("half are false", _ranked(8, [2, 4, 6, 8], 1.0)),
    "b": Detector("half are missed", _ranked(2, [1, 2], 1.0)),
    "c": Detector("both, badly located", _ranked(16, [1, 4, 12, 16], 0.6)),
}
"""Order as in Table 5.1; (c) has precisions 1, 1/2, 1/4, 1/4 at its true positives."""


class Performance(NamedTuple):
    """Curve and measures of a toy detector."""

    precision: Numbers
    recall: Numbers
    ap: float
    olrp: OptimalLrp


def performance(detector: Detector) -> Performance:
    """Precision and recall after each detection, AP (area) and optimal LRP."""
    true = detector.ious > TAU
    scores = np.linspace(0.95, 0.25, len(true))
    precision, recall = precision_recall(true, ~true, NUM_OBJECTS)
    ap = area_average_precision(precision, recall)
    curve = s_lrp(scores, detector.ious, true, np.zeros_like(true), NUM_OBJECTS, TAU)
    return Performance(precision, recall, ap, optimal_lrp(curve))


def equal_ap_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 5.1: AP is equal, LRP and its parts of (a) and (b) are those of Table 5.1."""
    made = {name: performance(detector) for name, detector in DETECTORS.items()}
    aps = [result.ap for result in made.values()]
    found = [
        printed_claim(
            "the three detectors have the same AP", max(aps) - min(aps) < 1e-9,
            named_numbers({f"({name})": result.ap for name, result in made.items()}),
        )
    ]  # fmt: skip
    for name, printed in numbers["from_table_5_1"].items():
        olrp = made[name].olrp
        ours = {"LRP": olrp.olrp, "LRP_FP": olrp.fp, "LRP_FN": olrp.fn}
        found += [printed_number(f"({name}) {key}", ours[key], value, 2)
                  for key, value in printed.items()]  # fmt: skip
    parts = made["c"].olrp
    return [
        *found,
        printed_claim(
            "(c) has worse located true positives and the largest oLRP",
            parts.loc > made["a"].olrp.loc and parts.olrp > made["a"].olrp.olrp,
            f"Loc {parts.loc:.2f}, FP {parts.fp:.2f}, FN {parts.fn:.2f}, oLRP {parts.olrp:.3f}",
        ),
    ]


SCENARIOS = {"a": Counts(4, 4, 0), "b": Counts(4, 0, 4)}
"""Table 5.1 needs as many false positives (a) or negatives (b) as true positives."""


def hard_prediction_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """Table 5.1: PQ and LRP cannot tell the scenarios apart, the components of LRP can.

    Args:
        rows: settings ``scenario``, reported PQ, SQ, RQ, LRP, LRP_Loc, LRP_FP, LRP_FN.
    """
    lines, found = [], []
    for row in rows:
        name = row["setting"]["scenario"]
        ours = hard_measures(SCENARIOS[name])
        lines.append({"scenario": name} | {key: ours[key] for key in row["reported"]})
        found += [printed_number(f"({name}) {key}", ours[key], value, 2)
                  for key, value in row["reported"].items()]  # fmt: skip
    return pd.DataFrame(lines), found


def hard_measures(counts: Counts) -> dict[str, float]:
    """PQ, SQ, RQ, LRP and its components of hard predictions."""
    n_tp, n_fp, n_fn, quality = counts
    pq, sq, rq = panoptic_quality(*(np.array([float(value)]) for value in (
        n_tp * quality, n_tp, n_fp, n_fn
    )))  # fmt: skip
    lrp = lrp_error(n_tp * (1 - quality), n_tp, n_fp, n_fn, TAU)
    return {
        "PQ": float(pq[0]), "SQ": float(sq[0]), "RQ": float(rq[0]), "LRP": float(lrp.lrp),
        "LRP_Loc": float(lrp.loc), "LRP_FP": float(lrp.fp), "LRP_FN": float(lrp.fn),
    }  # fmt: skip


def pair_measures(iou: float) -> dict[str, float]:
    """The same for one detection of one object; a true positive needs an IoU above TAU."""
    counts = Counts(1, 0, 0, iou) if iou > TAU else Counts(0, 1, 1)
    return hard_measures(counts)


# --- Figure 5.2: a detection that grows ---------------------------------------------------------

SLICES = 10


def growth() -> pd.DataFrame:
    """PQ and LRP of a detection that covers more and more of its object; iou, PQ, LRP."""
    ious = np.concatenate([np.linspace(0, TAU, 51), np.linspace(TAU + 1e-9, 1, 51)])
    return pd.DataFrame([
        {"iou": float(iou)} | {key: pair_measures(iou)[key] for key in ("PQ", "LRP")}
        for iou in ious
    ])  # fmt: skip


def growth_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 5.2: PQ jumps where the detection becomes a true positive, LRP does not."""
    just_above, half = pair_measures(TAU + 1e-9), pair_measures(TAU)
    curve = growth()
    beyond = curve[curve["iou"] > TAU]
    return [
        printed_claim(
            "PQ jumps when the detection becomes a true positive",
            half["PQ"] == 0 and abs(just_above["PQ"] - 0.5) < 1e-6,
            f"from {half['PQ']:.2f} to {just_above['PQ']:.2f}",
        ),
        printed_claim(
            "LRP is continuous there",
            abs(half["LRP"] - just_above["LRP"]) < 1e-6,
            f"{half['LRP']:.2f} on both sides",
        ),
        printed_claim(
            "above tau LRP is 2 (1 - IoU) and PQ is IoU",
            bool(
                np.allclose(beyond["LRP"], 2 * (1 - beyond["iou"]))
                and np.allclose(beyond["PQ"], beyond["iou"])
            ),
        ),
    ]


# --- Figure 5.3: the curves that AP and LRP read ------------------------------------------------

CURVE_OBJECTS, CURVE_FOUND, CURVE_FALSE = 80, 70, 90
CURVE_SEED = 3
OBJECT_SIDE = 100.0


def curve_example(worst: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects and detections of a made-up class, in COCO's form; one object per image.

    True positives tend to have high scores, and those the better boxes; false positives low ones.

    Args:
        worst: give every true positive an IoU of 0.55, and leave all else as it is.
    """
    rng = np.random.default_rng(CURVE_SEED)
    true_scores = 0.12 + 0.86 * rng.random(CURVE_FOUND) ** 0.6
    false_scores = 0.03 + 0.80 * rng.random(CURVE_FALSE) ** 2.4
    ious = 0.53 + 0.46 * (0.7 * true_scores + 0.3 * rng.random(CURVE_FOUND))
    if worst:
        ious = np.full(CURVE_FOUND, 0.55)
    square = [0.0, 0.0, OBJECT_SIDE, OBJECT_SIDE]
    images = range(1, CURVE_OBJECTS + 1)
    objects = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 500, "height": 100} for i in images],
        "categories": [{"id": 1, "name": "object"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": square, "area": OBJECT_SIDE**2,
             "iscrowd": 0} for i in images
        ],
    }  # fmt: skip
    # A square that is shifted by d overlaps its object with IoU (side - d) / (side + d).
    shifts = OBJECT_SIDE * (1 - ious) / (1 + ious)
    found = [(image, shift) for image, shift in enumerate(shifts, start=1)]
    false = [(k % CURVE_OBJECTS + 1, 2 * OBJECT_SIDE) for k in range(CURVE_FALSE)]
    detections = [
        {"image_id": image, "category_id": 1, "score": float(score),
         "bbox": [float(x), 0.0, OBJECT_SIDE, OBJECT_SIDE]}
        for (image, x), score in zip([*found, *false], [*true_scores, *false_scores], strict=True)
    ]  # fmt: skip
    return objects, detections


@cache
def detector_curves(worst: bool = False) -> pd.DataFrame:
    """What the made-up detector does at each score threshold, the highest first.

    Returns:
        score, precision, recall, F1, mean_quality (of the true positives), LRP, Loc, FP, FN.
    """
    match = match_files(*curve_example(worst), thresholds=[TAU]).class_matches(0, TAU)
    precision, recall = precision_recall(match.true_positives, match.false_positives, match.num_gt)
    curve = match.s_lrp(TAU)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return pd.DataFrame({
        "score": curve.scores, "precision": precision, "recall": recall, "F1": np.nan_to_num(f1),
        "mean_quality": 1 - curve.errors.loc, "LRP": curve.errors.lrp, "Loc": curve.errors.loc,
        "FP": curve.errors.fp, "FN": curve.errors.fn,
    })  # fmt: skip


def curve_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 5.3: the minimum of the drawn curve is the library's oLRP, and AP sees no boxes."""
    curves, blind = detector_curves(), detector_curves(worst=True)
    library = evaluate(*curve_example())["per_class"][0]
    worst = evaluate(*curve_example(worst=True))["per_class"][0]
    best = curves.iloc[int(curves["LRP"].argmin())]
    top = curves.iloc[int(curves["F1"].argmax())]
    n_tp = curves["recall"] * CURVE_OBJECTS
    n_fp = np.arange(1, len(curves) + 1) - n_tp
    written_out = (
        n_tp * (1 - curves["mean_quality"]).fillna(0) / (1 - TAU) + n_fp + CURVE_OBJECTS - n_tp
    ) / (n_fp + CURVE_OBJECTS)
    return [
        printed_claim(
            "the minimum of the s-LRP curve is the oLRP that the evaluation reports",
            abs(best["LRP"] - library["oLRP"]) < 1e-12,
            f"{best['LRP']:.4f} and {library['oLRP']:.4f}",
        ),
        printed_claim(
            "it lies at the LRP-optimal threshold that the evaluation reports",
            abs(best["score"] - library["threshold"]) < 1e-12,
            f"s* = {best['score']:.4f} and {library['threshold']:.4f}",
        ),
        printed_claim(
            "every point of the curve is Eq. 5.2 written out with its recall, precision and IoUs",
            bool(np.allclose(written_out, curves["LRP"])),
            f"{len(curves)} thresholds",
        ),
        printed_claim(
            "worse boxes leave the PR curve and its best point as they are",
            bool(np.allclose(curves[["precision", "recall"]], blind[["precision", "recall"]])),
            f"largest F1 {top['F1']:.3f} in both, AP50 {library['AP50']:.3f} and "
            f"{worst['AP50']:.3f}",
        ),
        printed_claim(
            "and raise oLRP", worst["oLRP"] > library["oLRP"],
            f"from {library['oLRP']:.3f} to {worst['oLRP']:.3f}",
        ),
    ]  # fmt: skip


# --- Figures 5.4 and 5.5: all outcomes of a small detector --------------------------------------

MAX_GROUND_TRUTHS, MAX_DETECTIONS = 20, 50
MEAN_QUALITIES = (0.55, 0.65, 0.75, 0.85, 0.95)
"""The step is not printed; the text speaks of 0.55 and 0.65."""


def outcome_grid() -> pd.DataFrame:
    """Every combination of counts and mean quality.

    Returns:
        mean_quality, n_tp, n_fp, n_fn, and the errors LRP, PR (1 - precision x recall), PQ
        (1 - PQ), FP (1 - precision), FN (1 - recall).
    """
    all_gt, all_dt, all_tp = np.meshgrid(
        np.arange(1, MAX_GROUND_TRUTHS + 1),
        np.arange(1, MAX_DETECTIONS + 1),
        np.arange(1, MAX_GROUND_TRUTHS + 1),
        indexing="ij",
    )
    possible = (all_tp <= all_gt) & (all_tp <= all_dt)
    n_tp, n_fp, n_fn = (
        counts[possible].astype(np.float64) for counts in (all_tp, all_dt - all_tp, all_gt - all_tp)
    )
    frames = []
    for quality in MEAN_QUALITIES:
        lrp = lrp_error(n_tp * (1 - quality), n_tp, n_fp, n_fn, TAU)
        pq, _, _ = panoptic_quality(n_tp * quality, n_tp, n_fp, n_fn)
        frames.append(pd.DataFrame({
            "mean_quality": quality, "n_tp": n_tp, "n_fp": n_fp, "n_fn": n_fn, "LRP": lrp.lrp,
            "PR": 1 - (1 - lrp.fp) * (1 - lrp.fn), "PQ": 1 - pq, "FP": lrp.fp, "FN": lrp.fn,
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def grid_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 5.4: the grid, and what each error does on it."""
    grid = outcome_grid()
    by_counts = grid.groupby(["n_tp", "n_fp", "n_fn"])
    worst = grid[(grid["mean_quality"] == min(MEAN_QUALITIES)) & (grid["n_tp"] >= 10)]
    return [
        printed_claim("the PR error does not see localisation",
                      bool((by_counts["PR"].max() - by_counts["PR"].min() < 1e-12).all())),
        printed_claim(
            "the PQ error is below LRP where many true positives fit badly",
            bool((worst["PQ"] < worst["LRP"]).all()),
            f"mean difference {(worst['LRP'] - worst['PQ']).mean():.3f}",
        ),
    ]  # fmt: skip


def comparison_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 5.5: LRP bounds the other errors, and leaves PQ's the more the worse boxes fit."""
    grid = outcome_grid()
    low = (grid["LRP"] - grid[["FP", "FN", "PQ"]].max(axis=1)).min()
    gaps = (grid["LRP"] - grid["PQ"]).groupby(grid["mean_quality"]).mean()
    errors = grid["n_tp"] * (1 - grid["mean_quality"]) / (1 - TAU) + grid["n_fp"] + grid["n_fn"]
    identity = errors / (2 * grid["n_tp"] + grid["n_fp"] + grid["n_fn"])
    return [
        printed_claim("LRP is at least 1 - precision, 1 - recall and 1 - PQ", low > -1e-12),
        printed_claim(
            "its distance to the PQ error grows as the mean quality falls",
            gaps.is_monotonic_decreasing,
            named_numbers({f"quality {quality:g}:": gap for quality, gap in gaps.items()}, 3),
        ),
        printed_claim(
            "1 - PQ has the total error of LRP over 2 N_TP + N_FP + N_FN",
            bool(np.allclose(identity, grid["PQ"])),
        ),
    ]  # fmt: skip


# --- Figure C.1: three masks --------------------------------------------------------------------

MASKS = {"X": (0, 27), "Y": (9, 36), "Z": (0, 38)}
"""Cells of a strip, from the first to before the last. Ours."""


def mask_iou(first: str, second: str) -> float:
    """IoU of two of MASKS."""
    cells = [set(range(*MASKS[name])) for name in (first, second)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


def triangle_table() -> pd.DataFrame:
    """One line per pair: detection, ground_truth, iou, TP, FP, FN, PQ, PQ_error, LRP."""
    lines = []
    for detection, ground_truth in (("X", "Y"), ("X", "Z"), ("Z", "Y")):
        iou = mask_iou(detection, ground_truth)
        matched = iou > TAU
        measures = pair_measures(iou)
        lines.append({
            "detection": detection, "ground_truth": ground_truth, "iou": iou, "TP": int(matched),
            "FP": int(not matched), "FN": int(not matched), "PQ": measures["PQ"],
            "PQ_error": 1 - measures["PQ"], "LRP": measures["LRP"],
        })  # fmt: skip
    return pd.DataFrame(lines)


def triangle_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure C.1: all cells, and that only LRP keeps the triangle inequality."""
    ours = triangle_table()
    found = []
    for row in numbers["rows"]:
        line = ours[(ours["detection"] == row["detection"])
                    & (ours["ground_truth"] == row["ground_truth"])].iloc[0]  # fmt: skip
        pair = f"{row['detection']}, {row['ground_truth']}"
        found += [
            printed_number(f"{key} of {pair}", float(line[key]), row[key], digits)
            for key, digits in (("iou", 2), ("TP", 0), ("FP", 0), ("FN", 0), ("PQ", 2),
                                ("PQ_error", 2), ("LRP", 2))
        ]  # fmt: skip
    pq, lrp = ours["PQ_error"].tolist(), ours["LRP"].tolist()
    return [
        *found,
        printed_claim("the PQ error breaks the triangle inequality", pq[0] > pq[1] + pq[2],
                      f"{pq[0]:.2f} > {pq[1]:.2f} + {pq[2]:.2f}"),
        printed_claim("LRP keeps it", lrp[0] <= lrp[1] + lrp[2],
                      f"{lrp[0]:.2f} <= {lrp[1]:.2f} + {lrp[2]:.2f}"),
    ]  # fmt: skip
