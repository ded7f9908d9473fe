"""The printed bounds and curves of the box generator's feasible regions, put to the test.

bbgen Tables 6 to 9, the same as thesis Tables B.1 to B.3. The formulas are evaluated as they are
written in the configuration: a point on a curve must have an IoU of exactly T.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rebalance.errors import InputError
from rebalance.figures.checks import Check, printed_claim
from rebalance.figures.family import MadeTable, Row
from rebalance.generators.rois import IOU_PRESETS

Values = dict[str, float]

SYMBOLS = {
    "xb1": "X", "yb1": "Y", "xb2": "P", "yb2": "Q", "alpha_hat": "ah", "beta_hat": "bh",
    "alpha": "a", "beta": "b",
}  # fmt: skip
"""The thesis's names for bbgen's X, Y (new top-left), P, Q (new bottom-right), a, b, ah, bh."""
BOX = (1.0, 2.0, 5.0, 4.5)
"""Not a square, so that a formula that mixes up its sides shows."""
CORNERS = ((1.2, 2.1), (0.8, 2.15), (1.25, 1.9), (0.85, 1.9))
"""Sampled top-left corners, one in each quadrant around that of BOX."""
THRESHOLDS = (0.5, 0.6, 0.75)
FORMULA_BOUND = {"I": "min_bound", "II": "max_bound", "III": "max_bound", "IV": "min_bound"}
"""The bound of each bottom-right region that is a formula; the other is a side of the box."""
NUM_POINTS = 9
EXACT = 1e-9
OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def evaluate(formula: str, values: Values) -> float:
    """An arithmetic formula (+, -, *, /, brackets) of named values, after ``X =`` if there is one.

    Raises:
        InputError: anything else in it, or a name without a value.
    """
    text = formula.rpartition("=")[2].strip()
    try:
        return _value(ast.parse(text, mode="eval").body, values)
    except (SyntaxError, KeyError) as error:
        raise InputError(f"formula {formula!r} cannot be evaluated: {error}") from None


def _value(node: ast.expr, values: Values) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Name):
        return values[SYMBOLS.get(node.id, node.id)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    raise SyntaxError(f"{ast.unparse(node)!r} is not arithmetic")


def _iou(x1: float, y1: float, x2: float, y2: float) -> float:
    """IoU with BOX."""
    bx1, by1, bx2, by2 = BOX
    inter = max(0.0, min(x2, bx2) - max(x1, bx1)) * max(0.0, min(y2, by2) - max(y1, by1))
    return inter / ((x2 - x1) * (y2 - y1) + (bx2 - bx1) * (by2 - by1) - inter)


def _known(threshold: float) -> Values:
    x1, y1, x2, y2 = BOX
    area = (x2 - x1) * (y2 - y1)
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "A": area, "T": threshold}


def top_left_deviation(row: Row, equation: str) -> float:
    """Largest |IoU - T| on the curve of a region of the top-left corner.

    Args:
        row: settings region, min_bound, max_bound.
        equation: the one of its formulas to test.
    """
    region, deviation = row["region"], 0.0
    for threshold in THRESHOLDS:
        values = _known(threshold)
        x1, y1, x2, y2 = BOX
        low, high = (evaluate(row[key], values) for key in ("min_bound", "max_bound"))
        for point in np.linspace(low, high, NUM_POINTS):
            if region == "I":  # X is swept, the box reaches over the top
                values |= {"X": point, "I": (x2 - point) * (y2 - y1)}
                x, y = point, evaluate(equation, values)
            else:  # Y is swept
                inter = (x2 - x1) * (y2 - max(point, y1))
                values |= {"Y": point, "I": inter}
                x, y = evaluate(equation, values), point
            deviation = max(deviation, abs(_iou(x, y, x2, y2) - threshold))
    return deviation


def bottom_right_bound_deviation(row: Row) -> float:
    """Largest |IoU - T| at the bound of a region of the bottom-right corner that is a formula."""
    key = FORMULA_BOUND[row["region"]]
    x2, y2 = BOX[2:]
    deviation = 0.0
    for values in _sampled():
        bound = evaluate(row[key], values | {"I": (x2 - values["a"]) * (y2 - values["b"])})
        corner = (x2, bound) if row["region"] in ("I", "III") else (bound, y2)
        iou = _iou(values["X"], values["Y"], *corner)
        deviation = max(deviation, abs(iou - values["T"]))
    return deviation


def bottom_right_deviation(row: Row) -> float:
    """Largest |IoU - T| on the curve of a region of the bottom-right corner."""
    region, deviation = row["region"], 0.0
    x2, y2 = BOX[2:]
    for values in _sampled():
        sweeps_q = region in ("I", "III")
        for point in _sweep(region, values):
            if sweeps_q:
                values |= {"Q": point, "bh": min(point, y2)}
                overlap = min(point, y2) - values["b"]
            else:
                values |= {"P": point, "ah": min(point, x2)}
                overlap = y2 - values["b"]
            values["I"] = (x2 - values["a"]) * overlap
            other = evaluate(row["equation"], values)
            corner = (other, point) if sweeps_q else (point, other)
            iou = _iou(values["X"], values["Y"], *corner)
            deviation = max(deviation, abs(iou - values["T"]))
    return deviation


def _sampled() -> list[Values]:
    """Values of the symbols for each sampled corner and threshold that a box can reach."""
    x1, y1, x2, y2 = BOX
    return [
        _known(threshold) | {"X": x, "Y": y, "a": max(x, x1), "b": max(y, y1)}
        for x, y in CORNERS
        for threshold in THRESHOLDS
        if _iou(x, y, x2, y2) > threshold
    ]


def _sweep(region: str, values: Values) -> np.ndarray:
    """Where the swept coordinate of a region runs, from the definition of IoU alone."""
    x2, y2 = BOX[2:]
    corners: dict[str, Callable[[float], tuple[float, float]]] = {
        "I": lambda q: (x2, q), "II": lambda p: (p, y2), "III": lambda q: (x2, q),
        "IV": lambda p: (p, y2),
    }  # fmt: skip
    border = y2 if region in ("I", "III") else x2
    inside = border
    outside = values["b" if region == "I" else "a"] if region in ("I", "IV") else 4 * border
    for _ in range(200):
        middle = (inside + outside) / 2
        if _iou(values["X"], values["Y"], *corners[region](middle)) >= values["T"]:
            inside = middle
        else:
            outside = middle
    return np.linspace(inside, border, NUM_POINTS)


def top_left_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """bbgen Table 6, thesis Table B.1: the printed and the corrected curve of each region."""
    lines, found = [], []
    for row in (row["setting"] for row in rows):
        corrected = row.get("derived_correction") or (
            row["equation"] if row.get("equation_printed") else None
        )
        printed = row.get("equation_printed") or row["equation"]
        deviation = top_left_deviation(row, printed)
        found.append(
            _formula_check(f"region {row['region']}: IoU is T on the printed curve", printed,
                           deviation)
        )  # fmt: skip
        if corrected:
            fixed = top_left_deviation(row, corrected)
            found.append(
                _formula_check(f"region {row['region']}: IoU is T on the corrected curve",
                               corrected, fixed)
            )  # fmt: skip
        lines.append({
            "region": row["region"], "from": row["min_bound"], "to": row["max_bound"],
            "curve": corrected or printed, "printed curve": printed,
            "largest |IoU - T|": _rounded(deviation),
        })  # fmt: skip
    return pd.DataFrame(lines), found


def bound_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """bbgen Table 7, thesis Table B.2."""
    lines, found = [], []
    for row in (row["setting"] for row in rows):
        deviation = bottom_right_bound_deviation(row)
        key = FORMULA_BOUND[row["region"]]
        found.append(
            _formula_check(f"region {row['region']}: IoU is T at the bound", row[key], deviation)
        )
        lines.append({"region": row["region"], "from": row["min_bound"], "to": row["max_bound"],
                      "largest |IoU - T|": _rounded(deviation)})  # fmt: skip
    return pd.DataFrame(lines), found


def curve_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """bbgen Table 8, thesis Table B.3."""
    lines, found = [], []
    for row in (row["setting"] for row in rows):
        deviation = bottom_right_deviation(row)
        found.append(
            _formula_check(
                f"region {row['region']}: IoU is T on the curve", row["equation"], deviation
            )
        )
        lines.append({"region": row["region"], "curve": row["equation"],
                      "largest |IoU - T|": _rounded(deviation)})  # fmt: skip
    return pd.DataFrame(lines), found


def _formula_check(name: str, formula: str, deviation: float) -> Check:
    """Whether a printed formula gives T; measured is the largest |IoU - T|."""
    return Check(name, formula, _rounded(deviation), EXACT, bool(deviation < EXACT))


def _rounded(deviation: float) -> float:
    """Without the noise of rounding, so that every machine writes the same file."""
    return round(deviation, 6)


def weight_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """bbgen Table 9: the printed bin weights are those that the library draws with."""
    lines, found = [], []
    for row in (row["setting"] for row in rows):
        name = row["roi_source"].removeprefix("proi_")
        if row["iou"] is not None:
            name = f"uniform_{row['iou']}"
        weights = [float(weight) for weight in row["iou_weights"]]
        found.append(
            printed_claim(f"weights of {name} are those of the library",
                          weights == list(IOU_PRESETS[name].weights))
        )  # fmt: skip
        found.append(
            printed_claim(
                f"weights of {name} add up to 1", abs(sum(weights) - 1) < 1e-9,
                f"{sum(weights):.2f}",
            )
        )  # fmt: skip
        bins = dict(
            zip(("0.5-0.6", "0.6-0.7", "0.7-0.8", "0.8-0.9", "0.9-1"), weights, strict=True)
        )
        lines.append({"source": name.replace("_", " ")} | bins | {"sum": round(sum(weights), 2)})
    return pd.DataFrame(lines), found
