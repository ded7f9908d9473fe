"""The workflow from drawings to rendered pages, and what reruns what, in the real Snakemake."""

import json
import os
import re

import pandas as pd
import pytest
import yaml

# One fixture trains three runs and makes their pages.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("dag")]

TABLE = "focal_eiou_table_1"
FIGURE = "thesis_figure_5_2"
DATA = 'my "data", it\'s $HOME'
FOLDER = "results/shapes/focal_eiou/table_1"


@pytest.fixture(scope="module")
def built(make_project):
    """A project with one table, its training curves and an analytic figure made.

    Checkout and data lie in folders of names that a shell or a quotation could trip over.
    """
    project = make_project('my "project", it\'s $HOME')
    project.edit("config/config.yaml", lambda settings: settings.update(data=DATA))
    project.said = project.snakemake("--verbose", TABLE, f"{TABLE}_curves", FIGURE).stdout
    return project


def test_one_table_makes_its_files_and_trains_its_runs_only(built):
    for name in ("notebook.ipynb", "notebook.html", "checks.json", "table.csv", "table.png"):
        assert (built.root / FOLDER / name).stat().st_size > 0
    for name in ("notebook.ipynb", "notebook.html", "checks.json", "figure.svg", "figure.png"):
        assert (built.root / f"{FOLDER}_curves" / name).stat().st_size > 0
    trained = {path.name for path in (built.root / "results/shapes/runs").iterdir()}
    assert trained == {
        "retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "retinanet_r50_focal_l1"
    }  # fmt: skip


def test_checkout_and_data_may_lie_in_folders_of_any_name(built):
    assert (built.root / "results/shapes/thesis/figure_5_2/notebook.html").exists()
    metrics = built.root / "results/shapes/runs/retinanet_r50_focal_l1/seed0/default/metrics.json"
    assert "AP50" in json.loads(metrics.read_text())
    assert (built.root / DATA / "shapes" / "annotations" / "train.json").exists()
    assert not (built.root / "data").exists()


def test_snakemake_looks_for_jobs_when_one_has_ended_and_not_all_the_time(built):
    """Once for each job and once at the start; by a timer it would be many times a second."""
    ended = re.findall(r"^\[\d+ of \d+\] ", built.said, re.MULTILINE)
    assert 0 < built.said.count("Ready jobs: ") <= 1 + len(ended)


def test_the_table_holds_the_numbers_of_the_metrics_files_and_of_the_paper(built):
    table = pd.read_csv(built.root / FOLDER / "table.csv")
    run = built.root / "results/shapes/runs/retinanet_r50_focal_l1/seed0/default/metrics.json"
    metrics = json.loads(run.read_text())
    row = table[(table["run"] == "retinanet_r50_focal_l1") & (table["metric"] == "AP50")].iloc[0]
    assert row["measured"] == pytest.approx(metrics["AP50"], abs=0)
    assert row["reported"] == pytest.approx(0.558)


def test_a_run_is_recorded_with_all_settings_and_versions(built):
    record = yaml.safe_load(
        (built.root / "results/shapes/runs/retinanet_r50_focal_l1/seed0/run.yaml").read_text()
    )
    text = json.dumps(record)
    for part in ("focal_l1", '"beta": 0.8', '"seed": 0', "torch"):
        assert part in text


def test_a_run_has_a_card_with_its_metrics(built):
    run = built.root / "results/shapes/runs/retinanet_r50_focal_l1/seed0"
    ap = json.loads((run / "default/metrics.json").read_text())["AP"]
    assert f"| AP | {100 * ap:.1f} |" in (run / "README.md").read_text()


def test_the_index_shows_what_is_there_after_a_part_of_the_targets(built):
    page = (built.root / "results/shapes/index.html").read_text()
    assert "focal_eiou/table_1/notebook.html" in page
    assert "focal_eiou/table_2/notebook.html" not in page
    assert "snakemake --config scale=shapes -- focal_eiou_table_2" in page


def test_nothing_is_made_twice(built):
    """Nor because notebooks or losses were touched, nor to watch trainings."""
    for file in ("notebooks/table.ipynb", "lib/rebalance/losses/regression.py"):
        os.utime(built.root / file)
    assert built.planned(TABLE, FIGURE, "--config", "tensorboard=scalars") == {}


def test_a_run_shared_by_two_tables_is_trained_once(built):
    planned = built.planned("focal_eiou_table_2")
    rows = yaml.safe_load((built.root / "config/papers/focal_eiou.yaml").read_text())
    runs = {row["run"] for row in rows["targets"]["table_2"]["rows"]}
    assert planned["train"] == len(runs - {"retinanet_r50_smooth_l1", "retinanet_r50_focal_l1"})


def test_changing_a_notebook_renders_again_and_trains_nothing(built):
    path = built.root / "notebooks/table.ipynb"
    before = path.read_text()
    path.write_text(before.replace("Does a table", "Does the table"))
    assert path.read_text() != before
    try:
        planned = built.planned(TABLE)
    finally:
        path.write_text(before)
    assert planned.keys() == {"table", TABLE}


LOSSES = "lib/rebalance/losses/__init__.py"
LOSS_PARTS = "lib/rebalance/config/options/losses.py"
ASSIGNER_PARTS = "lib/rebalance/config/options/assigners.py"
REGRESSION = "lib/rebalance/losses/regression.py"


NEW_PART = '''class New(BoxLoss, name="new", makes="rebalance.losses.regression:new"):
    """New."""


'''


@pytest.mark.parametrize(
    ("edits", "trained"),
    [
        pytest.param([(LOSSES, "if normaliser is not None else None", "if options else None")], 3,
                     id="make_loss, which every run uses"),
        pytest.param([(LOSS_PARTS, "regression:focal_l1_loss", "regression:l1_loss")], 1,
                     id="what the name of one run's loss stands for"),
        pytest.param([(ASSIGNER_PARTS, "max_iou:assign_max_iou", "atss:assign_atss")], 3,
                     id="what the name of the assigner that every run uses stands for"),
        pytest.param([(REGRESSION, "def l1_loss(", "def new(pred, target): ...\n\n\ndef l1_loss("),
                      (LOSS_PARTS, "class SmoothL1(BoxLoss", NEW_PART + "class SmoothL1(BoxLoss")],
                     0, id="a new loss and its entry"),
    ],
)  # fmt: skip
def test_changing_code_trains_exactly_the_runs_that_use_it(built, edits, trained):
    before = {file: (built.root / file).read_text() for file, _, _ in edits}
    try:
        for file, old, new in edits:
            text = (built.root / file).read_text()
            assert old in text
            (built.root / file).write_text(text.replace(old, new, 1))
        planned = built.planned(TABLE)
    finally:
        for file, text in before.items():
            (built.root / file).write_text(text)
    assert planned.get("train", 0) == trained
    assert bool(planned) == bool(trained)


def test_a_second_seed_trains_itself_and_leaves_the_first_as_it_is(built):
    """Nor is another page made again than those that show the seeds."""
    (built.root / "seeds.yaml").write_text("seeds: [0, 1]")
    runs = 3
    planned = built.planned("--configfile", "seeds.yaml", "--", TABLE, f"{TABLE}_curves")
    assert planned == {
        "train": runs, "predict": runs, "evaluate": runs,
        "table": 1, "figure": 1, TABLE: 1, f"{TABLE}_curves": 1,
    }  # fmt: skip


def test_changing_a_setting_trains_only_the_run_that_has_it(built):
    path = built.root / "config/papers/focal_eiou.yaml"
    before = path.read_text()
    path.write_text(before.replace("beta: 0.8}}", "beta: 0.7}}", 1))
    assert path.read_text() != before
    try:
        planned = built.planned(TABLE)
    finally:
        path.write_text(before)
    assert planned["train"] == 1


def test_a_figure_depends_on_its_own_family(built):
    """And on what the family computes with, but on no other family."""
    figures = built.root / "lib/rebalance/figures"
    for path, rerun in (
        (figures / "metric_behaviour/draw.py", True),
        (built.root / "lib/rebalance/metrics/lrp.py", True),
        (figures / "toy_boxes/draw.py", False),
    ):
        before = path.read_text()
        path.write_text(before.replace("    return ", "    0\n    return "))
        assert path.read_text() != before
        try:
            planned = built.planned(FIGURE)
        finally:
            path.write_text(before)
        assert bool(planned) == rerun, path


def test_a_failing_cell_keeps_the_executed_notebook_with_its_traceback(make_project):
    project = make_project()
    path = project.root / "notebooks/training_curves.ipynb"
    notebook = json.loads(path.read_text())
    cell = notebook["cells"][-1]
    cell["source"] = "raise RuntimeError('the cell that fails')"
    path.write_text(json.dumps(notebook))
    for run in ("retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "retinanet_r50_focal_l1"):
        folder = project.root / f"results/shapes/runs/{run}/seed0"
        folder.mkdir(parents=True)
        (folder / "log.csv").write_text("iteration,lr,loss\n1,0.1,1.0\n2,0.1,0.9\n")
    done = project.snakemake(
        f"{TABLE}_curves", "--allowed-rules", "figure", f"{TABLE}_curves", check=False
    )
    assert done.returncode != 0
    executed = project.root / "logs/shapes/focal_eiou/table_1_curves.ipynb"
    assert "the cell that fails" in executed.read_text()
    assert str(executed.relative_to(project.root)) in done.stdout
    assert "RuntimeError: the cell that fails" in done.stdout
    assert '"cell_type"' not in done.stdout, "the message, and not the notebook"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("config/papers/focal_eiou.yaml", "name: eiou", "name: eiuo",
         ["focal_eiou.yaml", "runs.retinanet_r50_eiou.detector.dense.objective.box", "'eiou'"]),
        ("config/papers/focal_eiou.yaml", "run: retinanet_r50_giou,", "run: retinanet_r50_gio,",
         ["focal_eiou.yaml", "targets.table_2.rows[2].run", "retinanet_r50_giou"]),
        ("config/scales/shapes.yaml", "seeds:", "seed:", ["scales/shapes.yaml", "seed"]),
    ],
)  # fmt: skip
def test_a_mistake_in_the_configuration_stops_before_any_job(
    make_project, file, old, new, expected
):
    project = make_project()
    path = project.root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    done = project.snakemake(TABLE, check=False)
    assert done.returncode != 0
    assert not (project.root / "results").exists()
    assert not (project.root / "data").exists()
    for part in expected:
        assert part in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("focal_eiou_tabel_2", "no target named 'focal_eiou_tabel_2' (did you mean "
         "'focal_eiou_table_2'?)"),
        ("demmo", "no target named 'demmo' (did you mean 'demo'?)"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_made_is_answered_in_one_line(make_project, name, message):
    done = make_project().snakemake("--dry-run", "--quiet", "all", "--", name, check=False)
    assert done.returncode != 0
    line = done.stdout.strip().splitlines()[-1]
    assert line.startswith(f"snakemake: {message}")
    assert "No rule to produce" not in done.stdout
    assert "Traceback" not in done.stdout


def test_a_missing_dataset_folder_is_named(make_project):
    project = make_project()
    project.edit(
        "config/scales/shapes.yaml", lambda scale: scale["datasets"].update(coco2017="coco_tiny")
    )
    done = project.snakemake(TABLE, check=False)
    assert done.returncode != 0
    assert "raw/coco_tiny/annotations/instances_train2017.json" in done.stdout


def test_lint_finds_nothing_but_the_absent_conda_environments(make_project):
    report = make_project().run("snakemake", "--lint", check=False).stdout
    findings = {line.strip() for line in report.splitlines() if line.startswith("    * ")}
    assert findings == {"* Specify a conda environment or container for each rule.:"}
