"""The report on a detections file: curves, tables, figures, and the page that shows them."""

import json

import numpy as np
import pytest
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.metrics import evaluate, match_files
from rebalance.metrics.report import (
    SHARES,
    about_files_html,
    choose_classes,
    class_curves,
    error_shares,
    per_class_html,
    summary_html,
)
from rebalance.plots.detections import (
    MOST_POINTS,
    plot_error_shares,
    plot_precision_recall,
    plot_s_lrp,
    plot_thresholds,
    svg,
)


@pytest.fixture
def golden(golden_lrp):
    case = golden_lrp(0)
    return case["gt"], case["results"]


def test_error_shares_add_up_to_olrp_worst_first(golden):
    curves = class_curves(match_files(*golden))
    rows = {row["name"]: row for row in evaluate(*golden)["per_class"] if row["N_GT"]}
    shares = error_shares(curves)
    assert set(shares.index) == set(rows)
    total = shares[list(SHARES)].sum(axis=1)
    np.testing.assert_allclose(total, [rows[name]["oLRP"] for name in shares.index], atol=1e-12)
    assert (np.diff(total) <= 1e-12).all()


def test_curves_are_those_of_the_metrics(golden):
    curves = class_curves(match_files(*golden))
    assert [c.s_lrp.num_gt for c in curves.values()] == sorted(
        (c.s_lrp.num_gt for c in curves.values()), reverse=True
    )
    person = curves["person"]
    best = int(np.argmin(person.s_lrp.errors.lrp))
    assert person.optimum.threshold == person.s_lrp.scores[best]
    assert 1 - person.recall[best] == pytest.approx(person.optimum.fn)
    assert 1 - person.precision[best] == pytest.approx(person.optimum.fp)


def test_classes_are_chosen_by_name_or_frequency(golden):
    curves = class_curves(match_files(*golden))
    assert list(choose_classes(curves, [], 3)) == list(curves)[:3]
    assert list(choose_classes(curves, ["dog", "person"])) == ["dog", "person"]
    with pytest.raises(InputError, match="'unicorn' is no class with ground truth"):
        choose_classes(curves, ["unicorn"])


def test_tables_say_what_the_metrics_say(golden):
    metrics = evaluate(*golden)
    page = summary_html(metrics)
    assert f">{100 * metrics['oLRP']:.1f}<" in page
    table = per_class_html(metrics)
    lines = table.partition("</table>")[0].split("<tr>")[3:]
    assert len(lines) == len(metrics["per_class"])
    worst = max(row["oLRP"] for row in metrics["per_class"] if row["N_GT"])
    assert f">{100 * worst:.1f}<" in lines[0]
    assert lines[-1].count("–") == 8  # a class without ground truth
    assert "789 objects and 11 ignored regions" in about_files_html(match_files(*golden), 0.5)


def test_names_are_escaped(make_scene):
    ground_truth, results = make_scene([(1, 1, 0, 0, 9, 9)], [(1, 1, 0, 0, 9, 9, 0.9)], 1)
    ground_truth["categories"][0]["name"] = "<b>"
    assert "<b>" not in per_class_html(evaluate(ground_truth, results))


@pytest.mark.parametrize("objects", [[(1, 1, 0, 0, 9, 9)], []], ids=["missed", "none"])
@pytest.mark.parametrize("found", [[(1, 1, 90, 90, 9, 9, 0.9)], []], ids=["wrong", "empty"])
def test_nothing_to_show_is_shown(make_scene, objects, found):
    scene = make_scene(objects, found, 2)
    curves = class_curves(match_files(*scene))
    metrics = evaluate(*scene)
    assert "–" in summary_html(metrics)
    assert "class 2" in per_class_html(metrics)
    figures = [
        plot_precision_recall(curves),
        plot_s_lrp(curves),
        plot_thresholds(curves),
        plot_error_shares(error_shares(curves)),
    ]
    assert all("<svg" in svg(figure) for figure in figures)


def test_long_curves_are_thinned_and_keep_their_ends(random_scene):
    curves = class_curves(match_files(*random_scene(0, 40, 2, 12, 99)))
    assert len(curves["class 1"].recall) > MOST_POINTS
    line = plot_precision_recall(curves).axes[0].lines[0]
    assert len(line.get_xdata()) <= MOST_POINTS
    assert line.get_xdata()[-1] == curves["class 1"].recall[-1]


def test_command_writes_the_page(golden, tmp_path):
    for name, content in zip(("gt", "dt"), golden, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["evaluate", *paths, "--html", f"{tmp_path}/report.html"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Detections of dt.json" in page
    assert page.count("data:image/svg+xml") == 4
    assert "Every class" in page


def test_bad_files_leave_no_page(tmp_path):
    (tmp_path / "dt.json").write_text("[]")
    paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["evaluate", *paths, "--html", f"{tmp_path}/report.html"]) == 2
    assert not (tmp_path / "report.html").exists()
