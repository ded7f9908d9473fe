"""The report on a detections file: its tables, figures of nothing, and the page."""

import json
import tempfile

import nbformat
import pytest
from rebalance.cli import evaluation, main
from rebalance.figures.detections.compute import class_curves, error_shares
from rebalance.figures.detections.draw import (
    plot_error_shares,
    plot_precision_recall,
    plot_s_lrp,
    plot_thresholds,
    svg,
)
from rebalance.metrics import evaluate, match_files
from rebalance.report.detections import about_files_html, per_class_html, summary_html


@pytest.fixture
def golden(golden_lrp):
    case = golden_lrp(0)
    return case["gt"], case["results"]


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


def test_command_writes_the_page(golden, tmp_path):
    for name, content in zip(("gt", "dt"), golden, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["evaluate", *paths, "--html", f"{tmp_path}/report.html"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Detections of dt.json" in page
    assert page.count("data:image/svg+xml") == 4
    assert "Every class" in page
    assert str(tmp_path) not in page
    assert tempfile.gettempdir() not in page


def test_bad_files_leave_no_page(tmp_path):
    (tmp_path / "dt.json").write_text("[]")
    paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["evaluate", *paths, "--html", f"{tmp_path}/report.html"]) == 2
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_fails_keeps_its_notebook(golden, tmp_path, monkeypatch, capsys):
    for name, content in zip(("gt", "dt"), golden, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    notebook = nbformat.read(evaluation.REPORT_NOTEBOOK, as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    notebook.cells = [parameters, nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(notebook, tmp_path / "failing.ipynb")
    monkeypatch.setattr(evaluation, "REPORT_NOTEBOOK", tmp_path / "failing.ipynb")
    paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["evaluate", *paths, "--html", f"{tmp_path}/report.html"]) == 1
    assert f"{tmp_path}/report.failed.ipynb" in capsys.readouterr().err
    assert "ZeroDivisionError" in (tmp_path / "report.failed.ipynb").read_text()
    assert not (tmp_path / "report.html").exists()
