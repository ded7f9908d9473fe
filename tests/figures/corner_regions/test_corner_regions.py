"""The evaluator of printed formulas, and that a wrong formula is found out."""

import pytest
from rebalance.errors import InputError
from rebalance.figures.corner_regions.compute import (
    bottom_right_bound_deviation,
    bottom_right_deviation,
    evaluate,
    top_left_deviation,
)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("2 + 3*4", 14),
        ("X = (x2 - x1)/T", 8),
        ("xb1 - 1", 6),  # the thesis's name for X
        ("A", 5),
    ],
)
def test_formulas_are_arithmetic_of_named_values(formula, expected):
    values = {"x1": 1.0, "x2": 5.0, "T": 0.5, "X": 7.0, "A": 5.0}
    assert evaluate(formula, values) == expected


@pytest.mark.parametrize("formula", ["__import__('os')", "x1 ** 2", "nothing", "1 +", "'a'"])
def test_anything_else_is_refused(formula):
    with pytest.raises(InputError, match="cannot be evaluated"):
        evaluate(formula, {"x1": 1.0})


def test_wrong_formulas_miss_the_threshold():
    row = {"region": "IV", "min_bound": "(y2*(T-1) + y1)/T", "max_bound": "y1"}
    assert top_left_deviation(row, "x2 - A/(T*(y2-Y))") < 1e-12
    assert top_left_deviation(row, "x2 - A/(y2-Y)") > 0.1
    assert bottom_right_bound_deviation({"region": "II", "max_bound": "X + I/(y2-Y)"}) > 0.1
    curve = {"region": "I", "equation": "P = X + (I/T - A + I)/(Q-Y)"}
    assert bottom_right_deviation(curve) < 1e-12
    assert bottom_right_deviation({**curve, "equation": "P = X + (I/T - A)/(Q-Y)"}) > 0.1
