"""Claims: rounding and verdicts."""

import pytest
from rebalance.figures.checks import count_holding, printed_claim, printed_number, verdict


@pytest.mark.parametrize(
    ("ours", "printed", "digits", "expected"),
    [
        pytest.param(0.275, 0.28, None, True, id="a half rounds up"),
        pytest.param(0.285, 0.28, None, True, id="a half rounds down"),
        pytest.param(0.2851, 0.28, None, False, id="beyond the half"),
        pytest.param(0.5133, 0.51, None, True, id="two digits of the print"),
        pytest.param(2.0, 2, None, True, id="a whole number"),
        pytest.param(2.6, 2, None, False, id="another whole number"),
        pytest.param(0.50014, 0.5, 3, True, id="more digits than the print shows"),
        pytest.param(0.501, 0.5, 3, False, id="the third digit differs"),
    ],
)
def test_numbers_agree_to_the_printed_digits(ours, printed, digits, expected):
    assert printed_number("x", ours, printed, digits).holds is expected


def test_a_misprint_is_one_only_while_it_does_not_hold():
    assert printed_number("x", 0.80, 0.66, misprint=True).misprint
    assert not printed_number("x", 0.66, 0.66, misprint=True).misprint


def test_verdicts():
    good, slip = printed_claim("a", True), printed_claim("b", False, misprint=True)
    bad = printed_claim("c", False)
    assert verdict([good]) == verdict([]) == "reproduced"
    assert verdict([good, slip]) == "misprints"
    assert verdict([good, slip, bad]) == "differs"
    assert count_holding([good, slip, bad]) == "1 of 3"
