"""Checks: rounding, what may be compared, named misprints, and the verdict that follows."""

import json

import pytest
from rebalance.errors import InputError
from rebalance.figures.checks import (
    Gain,
    claim_verdict,
    comparable,
    count_holding,
    name_misprints,
    printed_claim,
    printed_number,
    read_checks,
    save_checks,
    verdict,
    verdict_words,
)

NAN = float("nan")
GOOD, BAD = printed_number("good", 0.661, 0.66), printed_number("bad", 0.8, 0.66)
OPEN = printed_number("open", NAN, 0.5)
TRUE, FALSE = printed_claim("true", True), printed_claim("false", False)
UNKNOWN = printed_claim("unknown", None)
SLIP = {"cell": "bad", "printed": 0.66, "correct": 0.8, "note": "a slip"}


@pytest.mark.parametrize(
    ("measured", "printed", "digits", "expected"),
    [
        pytest.param(0.275, 0.28, None, True, id="a half rounds up"),
        pytest.param(0.285, 0.28, None, True, id="a half rounds down"),
        pytest.param(0.2851, 0.28, None, False, id="beyond the half"),
        pytest.param(0.5133, 0.51, None, True, id="two digits of the print"),
        pytest.param(2.0, 2, None, True, id="a whole number"),
        pytest.param(2.6, 2, None, False, id="another whole number"),
        pytest.param(0.50014, 0.5, 3, True, id="more digits than the print shows"),
        pytest.param(0.501, 0.5, 3, False, id="the third digit differs"),
        pytest.param(NAN, 0.5, None, None, id="not measured"),
    ],
)
def test_numbers_agree_to_the_printed_digits(measured, printed, digits, expected):
    assert printed_number("x", measured, printed, digits).holds is expected


def test_a_tolerance_of_its_own():
    assert printed_number("x", 36.5, 37.0, tolerance=0.5).holds
    assert not printed_number("x", 36.49, 37.0, tolerance=0.5).holds


@pytest.mark.parametrize(
    ("checks", "expected", "words"),
    [
        ([GOOD, TRUE], "reproduced", "reproduced: 2 of 2"),
        ([GOOD, BAD], "differs", "differs: 1 of 2 hold"),
        ([GOOD, FALSE], "differs", "differs: 1 of 2 hold"),
        ([TRUE], "claims", "claims hold 1 of 1"),
        ([TRUE, FALSE], "claims", "claims hold 1 of 2"),
        ([TRUE, OPEN], "claims", "claims hold 1 of 1, 1 not measured"),
        ([GOOD, UNKNOWN], "claims", "claims hold 1 of 1, 1 not measured"),
        ([OPEN, UNKNOWN], "not_measured", "not measured at this scale"),
        ([], "transcribed", "transcribed"),
        (name_misprints([GOOD, BAD], [SLIP]), "misprints",
         "reproduced but for named misprints: 1 of 2"),
        (name_misprints([BAD, FALSE], [SLIP]), "differs", "differs: 0 of 2 hold"),
    ],
)  # fmt: skip
def test_verdicts(checks, expected, words):
    assert verdict(checks) == expected
    assert verdict_words(expected, checks) == words


def test_a_diagram_says_no_more_than_redrawn():
    assert verdict([TRUE], "diagram") == verdict([], "diagram") == "redrawn"
    assert verdict([TRUE, FALSE], "diagram") == "differs"
    assert verdict([], "added") == "added"


def test_numbers_of_other_data_count_as_not_measured():
    other = comparable([GOOD, BAD, FALSE], like_the_work=False)
    assert [check.holds for check in other] == [None, None, False]
    assert [check.measured for check in other[:2]] == [0.661, 0.8]
    assert verdict(other) == "claims"
    assert verdict(comparable([GOOD, BAD], like_the_work=False)) == "not_measured"
    assert comparable([GOOD, BAD], like_the_work=True) == [GOOD, BAD]


def test_a_misprint_explains_a_failure_only_if_its_correction_comes_out():
    named = name_misprints([BAD, GOOD], [SLIP])
    assert [check.misprint for check in named] == [True, False]
    assert "0.66 is to be read as 0.8: a slip" in named[0].note
    spoilt = printed_number("bad", 0.9, 0.66)
    assert verdict(name_misprints([spoilt], [SLIP])) == "differs"
    mended = printed_number("bad", 0.66, 0.66)
    assert verdict(name_misprints([mended], [SLIP])) == "reproduced"
    sentence = {"cell": "false", "printed": "a", "correct": "b"}
    assert verdict(name_misprints([FALSE, TRUE], [sentence])) == "misprints"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "bat"}, r"misprints\[0\].cell: no check is called 'bat', there are \['bad'\]"),
        ({"printed": 0.67}, r"misprints\[0\].printed: is 0.67, the check has 0.66"),
    ],
)
def test_a_misprint_of_what_is_not_printed_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        name_misprints([BAD], [SLIP | change])


def test_files_are_read_as_written_and_equal_checks_give_equal_bytes(tmp_path):
    checks = [GOOD, *name_misprints([BAD], [SLIP]), OPEN, TRUE, UNKNOWN]
    for name in "ab":
        save_checks(checks, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_checks(tmp_path / "a") == ("claims", checks, [])
    content = json.loads((tmp_path / "a").read_text())
    first, *_, last = content["checks"]
    assert (first["printed"], first["measured"], first["holds"]) == (0.66, 0.661, True)
    assert last["holds"] is None
    assert count_holding(checks) == "2 of 3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "needs a verdict, checks and gains"),
        ('{"verdict": "fine", "checks": []}', "verdict: must be one of"),
        ('{"verdict": "claims", "checks": [{"name": "x"}]}', "needs a verdict, checks"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, message):
    path = tmp_path / "checks.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_checks(path)


@pytest.mark.parametrize(
    ("printed", "measured", "low", "high", "expected"),
    [
        (0.6, 1.0, 0.2, 1.8, "holds"),
        (-0.6, -1.0, -1.8, -0.2, "holds"),
        (0.6, -1.0, -1.8, -0.2, "fails"),
        (0.6, 1.0, -0.1, 2.1, "open"),
        (0.6, 0.0, 0.0, 0.0, "open"),
        (0.6, 1.0, None, None, "open"),
        (0.6, None, None, None, "not_measured"),
    ],
)
def test_a_gain_holds_beyond_its_interval_on_the_printed_side(
    printed, measured, low, high, expected
):
    assert claim_verdict(Gain("a over b: AP", printed, measured, low, high)) == expected


def test_what_is_said_of_checks():
    found = [GOOD, BAD, *name_misprints([BAD], [SLIP]), GOOD._replace(holds=None), OPEN]
    assert [claim_verdict(check) for check in found] == [
        "holds", "fails", "misprint", "not_compared", "not_measured"
    ]  # fmt: skip


def test_gains_travel_with_the_checks(tmp_path):
    gains = [Gain("a over b: AP", 0.6, 1.0, 0.2, 1.8), Gain("c over b: AP", 0.1, None)]
    save_checks([TRUE], tmp_path / "a", gains=gains)
    assert read_checks(tmp_path / "a") == ("claims", [TRUE], gains)
