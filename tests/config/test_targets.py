"""What each type of table and figure reads, gets and writes."""

import pytest
from rebalance.config.experiments import load_experiments, resolve_run

RUNS = "results/tiny/runs"
PAGES = "results/tiny/work"


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
        "html": f"{PAGES}/table_1/notebook.html",
        "notebook": f"{PAGES}/table_1/notebook.ipynb",
        "checks": f"{PAGES}/table_1/checks.json",
        "table": f"{PAGES}/table_1/table.csv",
        "thumbnail": f"{PAGES}/table_1/table.png",
        "latex": f"{PAGES}/table_1/table.tex",
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
        "reported": {"AP": 37.0}, "missing": "needs more", "measures": None,
    }  # fmt: skip
    assert given["files"][2] == {"log": [], "matches": [], "metrics": [], "positives": []}
    assert given["files"][0]["log"] == [f"{RUNS}/baseline/seed{seed}/log.csv" for seed in (0, 1)]


def test_a_table_of_speeds_alone_asks_for_no_evaluation(edit, root):
    table = ("targets", "table_1")
    speed = {"name": "fps", "percent": False, "better": "higher", "reads": "speed"}
    edit("papers/work.yaml", (*table, "metrics"), [speed])
    for row in range(3):
        edit("papers/work.yaml", (*table, "rows", row, "reported"), {"fps": 10.0})
    experiments = load_experiments(root)
    asked = experiments.target("work_table_1").inputs(experiments.results("tiny"))
    assert asked == [
        f"{RUNS}/{run}/seed{seed}/speed.json" for run in ("baseline", "staged") for seed in (0, 1)
    ]


def test_a_quoted_row_is_shown_and_nothing_trained_for_it(root, results):
    file = root / "config" / "papers" / "work.yaml"
    text = file.read_text()
    assert text.count("waits: needs more") == 1
    file.write_text(text.replace("waits: needs more", "quoted: from another publication"))
    table = load_experiments(root).target("work_table_1")
    row = table.parameters(results)["rows"][2]
    assert (row["run"], row["missing"]) == (None, "quoted from another publication")
    assert row["reported"] == {"AP": 37.0}
    assert len(table.runs) == 2


def test_a_page_says_where_it_differs_from_the_work_each_sentence_once(root, edit):
    """What the target, then for each run its schedule, its detector and the run itself say."""
    edit("detectors.yaml", ("faster_rcnn", "departures"), ["Has a pyramid."])
    experiments = load_experiments(root)
    results = experiments.results("tiny")
    expected = {
        "work_table_1": ["Is short.", "Has a pyramid.", "Draws its RoIs."],
        "work_table_1_curves": ["Is short.", "Has a pyramid.", "Draws its RoIs."],
        "work_figure_3_14_trained": [
            "Once more.",
            "Is short.",
            "Has a pyramid.",
            "Draws its RoIs.",
        ],
        "work_figure_4": ["Weights are ours.", "Is short."],
    }
    for name, departures in expected.items():
        assert experiments.target(name).parameters(results)["departures"] == departures
    assert experiments.target("work_figure_3_14").departures(results) == []


def test_departures_change_no_setting_of_a_run(root, edit):
    before = resolve_run(load_experiments(root), "staged", "tiny")
    edit("detectors.yaml", ("faster_rcnn", "departures"), ["Another."])
    edit("scales/tiny.yaml", ("schedules", "short", "departures"), [])
    edit("papers/work.yaml", ("runs", "staged", "departures"), ["Another."])
    assert resolve_run(load_experiments(root), "staged", "tiny") == before


def test_a_target_may_have_seeds_of_its_own(root, edit):
    edit("scales/tiny.yaml", ("seeds_of",), {"work_table_1": [4, 5, 6]})
    experiments = load_experiments(root)
    results = experiments.results("tiny")
    table, figure = experiments.target("work_table_1"), experiments.target("work_figure_4")
    assert table.parameters(results)["seeds"] == [4, 5, 6]
    assert f"{RUNS}/baseline/seed5/default/metrics.json" in table.inputs(results)
    assert len(experiments.target("work_table_1_curves").inputs(results)) == 6
    assert figure.seeds(results) == [0, 1]
    chosen = experiments.results("tiny", seeds=[9])
    assert table.seeds(chosen) == figure.seeds(chosen) == [9]


def test_tables_of_runs_that_keep_their_epochs_read_them(root, edit, results):
    before = load_experiments(root)
    edit("scales/tiny.yaml", ("schedules", "short", "epochs"), 5)
    experiments = load_experiments(root)
    kept = experiments.results("tiny")
    table = experiments.target("work_table_1")
    epochs = f"{RUNS}/baseline/seed0/default/epochs.json"
    assert epochs in table.inputs(kept)
    assert epochs in table.parameters(kept)["files"][0]["epochs"]
    # What is trained does not depend on it, and tables of runs that keep none are as they were.
    assert resolve_run(experiments, "staged", "tiny") == resolve_run(before, "staged", "tiny")
    assert epochs not in table.inputs(results)
    assert "epochs" not in table.parameters(results)["files"][0]


def test_a_small_batch_has_few_devices(root, edit):
    edit("scales/tiny.yaml", ("hardware", "devices"), 4)
    for batch_size, devices in ((1, 1), (2, 2), (6, 2), (8, 4)):
        edit("scales/tiny.yaml", ("schedules", "short", "batch_size"), batch_size)
        run = resolve_run(load_experiments(root), "baseline", "tiny")
        assert run.hardware.devices == devices


def test_its_curves(experiments, results):
    curves = experiments.target("work_table_1_curves")
    given = curves.parameters(results)
    assert given["title"] == "Table 1, training curves: Losses"
    assert list(given["runs"]) == ["plain", "staged"]
    assert curves.inputs(results) == [file for files in given["runs"].values() for file in files]
    assert given["figure"] == f"{PAGES}/table_1_curves/figure.svg"
    assert curves.notebook == "training_curves"


def test_a_figure_and_the_same_with_runs_in_it(experiments, results):
    analytic = experiments.target("work_figure_3_14")
    assert analytic.inputs(results) == []
    assert analytic.parameters(results) == {
        "title": "Figure 3.14: Sources", "numbers": {}, "rows": [],
        "doubts": ["One draw of chance.", "Axes are not printed."], "what": "sources",
        "misprints": [{"cell": "share", "printed": 0.5, "correct": 0.6}],
        "figure": f"{PAGES}/figure_3_14/figure.svg",
        "bitmap": f"{PAGES}/figure_3_14/figure.png",
        "checks": f"{PAGES}/figure_3_14/checks.json",
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
    assert table.outputs(results)["table"] == f"{PAGES}/table_5/table.csv"
    assert not table.runs
