"""Curves, thresholds and errors of released models, from the files their evaluation leaves.

Where a run stands in for a model, a sentence of the work about that model is not decided by it;
sentences about all of them are.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rebalance.errors import InputError
from rebalance.figures.checks import POINTS, Check, named_numbers, printed_claim, printed_number
from rebalance.figures.detections.compute import ClassCurves
from rebalance.inputs import read_json
from rebalance.metrics.evaluate import match_files
from rebalance.metrics.lrp import mean_of_defined, optimal_lrp
from rebalance.metrics.matches import TAU, read_matches
from rebalance.metrics.precision_recall import precision_recall

Models = Mapping[str, Mapping[str, str]]
"""What a row is called -> ``file``, ``truth`` (what it was evaluated on) and ``says``."""
Classes = Mapping[str, str | None]
"""Class of the work -> the one shown, None if this scale has none in its place."""
Curves = dict[str, dict[str, ClassCurves]]
"""Class, in words -> model -> its curves at tau 0.5."""

STAND_IN = "stand-in"
OF_A_POINT = 0.005
"""By which precision and recall of a published file may differ from printed ones."""
TAUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
ABOUT = 0.1
"""By which a mean threshold may differ from one that is about so much."""
ABOUT_GAP = 5.0
"""By which a mean gap may differ from one that is about so much, in points."""
MEAN = "mean"
FIRST_CLASSES = 10
ERRORS = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
SLACK = 1e-9
PRINTED_MINIMUM = re.compile(r"([A-Za-z][A-Za-z -]*) (\d+\.\d)")
"""A detector and its oLRP in a list of them."""


def in_words(name: str, shown: str) -> str:
    """A class of the work, with what stands in for it."""
    return name if name == shown else f"{name} (here {shown})"


def are_stand_ins(models: Models) -> bool:
    """Whether something else is shown in the place of a model."""
    return any(model["says"].startswith(STAND_IN) for model in models.values())


def class_curves(models: Models, classes: Classes) -> Curves:
    """Precision, recall and s-LRP of each class and model.

    Args:
        models: with the matches.npz of each.
        classes: those wanted; one that nothing stands in for is left out.

    Raises:
        InputError: a class that a file does not have.
    """
    found: Curves = {}
    for name, shown in classes.items():
        if shown is None:
            continue
        curves = found.setdefault(in_words(name, shown), {})
        for label, model in models.items():
            (matches,) = read_matches(Path(model["file"])).values()
            names = matches.class_names.tolist()
            if shown not in names:
                raise InputError(f"{model['file']}: no class {shown!r}, it has {names}")
            one = matches.class_matches(names.index(shown))
            s_lrp = one.s_lrp(TAU)
            precision, recall = precision_recall(
                one.true_positives, one.false_positives, one.num_gt
            )
            curves[label] = ClassCurves(precision, recall, s_lrp, optimal_lrp(s_lrp))
    return found


def curve_table(curves: Curves) -> pd.DataFrame:
    """The LRP-optimal points: class, model, precision, recall, oLRP and the threshold."""
    return pd.DataFrame([
        {
            "class": name,
            "model": label,
            "precision": 1 - curve.optimum.fp,
            "recall": 1 - curve.optimum.fn,
            "oLRP": curve.optimum.olrp,
            "threshold": curve.optimum.threshold,
        }
        for name, models in curves.items()
        for label, curve in models.items()
    ])  # fmt: skip


def operating_point_checks(
    curves: Curves, numbers: Mapping[str, Any], models: Models
) -> list[Check]:
    """thesis Figure 5.6: where the optimal points are."""
    first, *_, last = curves.values()
    checks = []
    for name, printed in numbers["faster_rcnn_cross"].items():
        found = next(of for word, of in curves.items() if word.split(" ")[0] == name)
        best = next(of.optimum for label, of in found.items() if label.startswith("Faster"))
        checks += [
            printed_number(f"Faster R-CNN, {name}: precision", 1 - best.fp, printed["precision"],
                           tolerance=OF_A_POINT),
            printed_number(f"Faster R-CNN, {name}: recall", 1 - best.fn, printed["recall"],
                           tolerance=OF_A_POINT),
        ]  # fmt: skip
    nearer = [
        first[label].optimum.fp < last[label].optimum.fp
        and first[label].optimum.fn < last[label].optimum.fn
        for label in first
    ]
    checks.append(
        printed_claim("the optimum of person is nearer to perfect than that of broccoli, for all",
                      all(nearer), f"{sum(nearer)} of {len(nearer)}")
    )  # fmt: skip
    return checks


def s_lrp_checks(curves: Curves, numbers: Mapping[str, Any], models: Models) -> list[Check]:
    """thesis Figure 5.9: minima of the curves, and how abruptly that of ATSS ends."""
    (found,) = curves.values()
    checks = []
    for label, printed in PRINTED_MINIMUM.findall(numbers["minima"]):
        checks.append(printed_number(f"minimum of {label}", 100 * found[label].optimum.olrp,
                                     float(printed), tolerance=POINTS))  # fmt: skip
    atss = next(curve for label, curve in found.items() if label.startswith("ATSS"))
    counts = atss.s_lrp.at(float(numbers["atss_no_tp_above_s"])).n_tp
    holds = None if are_stand_ins(models) else bool(counts == 0)
    checks.append(
        printed_claim(f"ATSS has no true positive above {numbers['atss_no_tp_above_s']}", holds,
                      f"{int(counts)} of {atss.s_lrp.num_gt}")
    )  # fmt: skip
    return checks


def video_checks(curves: Curves, numbers: Mapping[str, Any], models: Models) -> list[Check]:
    """thesis Figure H.1: what thresholds do to the range of recall."""
    reach = {
        name: {label: float(curve.recall.max(initial=0)) for label, curve in of.items()}
        for name, of in curves.items()
    }
    text = "; ".join(f"{name}: {named_numbers(of)}" for name, of in reach.items())
    still, *linked = next(iter(reach.values()))
    return [
        printed_claim(f"{label} reaches less recall than {still}",
                      all(of[label] < of[still] for of in reach.values()), text)
        for label in linked
    ]  # fmt: skip


def interpolation_gains(models: Models, classes: Classes) -> pd.DataFrame:
    """AP without interpolation and what interpolation adds, in points.

    Args:
        models: with the metrics.json of each.
        classes: those wanted.
    """
    lines = []
    for name, shown in classes.items():
        for label, model in models.items():
            rows = {row["name"]: row for row in read_json(Path(model["file"]))["per_class"]}
            if shown is None or shown not in rows:
                continue
            without = rows[shown]["AP_uninterpolated"]
            lines.append({"class": in_words(name, shown), "model": label, "without": 100 * without,
                          "gain": 100 * (rows[shown]["AP"] - without)})  # fmt: skip
    return pd.DataFrame(lines)


def interpolation_checks(
    gains: pd.DataFrame, numbers: Mapping[str, Any], models: Models
) -> list[Check]:
    """thesis Figure 5.7: the fewer the examples, the more interpolation adds."""
    person, toaster = (group for _, group in gains.groupby("class", sort=False))
    printed = numbers["toaster"]
    largest = toaster.sort_values("gain", kind="stable").iloc[-1]
    means = person["gain"].mean(), toaster["gain"].mean()
    decided = not are_stand_ins(models)
    return [
        printed_number("mean gain, toaster", means[1], printed["mean_gain"], tolerance=POINTS),
        printed_number("largest gain, toaster", float(largest["gain"]), printed["largest_gain"],
                       tolerance=POINTS),
        printed_claim(f"it is that of {printed['largest_gain_detector']}",
                      printed["largest_gain_detector"] in largest["model"] if decided else None,
                      str(largest["model"])),
        printed_claim(f"person gains less than {numbers['person']['mean_gain_below']} on average",
                      means[0] < numbers["person"]["mean_gain_below"], f"{means[0]:.2f}"),
        printed_claim("the class with the fewest examples gains more than the one with the most",
                      means[1] > means[0], f"{means[1]:.2f} against {means[0]:.2f}"),
    ]  # fmt: skip


def panoptic_errors(models: Models, classes: Classes) -> pd.DataFrame:
    """Of every class: model, class, thing or stuff, LRP_FP and LRP_FN, undefined ones left out.

    Args:
        models: with the metrics.json of each.
        classes: not used.
    """
    lines = [
        {"model": label, "class": row["name"], "kind": "thing" if row["isthing"] else "stuff",
         "LRP_FP": row["LRP_FP"], "LRP_FN": row["LRP_FN"]}
        for label, model in models.items()
        for row in read_json(Path(model["file"]))["per_class"]
    ]  # fmt: skip
    return pd.DataFrame(lines).dropna().reset_index(drop=True)


def panoptic_checks(
    errors: pd.DataFrame, numbers: Mapping[str, Any], models: Models
) -> list[Check]:
    """thesis Figure 5.8: recall errs more than precision, and more so of things."""
    errors = errors.assign(gap=100 * (errors["LRP_FN"] - errors["LRP_FP"]))
    gaps = errors.groupby("kind")["gap"].mean()
    per_model = errors.groupby("model")["gap"].mean()
    decided = not are_stand_ins(models)
    return [
        printed_number("mean gap of things, LRP_FN - LRP_FP", float(gaps["thing"]),
                       numbers["mean_gap_things_about"], tolerance=ABOUT_GAP),
        printed_number("mean gap of stuff", float(gaps["stuff"]),
                       numbers["mean_gap_stuff_about"], tolerance=ABOUT_GAP),
        printed_claim("LRP_FN is larger than LRP_FP on average, for all models",
                      bool((per_model > 0).all()) if decided else None,
                      named_numbers(dict(per_model), 1)),
        printed_claim("the gap is larger for things",
                      bool(gaps["thing"] > gaps["stuff"]) if decided else None,
                      f"{gaps['thing']:.1f} against {gaps['stuff']:.1f}"),
    ]  # fmt: skip


def optimal_thresholds(models: Models, classes: Classes) -> dict[str, pd.Series]:
    """Model -> LRP-optimal threshold of every class that has one.

    Args:
        models: with the metrics.json of each.
        classes: not used.
    """
    return {
        label: pd.Series(
            {row["name"]: row["threshold"] for row in read_json(Path(model["file"]))["per_class"]},
            dtype=float,
        ).dropna()
        for label, model in models.items()
    }


def threshold_table(thresholds: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Classes, and least, mean, largest threshold and the standard deviation of each model."""
    return pd.DataFrame([
        {"model": label, "classes": len(values), "least": values.min(), "mean": values.mean(),
         "largest": values.max(), "standard deviation": values.std()}
        for label, values in thresholds.items()
    ])  # fmt: skip


def threshold_checks(
    thresholds: Mapping[str, pd.Series], numbers: Mapping[str, Any], models: Models
) -> list[Check]:
    """thesis Figure 5.10: thresholds differ from class to class."""
    retinanet = next(of for label, of in thresholds.items() if label.startswith("RetinaNet"))
    ranges = {label: float(values.max() - values.min()) for label, values in thresholds.items()}
    return [
        printed_number("mean threshold of RetinaNet", float(retinanet.mean()),
                       numbers["retinanet_mean_about"], tolerance=ABOUT),
        printed_claim("no one threshold is optimal for all classes, whichever the detector",
                      min(ranges.values()) > 0,
                      named_numbers(ranges),
                      "from the lowest to the highest of the classes"),
    ]  # fmt: skip


def tau_sweep(models: Models, classes: Classes, taus: Sequence[float] = TAUS) -> pd.DataFrame:
    """oLRP and its components against tau: of the first classes, and the mean of all.

    Args:
        models: one, with its detections and the ground truth.
        classes: not used: the classes are the first of the ground truth.
        taus: localisation qualities that a true positive needs.

    Returns:
        Columns class (MEAN last), tau and ERRORS.
    """
    (model,) = models.values()
    evaluation = match_files(model["truth"], model["file"], thresholds=taus)
    lines = []
    names = evaluation.ground_truth.class_names
    for tau in taus:
        values = np.array([
            [best.olrp, best.loc, best.fp, best.fn]
            for k in range(evaluation.num_classes)
            for best in [optimal_lrp(evaluation.class_matches(k, tau).s_lrp(tau))]
        ])  # fmt: skip
        means = [mean_of_defined(column) for column in values.T]
        for name, row in [*zip(names[:FIRST_CLASSES], values, strict=False), (MEAN, means)]:
            lines.append({"class": name, "tau": tau, **dict(zip(ERRORS, row, strict=True))})
    return pd.DataFrame(lines).sort_values("class", key=lambda of: of == MEAN, kind="stable")


def tau_checks(sweep: pd.DataFrame, numbers: Mapping[str, Any], models: Models) -> list[Check]:
    """thesis Figure H.2: what a stricter tau does."""
    mean = sweep[sweep["class"] == MEAN].set_index("tau")
    printed = numbers["at_tau_0_5"]
    falls = all(later <= sooner for sooner, later in pairwise(mean["oLRP_Loc"]))
    rises = all(later >= sooner for sooner, later in pairwise(mean["oLRP"]))
    bounded = sweep["oLRP_Loc"].isna() | (sweep["oLRP_Loc"] <= 1 - sweep["tau"] + SLACK)
    ends = {name: f"{mean[name].iloc[0]:.3f} to {mean[name].iloc[-1]:.3f}" for name in ERRORS}
    return [
        *(
            printed_number(f"mean {name} at tau 0.5", 100 * float(mean[name].iloc[0]),
                           printed[name], tolerance=POINTS)
            for name in ERRORS
        ),
        printed_claim("the localisation error falls with tau", falls, ends["oLRP_Loc"]),
        printed_claim("oLRP rises with tau", rises, ends["oLRP"]),
        printed_claim("the localisation error is at most 1 - tau, of every class",
                      bool(bounded.all()), f"{int(bounded.sum())} of {len(bounded)}"),
    ]  # fmt: skip
