"""AP of single classes under two assignments (GGIoU Figure 2)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rebalance.errors import InputError
from rebalance.figures.checks import Check, printed_claim
from rebalance.inputs import read_json

SLENDER = ("person", "umbrella", "wine glass")
OTHERS = ("potted plant", "bed", "tv")
"""Of the six classes that the work prints."""
SLENDER_FROM = 1.5
"""Elongation from which a class counts as slender where the six are absent."""
PRINTED_RUNS = {"IoU": "iou", "GGIoU": "ggiou"}


def read_class_aps(path: Path) -> dict[str, float]:
    """AP of each class in one metrics.json, nan where it is undefined.

    Raises:
        InputError: no such file, not JSON, or no list of classes with name and AP.
    """
    content = read_json(path, "file of metrics")
    try:
        return {row["name"]: float("nan") if row["AP"] is None else float(row["AP"])
                for row in content["per_class"]}  # fmt: skip
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: per_class: needs name and AP of each class ({error})") from None


def elongations(objects: pd.DataFrame) -> pd.Series:
    """Median over the objects of each class of the longer side by the shorter, ascending.

    Args:
        objects: see ``rebalance.figures.dataset_statistics.compute.load_objects``.
    """
    width, height = objects["x2"] - objects["x1"], objects["y2"] - objects["y1"]
    ratio = (width / height).where(width > height, height / width)
    return ratio.groupby(objects["class"]).median().sort_values(kind="stable")


def class_accuracy(
    runs: Mapping[str, Sequence[str]], numbers: Mapping[str, Any], objects: pd.DataFrame
) -> pd.DataFrame:
    """AP per class of two runs, for the six printed classes or else for all.

    Args:
        runs: "IoU" and "GGIoU" -> one metrics.json per seed.
        numbers: class -> {iou, ggiou}, AP as printed.
        objects: of the data set that the runs were evaluated on.

    Returns:
        class, slender (of the six: as the work has it; else an elongation of SLENDER_FROM or more),
        elongation, IoU, GGIoU, gain (AP as a fraction, means over seeds), and for the six the two
        printed ones. The six stand as printed, others by elongation.

    Raises:
        InputError: other runs than those two, or a class without ground truth in one of the files.
    """
    if list(runs) != list(PRINTED_RUNS):
        raise InputError(f"runs must be {list(PRINTED_RUNS)}, got {list(runs)}")
    means = {
        label: pd.DataFrame([read_class_aps(Path(file)) for file in files]).mean(skipna=False)
        for label, files in runs.items()
    }
    by_shape = elongations(objects)
    six = [*OTHERS, *SLENDER]
    have_six = all(name in means["IoU"] and name in by_shape for name in six)
    names = six if have_six else [name for name in by_shape.index if name in means["IoU"]]
    shape = by_shape[names]
    slender = [name in SLENDER for name in names] if have_six else shape >= SLENDER_FROM
    table = pd.DataFrame({
        "class": names,
        "slender": list(slender),
        "elongation": shape.to_list(),
        **{label: aps[names].to_list() for label, aps in means.items()},
    })  # fmt: skip
    table["gain"] = table["GGIoU"] - table["IoU"]
    if have_six:
        for label, key in PRINTED_RUNS.items():
            table[f"{label}, printed"] = [float(numbers[name][key]) for name in names]
    return table


def class_checks(classes: pd.DataFrame) -> list[Check]:
    """GGIoU Figure 2: all gain, slender objects more (left out where there are none, or only)."""
    gains = classes.dropna(subset=["gain"])
    slender, others = (gains.loc[gains["slender"] == kind, "gain"] for kind in (True, False))
    every = printed_claim("every class gains", bool((gains["gain"] > 0).all()),
                          f"{int((gains['gain'] > 0).sum())} of {len(gains)}")  # fmt: skip
    if slender.empty or others.empty:
        return [every]
    text = {
        name: f"{name} from {100 * some.min():+.1f} to {100 * some.max():+.1f}"
        for name, some in (("slender", slender), ("others", others))
    }
    return [
        printed_claim("slender classes gain more AP than the others, on average "
                      "(printed: 1.7 to 1.8 against 0.2 to 0.5 points)",
                      slender.mean() > others.mean(),
                      f"{100 * slender.mean():+.1f} against {100 * others.mean():+.1f}"),
        printed_claim("every slender class gains more than every other",
                      slender.min() > others.max(), f"{text['slender']}; {text['others']}"),
        every,
    ]  # fmt: skip
