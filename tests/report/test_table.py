import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rebalance.config.rows import row_names
from rebalance.errors import InputError
from rebalance.figures.comparison.compute import (
    Metric,
    as_fraction,
    assemble,
    cell_checks,
    claim_checks,
    save_table,
)
from rebalance.figures.comparison.gains import with_gains
from rebalance.report.checks import doubts_html
from rebalance.report.heading import heading_html, legend_html
from rebalance.report.table import (
    agreement_html,
    decimals,
    epochs_html,
    run_links_html,
    show_number,
    style_table,
)

METRICS = [
    {"name": "AP", "percent": True, "better": "higher"},
    {"name": "oLRP", "percent": True, "better": "lower"},
    {"name": "memory_gb", "percent": False, "better": "lower", "measured": False},
]


def row(name, reported, missing=None):
    run = None if missing else f"run_{name}"
    return {
        "setting": {"loss": name},
        "run": run,
        "variant": "" if missing else "plain",
        "reported": reported,
        "missing": missing,
    }


@pytest.fixture
def table(tmp_path):
    """Two seeds of a, one of b (undefined oLRP), none of c."""
    numbers = {
        "a/seed0": {"AP": 0.30, "oLRP": 0.70},
        "a/seed1": {"AP": 0.34, "oLRP": 0.72},
        "b/seed0": {"AP": 0.36, "oLRP": None},
    }
    for name, metrics in numbers.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "log.csv").write_text("iteration\n")
    rows = [
        row("a", {"AP": 28.3, "oLRP": 66.1, "memory_gb": 3}),
        row("b", {"AP": 36.5, "oLRP": 66.1, "memory_gb": 2.25}),
        row("c", {"AP": 30.0, "oLRP": None}, missing="needs <masks>"),
    ]
    runs = {"a": ["a/seed0", "a/seed1"], "b": ["b/seed0"], "c": []}
    names = {"log": "log.csv", "metrics": "metrics.json"}
    files = [
        {
            kind: [str(tmp_path / "runs" / seed / name) for seed in seeds]
            for kind, name in names.items()
        }
        for seeds in runs.values()
    ]
    return rows, files


def cell(tidy, loss, metric):
    return tidy[(tidy["loss"] == loss) & (tidy["metric"] == metric)].iloc[0]


def test_a_metric_may_be_the_ap_at_an_iou_that_each_row_says(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps({"AP50": 0.5, "AP70": 0.7}))
    metrics = [{"name": "AP_at_iou", "percent": True, "better": "higher", "at": "iou"}]
    rows = [
        {**row("a", {"AP_at_iou": 48.0}), "setting": {"iou": 0.5}},
        {**row("a", {"AP_at_iou": 71.0}), "setting": {"iou": 0.7}},
    ]
    tidy = assemble(rows, metrics, [{"metrics": [str(file)]}] * 2)
    assert list(tidy["measured"]) == [0.5, 0.7]
    assert list(tidy["reported"]) == [0.48, 0.71]


def test_numbers_equal_those_worked_out_by_hand(table):
    rows, files = table
    tidy = assemble(rows, METRICS, files)
    assert len(tidy) == 9
    line = cell(tidy, "a", "AP")
    assert line["seeds"] == 2
    assert line["measured"] == pytest.approx(0.32, abs=1e-15)  # (0.30 + 0.34) / 2
    assert line["std"] == pytest.approx(np.sqrt(2 * 0.02**2 / (2 - 1)), abs=1e-15)
    assert line["reported"] == 0.283  # 28.3 / 100, exact
    assert line["run"] == "run_a"


def test_a_number_may_stand_deeper_in_its_file_or_in_the_settings(table, tmp_path):
    rows, files = table
    metrics = [
        {"name": "rho", "percent": False, "better": "higher", "key": "correlation.Spearman"},
        {"name": "params_k", "percent": False, "better": "lower", "reads": "settings"},
    ]
    for path in tmp_path.rglob("metrics.json"):
        path.write_text(json.dumps({"rho": 0.1, "correlation": {"Spearman": 0.25}}))
        (path.parent / "run.yaml").write_text("name: a\nparams_k: 44.17\n")
    files = [
        row | {"settings": [path.replace("metrics.json", "run.yaml") for path in row["metrics"]]}
        for row in files
    ]
    tidy = assemble([row | {"reported": {}} for row in rows], metrics, files)
    assert cell(tidy, "a", "rho")["measured"] == 0.25
    assert cell(tidy, "b", "params_k")["measured"] == 44.17
    with pytest.raises(InputError, match=r"metrics.json: no metric 'correlation.Kendall'"):
        assemble(rows, [metrics[0] | {"name": "AP", "key": "correlation.Kendall"}, *METRICS[1:]],
                 files)  # fmt: skip


def test_a_row_may_measure_a_part_of_the_metrics(table):
    rows, files = table
    rows = [rows[0] | {"measures": ["AP"]}, *rows[1:]]
    tidy = assemble(rows, METRICS, files)
    assert cell(tidy, "a", "AP")["measured"] == pytest.approx(0.32, abs=1e-15)
    unmeasured = cell(tidy, "a", "oLRP")
    assert np.isnan(unmeasured["measured"])
    assert unmeasured["reported"] == 0.661
    with pytest.raises(InputError, match=r"row 0 \(a\) measures \['APP'\]"):
        assemble([rows[0] | {"measures": ["APP"]}, *rows[1:]], METRICS, files)


def test_undefined_missing_and_unmeasured_numbers_are_nan(table):
    rows, files = table
    tidy = assemble(rows, METRICS, files)
    one_seed = cell(tidy, "b", "AP")
    assert one_seed["measured"] == 0.36
    assert np.isnan(one_seed["std"])
    undefined = cell(tidy, "b", "oLRP")
    assert np.isnan(undefined["measured"])
    assert undefined["reported"] == 0.661
    absent = cell(tidy, "c", "AP")
    assert np.isnan(absent["measured"])
    assert absent["seeds"] == 0
    assert absent["missing"] == "needs <masks>"
    assert np.isnan(cell(tidy, "c", "oLRP")["reported"])
    assert np.isnan(cell(tidy, "a", "memory_gb")["measured"])
    assert cell(tidy, "b", "memory_gb")["reported"] == 2.25


def test_one_undefined_seed_makes_the_mean_undefined(table):
    rows, files = table
    Path(files[0]["metrics"][1]).write_text(json.dumps({"AP": None, "oLRP": 0.7}))
    tidy = assemble(rows, METRICS, files)
    assert np.isnan(cell(tidy, "a", "AP")["measured"])


def test_csv_keeps_every_digit(table, tmp_path):
    rows, files = table
    Path(files[1]["metrics"][0]).write_text(json.dumps({"AP": 0.1234567890123456, "oLRP": None}))
    tidy = assemble(rows, METRICS, files)
    path = tmp_path / "new" / "table.csv"
    save_table(tidy, path)
    again = pd.read_csv(path)
    assert cell(again, "b", "AP")["measured"] == 0.1234567890123456
    assert list(again) == list(tidy)
    for column in ("measured", "std", "reported"):
        np.testing.assert_array_equal(again[column], tidy[column])


@pytest.fixture
def searched(table, tmp_path):
    """The two seeds of a and the one of b with three epochs each."""
    rows, files = table
    over = {
        "a/seed0": [(0.20, 0.75, 0.20), (0.40, 0.71, 0.25), (0.30, 0.70, 0.21)],
        "a/seed1": [(0.34, 0.74, 0.24), (0.30, 0.70, 0.22), (0.34, 0.72, 0.20)],
        "b/seed0": [(0.30, None, None), (0.365, 0.69, 0.19), (0.36, None, None)],
    }
    for seed, epochs in over.items():
        names = ("AP", "oLRP", "oLRP_Loc")
        content = [{"metrics": dict(zip(names, numbers, strict=True))} for numbers in epochs]
        (tmp_path / "runs" / seed / "epochs.json").write_text(json.dumps({"epochs": content}))
        last = dict(zip(names, epochs[-1], strict=True))
        (tmp_path / "runs" / seed / "metrics.json").write_text(json.dumps(last))
    kept = [[path.replace("metrics", "epochs") for path in kinds["metrics"]] for kinds in files]
    metrics = [*METRICS, {"name": "oLRP_Loc", "percent": True, "better": "lower"}]
    return (
        rows,
        metrics,
        [kinds | {"epochs": paths} for kinds, paths in zip(files, kept, strict=True)],
    )


def test_each_number_has_its_best_epoch_and_parts_of_olrp_have_that_of_olrp(searched):
    tidy = assemble(*searched)
    found = cell(tidy, "a", "AP")
    assert found["at_best_epoch"] == pytest.approx((0.40 + 0.34) / 2, abs=1e-15)
    assert found["best_epoch"] == "2, 1"  # the first of equals
    assert found["measured"] == pytest.approx((0.30 + 0.34) / 2, abs=1e-15)
    assert cell(tidy, "a", "oLRP")["at_best_epoch"] == pytest.approx((0.70 + 0.70) / 2, abs=1e-15)
    parts = cell(tidy, "a", "oLRP_Loc")
    assert parts["best_epoch"] == "3, 2"
    assert parts["at_best_epoch"] == pytest.approx((0.21 + 0.22) / 2, abs=1e-15)
    assert cell(tidy, "b", "oLRP")["best_epoch"] == "2"  # others are undefined
    assert np.isnan(cell(tidy, "c", "AP")["at_best_epoch"])


def test_what_is_printed_is_held_against_the_best_epoch(searched):
    rows, metrics, files = searched
    tidy = assemble(*searched)
    cells = cell_checks(tidy, ["a", "b", "c"], rows, metrics)
    assert (cells[0].name, cells[0].measured) == ("a: AP", pytest.approx(37.0))
    claim = {"says": "a is better", "gains": [{"rows": [[0, 1]], "metrics": ["AP"]}]}
    assert claim_checks(tidy, rows, metrics, [claim])[0].measured == "AP +0.5"
    without = [{kind: kinds[kind] for kind in ("log", "metrics")} for kinds in files]
    assert claim_checks(assemble(rows, metrics, without), rows, metrics, [claim])[0].holds is False


def test_last_and_best_epoch_stand_beside_each_other(searched):
    rows, metrics, files = searched
    tidy = with_gains(assemble(*searched), metrics, files, [])
    html = style_table(tidy, rows, metrics).to_html()
    assert "last epoch" in html
    assert '37.0 <span class="spread">(2, 1)</span>' in html
    assert "searched for on the validation images themselves" in epochs_html(tidy)
    memory = style_table(tidy, rows, metrics).columns
    assert ("memory gb ↓", "best epoch") not in memory


def test_a_table_without_epochs_says_nothing_of_them(table):
    rows, files = table
    tidy = with_gains(assemble(rows, METRICS, files), METRICS, files, [])
    assert epochs_html(tidy) == ""
    assert "epoch" not in style_table(tidy, rows, METRICS).to_html()


def test_what_nothing_is_printed_of_has_no_reported_column(table):
    rows, files = table
    rows = [row | {"reported": {"AP": row["reported"].get("AP")}} for row in rows]
    tidy = with_gains(assemble(rows, METRICS, files), METRICS, files, [])
    columns = style_table(tidy, rows, METRICS).columns
    assert {metric for metric, column in columns if column == "reported"} == {"AP ↑"}
    assert {metric for metric, column in columns if column == "measured"} > {"AP ↑"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": []}, "needs a list of epochs"),
        ({"epochs": [{"metrics": {"AP": "high"}}]}, "AP must be a number or null"),
    ],
)
def test_a_file_that_is_none_of_epochs_is_named(searched, content, message):
    Path(searched[2][0]["epochs"][0]).write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"seed0/epochs.json: {message}"):
        assemble(*searched)


def test_cells_show_gains_spread_and_reasons_and_arrows_say_which_way(table):
    rows, files = table
    tidy = with_gains(assemble(rows, METRICS, files), METRICS, files, [1, None, None])
    html = style_table(tidy, rows, METRICS).to_html()
    assert "AP ↑" in html
    assert "oLRP ↓" in html
    assert "32.0 " in html
    assert "± 2.8" in html  # 100 * 0.0283
    assert re.findall(r'<span class="gain">(.*?)</span>', html) == [
        "−4.0",  # 32.0 - 36.0: without records of matches no interval
        "−8.2",  # 28.3 - 36.5
        "0.0",  # reported oLRP; that of b is not measured
        "+0.75",  # reported memory
    ]
    assert " best" not in html  # nothing says how sure it is
    assert "needs &lt;masks&gt;" in html


@pytest.mark.parametrize(("better", "gain", "kind"), [
    ("higher", 0.02, "better"), ("higher", -0.02, "worse"), ("lower", -0.02, "better"),
    ("lower", 0.02, "worse"), (None, 0.02, ""),
])  # fmt: skip
def test_a_gain_is_coloured_where_its_interval_leaves_out_0(table, better, gain, kind):
    rows, files = table
    metrics = [METRICS[0] | {"better": better}, *METRICS[1:]]
    tidy = with_gains(assemble(rows, metrics, files), metrics, files, [1, None, None])
    first = (tidy["row"] == 0) & (tidy["metric"] == "AP")
    for half, shown in ((0.01, f"gain {kind}".strip()), (0.03, "gain")):
        tidy.loc[first, ["gain", "low", "high"]] = [gain, gain - half, gain + half]
        html = style_table(tidy, rows, metrics).to_html()
        sign = "+" if gain > 0 else "−"
        assert f'<span class="{shown}">{sign}2.0 [' in html


def test_agreement_is_said_of_three_rows_or_of_gains(table):
    rows, files = table
    tidy = with_gains(assemble(rows, METRICS, files), METRICS, files, [1, None, None])
    page = agreement_html(tidy, rows)
    assert "1 of 1" in page  # the gain in AP is negative in both
    assert "(2 rows)" in page
    assert re.search(r"<td>1 of 1</td><td>[\d.]+ times</td><td>0 of 1</td>", page)
    assert (
        agreement_html(with_gains(assemble(rows, METRICS, files), METRICS, files, [None] * 3), rows)
        == ""
    )


def test_runs_link_logs_relative_to_the_table(table, tmp_path):
    rows, files = table
    some = [0, 2]  # b has one seed, as no table of the suite has beside a row with two
    html = run_links_html(
        [rows[index] for index in some], [files[index] for index in some], [7, 3],
        tmp_path / "work" / "table_1" / "table.csv",
    )  # fmt: skip
    assert html.index("seed 7: ") < html.index("a/seed0") < html.index("seed 3: ")
    links = re.findall(r'href="([^"]*)"', html)
    assert "../../runs/a/seed1/log.csv" in links
    assert "table.csv" in links
    folder = tmp_path / "work" / "table_1"
    folder.mkdir(parents=True)
    (folder / "table.csv").touch()
    assert all((folder / link).is_file() for link in links)
    assert "not measured: needs &lt;masks&gt;" in html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda rows, files: files.__setitem__(2, files[0]),
            r"row 2 \(c\) must have files or a reason",
            id="measured and missing",
        ),
        pytest.param(
            lambda rows, files: files.__setitem__(1, files[2]),
            r"row 1 \(b\) must have files or a reason",
            id="neither measured nor missing",
        ),
        pytest.param(
            lambda rows, files: rows[1]["reported"].update(AP5=1.0),
            r"row 1 \(b\) reports \['AP5'\]",
            id="reports a metric that is no column",
        ),
        pytest.param(
            lambda rows, files: rows[1].pop("variant"), "row 1 must have the keys", id="lost key"
        ),
        pytest.param(
            lambda rows, files: rows[1].update(setting={"gamma": 1}),
            r"has the settings \['gamma'\], row 0 has \['loss'\]",
            id="other settings",
        ),
        pytest.param(
            lambda rows, files: files[0]["metrics"].__setitem__(1, "nowhere/metrics.json"),
            "nowhere/metrics.json: no such file",
            id="no file",
        ),
        pytest.param(
            lambda rows, files: Path(files[0]["metrics"][0]).write_text('{"AP": 0.1}'),
            "metrics.json: no metric 'oLRP'",
            id="file without the metric",
        ),
        pytest.param(
            lambda rows, files: Path(files[0]["metrics"][0]).write_text('{"AP": "0.1", "oLRP": 1}'),
            "AP must be a number or null, got '0.1'",
            id="text for a number",
        ),
        pytest.param(
            lambda rows, files: Path(files[0]["metrics"][0]).write_text('{"AP": '),
            "not valid JSON",
            id="half a file",
        ),
        pytest.param(lambda rows, files: files.pop(), "2 entries for 3 rows", id="fewer entries"),
        pytest.param(
            lambda rows, files: files[0]["log"].pop(),
            r"row 0 \(a\) must have one file of each kind per seed, got {'log': 1, 'metrics': 2}",
            id="a seed without a log",
        ),
        pytest.param(
            lambda rows, files: files[0].pop("metrics"),
            r"row 0 \(a\) has files of \['log'\], metrics read \['metrics'\]",
            id="no metrics at all",
        ),
    ],
)
def test_incomplete_input_is_refused_with_its_place(table, change, message):
    rows, files = table
    change(rows, files)
    with pytest.raises(InputError, match=message):
        assemble(rows, METRICS, files)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"name": "AP", "percent": True}, "keys name, percent, better"),
        ({"name": "AP", "percent": True, "better": "up"}, "better must be"),
        (
            {"name": "AP", "percent": True, "better": None, "unit": "%"},
            "keys name, percent, better",
        ),
    ],
)
def test_a_wrong_metric_is_refused(table, metric, message):
    rows, files = table
    with pytest.raises(InputError, match=message):
        assemble(rows, [metric], files)


def test_a_metric_is_read_from_the_file_that_it_names(table, tmp_path):
    rows, files = table
    for of_row in files:
        of_row["positives"] = [path.replace("metrics.json", "positives.json")
                               for path in of_row["metrics"]]  # fmt: skip
        for number, path in enumerate(of_row["positives"]):
            Path(path).write_text(json.dumps({"mean_positive_rois": 10.0 + number}))
    metric = {"name": "mean_positive_rois", "percent": False, "better": "higher",
              "reads": "positives"}  # fmt: skip
    tidy = assemble(rows, [*METRICS, metric], files)
    assert cell(tidy, "a", "mean_positive_rois")["measured"] == 10.5
    assert cell(tidy, "a", "AP")["measured"] == pytest.approx(0.32)
    assert "positives.json" in run_links_html(rows[:1], files[:1], [0, 1], tmp_path / "table.csv")


@pytest.mark.parametrize("printed", [28.3, 57.4, 0.5, 100, 55.55])
def test_percent_is_divided_exactly_in_decimals(printed):
    assert repr(as_fraction(printed, percent=True)) == repr(round(printed / 100, 6))


@pytest.mark.parametrize(
    ("printed", "percent", "places"),
    [
        pytest.param([35.9, 36.55], True, 2, id="as many as the work prints"),
        pytest.param([36], True, 1, id="percent: at least one"),
        pytest.param([0.308, 0.496], False, 3, id="fractions as printed"),
        pytest.param([2, 7], False, 0, id="counts have none"),
        pytest.param([None], False, 3, id="nothing printed"),
    ],
)
def test_decimals(printed, percent, places):
    rows = [{"reported": {"AP": value}} for value in printed]
    assert decimals(rows, Metric("AP", percent, "higher")) == places


@pytest.mark.parametrize(
    ("value", "percent", "sign", "text"),
    [
        (0.36549, True, False, "36.5"),
        (-0.0123, True, True, "−1.2"),
        (0.0123, True, True, "+1.2"),
        (-0.0001, True, True, "0.0"),
        (float("nan"), True, False, "–"),
        (12.34, False, False, "12.3"),
    ],
)
def test_show_number(value, percent, sign, text):
    assert show_number(value, 1, percent, sign) == text


def test_names_of_rows():
    settings = [
        {"loss": "x", "gamma": 1, "ohpm": True},
        {"loss": "x", "gamma": None, "ohpm": True},
        {"loss": "y", "gamma": None, "ohpm": False},
    ]
    assert row_names([{"setting": setting} for setting in settings]) == ["x, 1", "x", "y"]
    unset = [{"gamma": None, "weight": 1.0}, {"gamma": 2, "weight": 1.0}]
    assert row_names([{"setting": setting} for setting in unset]) == ["no gamma", "2"]
    equal_so_far = [settings[0], settings[0] | {"ohpm": False}]
    names = row_names([{"setting": setting} for setting in equal_so_far])
    assert names == ["x, 1, ohpm", "x, 1, no ohpm"]


def test_only_the_papers_scale_goes_without_a_warning():
    assert "Not comparable" in heading_html("T", "W", "shapes")
    assert "T · shapes scale</h1>" in heading_html("T", "W", "shapes")
    assert "Not comparable" not in heading_html("T", "W", "paper")
    assert "T · paper scale</h1>" in heading_html("T", "W", "paper")
    assert "scale" not in heading_html("T", "W", None)
    assert "a &lt; b" in heading_html("a < b", "W", "shapes")


def test_numbers_that_say_nothing_say_so_on_top():
    assert "These numbers say nothing" in heading_html("T", "W", "paper", nothing_learnt=True)
    assert "say nothing" not in heading_html("T", "W", "paper")


def test_small_print():
    legend = legend_html(METRICS)
    assert "Not measured here: memory (GB)." in legend
    assert "Not measured here" not in legend_html(METRICS[:2])
    assert "AP, oLRP in percent" in legend
    assert "↑ higher is better, ↓ lower is better" in legend
    assert "95% interval" in legend
    assert doubts_html([]) == ""
    assert "<li>a &lt; b</li>" in doubts_html(["a < b"])
