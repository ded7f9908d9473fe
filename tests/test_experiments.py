"""A mistake in the configuration stops before any job, with file and key in the message."""

import shutil

import pytest
import yaml
from rebalance.errors import InputError
from rebalance.experiments import load_experiments, load_yaml, resolve_run
from rebalance.settings import merged, run_sources
from rebalance.targets import result_files, target_files


@pytest.fixture
def root(tmp_path, repository):
    """A copy of the configuration that a test may spoil."""
    shutil.copytree(repository / "config", tmp_path / "config")
    shutil.copytree(repository / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    shutil.copytree(repository / "notebooks", tmp_path / "notebooks")
    return tmp_path


def edit(root, file, change):
    path = root / "config" / file
    contents = yaml.safe_load(path.read_text())
    change(contents)
    path.write_text(yaml.safe_dump(contents, sort_keys=False))


def test_the_configuration_as_shipped_is_valid(repository):
    experiments = load_experiments(repository)
    assert "retinanet_r50_focal_eiou" in experiments.runs
    assert experiments.targets["focal_eiou_table_2"].is_table


def set_in(*path, value):
    def change(contents):
        for key in path[:-1]:
            contents = contents[key]
        contents[path[-1]] = value

    return change


RUN = ("runs", "retinanet_r50_eiou")
SPOILT = {
    "misspelt key of a run": (
        "papers/focal_eiou.yaml", set_in(*RUN, "sheduleX", value="a"),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "sheduleX"]),
    "missing key of a run": (
        "papers/focal_eiou.yaml", lambda c: c["runs"]["retinanet_r50_eiou"].pop("schedule"),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "schedule"]),
    "unknown loss": (
        "papers/focal_eiou.yaml",
        set_in(*RUN, "detector", "box_loss", "name", value="eiuo"),
        ["papers/focal_eiou.yaml", "retinanet_r50_eiou.detector.box_loss", "'eiuo'", "'eiou'"]),
    "unknown option of a loss": (
        "papers/focal_eiou.yaml", set_in(*RUN, "detector", "box_loss", "gama", value=0.5),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou.detector.box_loss", "gama"]),
    "unknown key of a detector": (
        "papers/focal_eiou.yaml", set_in(*RUN, "detector", value={"box_los": {}}),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "box_los"]),
    "row without a run": (
        "papers/focal_eiou.yaml",
        set_in("targets", "table_2", "rows", 1, "run", value="retinanet_r50_iuo"),
        ["papers/focal_eiou.yaml", "targets.table_2.rows[1].run", "retinanet_r50_iou"]),
    "row with a metric that is not a column": (
        "papers/focal_eiou.yaml",
        set_in("targets", "table_2", "rows", 1, "reported", "APP", value=1.0),
        ["papers/focal_eiou.yaml", "targets.table_2.rows[1]", "APP"]),
    "unknown detector": (
        "papers/focal_eiou.yaml", set_in(*RUN, "base", value="retinanett"),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou.base", "retinanet"]),
    "number written as text": (
        "scales/shapes.yaml", set_in("schedules", "focal_eiou", "weight_decay", value="1e-4"),
        ["schedule.weight_decay", "'1e-4'"]),
    "unknown key of a scale": (
        "scales/shapes.yaml", set_in("backbone", value={}),
        ["scales/shapes.yaml", "backbone", "backbones"]),
    "scale that maps to no data set": (
        "scales/shapes.yaml", set_in("datasets", "coco2017", value="shape"),
        ["scales/shapes.yaml", "datasets.coco2017", "shapes"]),
    "unknown scale": (
        "config.yaml", set_in("scale", value="papper"), ["config.yaml", "scale", "papper"]),
    "unknown kind of data set": (
        "datasets.yaml", set_in("shapes", "kind", value="shape"), ["datasets.yaml", "shapes.kind"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SPOILT)
def test_a_mistake_is_refused_with_file_and_key(root, mistake):
    file, change, expected = SPOILT[mistake]
    edit(root, file, change)
    with pytest.raises(InputError) as error:
        load_experiments(root)
    for part in expected:
        assert part in str(error.value)


def test_two_works_cannot_define_the_same_run(root):
    run = yaml.safe_load((root / "config/papers/focal_eiou.yaml").read_text())["runs"]
    edit(
        root,
        "papers/bbgen.yaml",
        lambda c: c["runs"].update({"retinanet_r50_iou": run["retinanet_r50_iou"]}),
    )
    with pytest.raises(InputError, match=r"focal_eiou.yaml: runs.retinanet_r50_iou: .*bbgen.yaml"):
        load_experiments(root)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(InputError, match=r"twice.yaml.*'a' is given twice.*line 3"):
        load_yaml(path)


def test_a_named_part_is_replaced_as_a_whole_and_other_mappings_merge():
    base = {"loss": {"name": "smooth_l1", "beta": 0.11}, "head": {"channels": 256, "num_convs": 4}}
    change = {"loss": {"name": "iou"}, "head": {"channels": 64}}
    assert merged(base, change) == {
        "loss": {"name": "iou"}, "head": {"channels": 64, "num_convs": 4}
    }  # fmt: skip
    assert merged({"s": {"name": "x", "num": 1}}, {"s": {"num": 2}}) == {
        "s": {"name": "x", "num": 2}
    }


def test_a_run_changes_only_what_it_says(repository):
    experiments = load_experiments(repository)
    baseline = resolve_run(experiments, "retinanet_r50_smooth_l1", "shapes")
    eiou = resolve_run(experiments, "retinanet_r50_eiou", "shapes")
    assert eiou["detector"]["box_loss"] == {"name": "eiou", "weight": 2.5}
    eiou["name"], eiou["detector"]["box_loss"] = baseline["name"], baseline["detector"]["box_loss"]
    assert eiou == baseline


def test_a_run_depends_on_the_files_of_its_own_parts_only(repository):
    experiments = load_experiments(repository)
    retinanet = "\n".join(run_sources(resolve_run(experiments, "retinanet_r50_eiou", "shapes")))
    assert "losses/regression.py" in retinanet
    assert "losses/ranking.py" not in retinanet
    assert "engine/train.py" in retinanet
    assert "rebalance/experiments.py" not in retinanet  # tables and figures train nothing again


def test_a_table_needs_its_runs_and_nothing_else(repository):
    experiments = load_experiments(repository)
    table = experiments.targets["focal_eiou_table_1"]
    needed = result_files(experiments, table, "shapes")
    runs = {"retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "retinanet_r50_focal_l1"}
    assert {path.split("/")[3] for path in needed} == runs
    assert target_files(table, "shapes")["table"] == "results/shapes/focal_eiou/table_1/table.csv"
