"""Checks: rounding, verdicts, and how a page shows them."""

import pytest
from rebalance.analysis.checks import check_claim, check_number, count_holding, verdict
from rebalance.analysis.pages import checks_table, doubts_list, frame_table, heading


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
    assert check_number("x", ours, printed, digits).holds is expected


def test_a_misprint_is_one_only_while_it_does_not_hold():
    assert check_number("x", 0.80, 0.66, misprint=True).misprint
    assert not check_number("x", 0.66, 0.66, misprint=True).misprint


def test_verdicts():
    good, slip = check_claim("a", True), check_claim("b", False, misprint=True)
    bad = check_claim("c", False)
    assert verdict([good]) == verdict([]) == "reproduced"
    assert verdict([good, slip]) == "misprints"
    assert verdict([good, slip, bad]) == "differs"
    assert count_holding([good, slip, bad]) == "1 of 3"


def test_page_escapes_and_says_what_does_not_hold():
    checks = [check_claim("a < b", True), check_number("x & y", 0.8, 0.66, note="<why>")]
    table = checks_table(checks)
    assert "a &lt; b" in table
    assert "&lt;why&gt;" in table
    assert table.count("does not hold") == 1
    assert "1 of 2 hold: differs" in heading("T", "lead", checks)
    on_data = heading("T", "lead", checks, dataset="shapes")
    assert "1 of 2 hold on shapes<" in on_data
    assert "T · shapes" in on_data
    assert "1 of 1 claims hold<" in heading("T", "lead", checks[:1])
    assert doubts_list([]) == ""
    assert "<li>a &amp; b</li>" in doubts_list(["a & b"])


def test_frame_shows_lists_booleans_and_undefined():
    import pandas as pd

    html = frame_table(
        pd.DataFrame({"a_b": [True, False], "c": [[1, 2], None], "d": [float("nan"), -0.5],
                      "e": [343000.0, 0.123456]})
    )  # fmt: skip
    for expected in ("<th", "a b", ">yes<", ">no<", ">1, 2<", ">–<", ">−0.5<", ">343000<",
                     ">0.1235<"):  # fmt: skip
        assert expected in html
