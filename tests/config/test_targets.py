"""What each type of table and figure reads, gets and writes."""

import pytest
from rebalance.config.experiments import load_experiments

RUNS = "results/tiny/runs"


@pytest.fixture
def experiments(root):
    return load_experiments(root)


@pytest.fixture
def results(experiments):
    return experiments.results("tiny")


def test_entries_bring_their_targets_in_order(experiments):
    assert list(experiments.targets) == [
        "work_table_1", "work_table_1_curves", "work_figure_3_14", "work_figure_3_14_trained",
        "work_figure_4", "work_table_5", "work_figure_6",
    ]  # fmt: skip
    made = [name for name, target in experiments.targets.items() if not target.made]
    assert made == ["work_figure_6"]


def test_a_table_of_runs(experiments, results):
    table = experiments.target("work_table_1")
    assert table.notebook == "table"
    assert table.outputs(results) == {
        "html": "results/tiny/work/table_1/notebook.html",
        "notebook": "results/tiny/work/table_1/notebook.ipynb",
        "checks": "results/tiny/work/table_1/checks.json",
        "table": "results/tiny/work/table_1/table.csv",
        "thumbnail": "results/tiny/work/table_1/table.png",
    }
    assert table.inputs(results) == [
        f"{RUNS}/{folder}"
        for run, variant in (("baseline", "default"), ("staged", "tau_70"))
        for file in (f"{variant}/matches.npz", f"{variant}/metrics.json", "positives.json")
        for folder in (f"{run}/seed0/{file}", f"{run}/seed1/{file}")
    ]
    given = table.parameters(results)
    assert given["title"] == "Table 1: Losses"
    assert (given["paper"], given["scale"]) == ("A work", "tiny")
    assert given["metrics"][0] == {"name": "AP", "percent": True, "better": "higher"}
    assert given["rows"][2] == {
        "setting": {"loss": "other"}, "run": None, "variant": "default",
        "reported": {"AP": 37.0}, "missing": "needs more",
    }  # fmt: skip
    assert given["files"][2] == {"log": [], "matches": [], "metrics": [], "positives": []}
    assert given["files"][0]["log"] == [f"{RUNS}/baseline/seed{seed}/log.csv" for seed in (0, 1)]


def test_its_curves(experiments, results):
    curves = experiments.target("work_table_1_curves")
    given = curves.parameters(results)
    assert given["title"] == "Table 1, training curves: Losses"
    assert list(given["runs"]) == ["plain", "staged"]
    assert curves.inputs(results) == [file for files in given["runs"].values() for file in files]
    assert given["figure"] == "results/tiny/work/table_1_curves/figure.svg"
    assert curves.notebook == "training_curves"


def test_a_figure_and_the_same_with_runs_in_it(experiments, results):
    analytic = experiments.target("work_figure_3_14")
    assert analytic.inputs(results) == []
    assert analytic.parameters(results) == {
        "title": "Figure 3.14: Sources", "numbers": {}, "rows": [],
        "doubts": ["One draw of chance.", "Axes are not printed."], "what": "sources",
        "misprints": [{"cell": "share", "printed": 0.5, "correct": 0.6}],
        "figure": "results/tiny/work/figure_3_14/figure.svg",
        "bitmap": "results/tiny/work/figure_3_14/figure.png",
        "checks": "results/tiny/work/figure_3_14/checks.json",
    }  # fmt: skip
    trained = experiments.target("work_figure_3_14_trained")
    files = [f"{RUNS}/staged/seed{seed}/positives.json" for seed in (0, 1)]
    assert trained.inputs(results) == files
    given = trained.parameters(results)
    assert given["title"] == "Figure 3.14, with a trained detector: Sources"
    assert given["runs"] == {"RPN": files}
    assert given["doubts"] == ["Axes are not printed.", "One epoch."]


def test_a_figure_of_runs_gets_one_file_per_seed_of_each_row(experiments, results):
    figure = experiments.target("work_figure_4")
    given = figure.parameters(results)
    files = [f"{RUNS}/baseline/seed{seed}/default/metrics.json" for seed in (0, 1)]
    assert given["runs"] == {"1": files}
    assert figure.inputs(results) == files
    assert given["rows"] == [{"setting": {"weight": 1}, "run": "baseline", "reported": {}}]


def test_a_table_without_runs_has_a_notebook_of_its_own(experiments, results):
    table = experiments.target("work_table_5")
    assert table.notebook == "analytic"
    assert table.outputs(results)["table"] == "results/tiny/work/table_5/table.csv"
    assert not table.runs
