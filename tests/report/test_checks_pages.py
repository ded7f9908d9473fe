"""What comes out of a work's claims, as pages show it."""

import pandas as pd
from rebalance.figures.checks import printed_claim, printed_number
from rebalance.report.checks import (
    checks_heading_html,
    checks_html,
    departures_html,
    doubts_html,
    frame_html,
    measured_checks_html,
)


def test_page_escapes_and_says_what_does_not_hold():
    checks = [printed_claim("a < b", True), printed_number("x & y", 0.8, 0.66, note="<why>")]
    table = checks_html([*checks, printed_claim("c", None)])
    assert "a &lt; b" in table
    assert "&lt;why&gt;" in table
    assert table.count("does not hold") == table.count("not measured") == 1
    assert table.index("does not hold") < table.index("not measured") < table.index("a &lt; b")
    assert "differs: 1 of 2 hold<" in checks_heading_html("T", "lead", checks)
    assert "T · shapes" in checks_heading_html("T", "lead", checks, dataset="shapes")
    assert "claims hold 1 of 1<" in checks_heading_html("T", "lead", checks[:1])
    assert ">transcribed<" in checks_heading_html("T", "lead")
    assert ">redrawn<" in checks_heading_html("T", "lead", checks[:1], kind="diagram")
    assert doubts_html([]) == ""
    assert "<li>a &amp; b</li>" in doubts_html(["a & b"])


def test_frame_shows_lists_booleans_and_undefined():
    html = frame_html(
        pd.DataFrame({"is_so": [True, False], "c": [[1, 2], None], "d": [float("nan"), -0.5],
                      "e": [343000.0, 0.123456]})
    )  # fmt: skip
    for expected in ("<th", "is so", ">yes<", ">no<", ">1, 2<", ">–<", ">−0.5<", ">343000<",
                     ">0.1235<"):  # fmt: skip
        assert expected in html


# Pages and targets -------------------------------------------------------------------------------


def test_claims_about_what_is_measured_name_the_scale():
    page = measured_checks_html([], "shapes", "small networks")
    assert "measured at the shapes scale" in page
    assert "small networks" in page
    assert "no reproduction" in page
    assert "no reproduction" not in measured_checks_html([], "paper", "the works' own")


def test_departures_are_said_to_be_besides_what_another_scale_changes():
    at_paper, at_shapes = (departures_html(["a & b"], scale) for scale in ("paper", "shapes"))
    assert "<h2>Where this differs from what is printed</h2>" in at_paper
    assert "differs from what is printed, beside what its scale changes</h2>" in at_shapes
    assert all("<li>a &amp; b</li>" in html for html in (at_paper, at_shapes))
    assert "Nowhere that is known" in departures_html([], "paper")
