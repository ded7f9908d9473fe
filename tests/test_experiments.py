"""A mistake in the configuration stops before any job, with file and key in the message."""

import shutil

import pytest
import yaml
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.experiments import _check_masks, load_experiments, load_yaml, resolve_run
from rebalance.settings import merged, needs_masks, run_sources
from rebalance.targets import index_manifest, notebook_parameters, result_files, target_files


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


def test_a_detector_has_the_settings_of_what_it_is_like_and_of_the_scale(root):
    edit(root, "papers/focal_eiou.yaml", set_in("runs", "staged", value={
        "base": "dynamic_rcnn", "backbone": "resnet50", "dataset": "coco2017",
        "schedule": "focal_eiou"}))  # fmt: skip
    detector = resolve_run(load_experiments(root, check_runs=False), "staged", "shapes")["detector"]
    assert "like" not in detector
    assert detector["rpn"]["proposals"]["train"] == {  # of it, of the scale, of faster_rcnn
        "nms_iou": 0.85, "pre_nms": 100, "post_nms": 64, "min_size": 0.0}  # fmt: skip
    assert detector["box"]["pooling"]["sampling_ratio"] == 0  # of faster_rcnn_mmdet
    assert detector["box"]["dynamic"] == {
        "iou_top_k": 6, "beta_top_k": 10, "interval": 20, "least_iou": 0.4, "largest_beta": 1.0
    }  # fmt: skip


def set_in(*path, value):
    def change(contents):
        for key in path[:-1]:
            contents = contents[key]
        contents[path[-1]] = value

    return change


RUN = ("runs", "retinanet_r50_eiou")
SPOILT = {
    "detectors that are like each other": (
        "detectors.yaml", set_in("faster_rcnn", "like", value="faster_rcnn_mmdet"),
        ["detectors.yaml", "faster_rcnn", "like"]),
    "a detector like one that is not there": (
        "detectors.yaml", set_in("cascade_rcnn", "like", value="faster_rcn_mmdet"),
        ["detectors.yaml", "cascade_rcnn", "faster_rcnn_mmdet"]),
    "misspelt key of a run": (
        "papers/focal_eiou.yaml", set_in(*RUN, "sheduleX", value="a"),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "sheduleX"]),
    "missing key of a run": (
        "papers/focal_eiou.yaml", lambda c: c["runs"]["retinanet_r50_eiou"].pop("schedule"),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "schedule"]),
    "unknown loss": (
        "papers/focal_eiou.yaml",
        set_in(*RUN, "detector", "dense", "objective", "box", "name", value="eiuo"),
        ["papers/focal_eiou.yaml", "retinanet_r50_eiou.detector.dense.objective.box", "'eiuo'",
         "'eiou'"]),
    "unknown option of a loss": (
        "papers/focal_eiou.yaml",
        set_in(*RUN, "detector", "dense", "objective", "box", "gama", value=0.5),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou.detector.dense.objective.box", "gama"]),
    "unknown key of a detector": (
        "papers/focal_eiou.yaml", set_in(*RUN, "detector", value={"box_los": {}}),
        ["papers/focal_eiou.yaml", "runs.retinanet_r50_eiou", "box_los"]),
    "misspelt key of an image": (
        "papers/focal_eiou.yaml",
        set_in(*RUN, "image", value={"train": {"resize": {"name": "square", "sise": 512}}}),
        ["papers/focal_eiou.yaml: runs.retinanet_r50_eiou.image.train.resize", "'sise'", "'size'"]),
    "crops before a resize that keeps the ratio": (
        "papers/focal_eiou.yaml", set_in(*RUN, "image", value={"train": {"augment": "ssd"}}),
        ["papers/focal_eiou.yaml: runs.retinanet_r50_eiou.image.train.resize.name", "square"]),
    "range of sizes that falls": (
        "papers/focal_eiou.yaml",
        set_in(*RUN, "image", value={"train": {"resize": {
            "name": "keep_ratio", "min_size": [800, 640], "max_size": 1333}}}),
        ["papers/focal_eiou.yaml: runs.retinanet_r50_eiou.image.train.resize.min_size",
         "[low, high], got [800, 640]"]),
    "size that is drawn at test": (
        "scales/paper.yaml",
        set_in("image", "test", "resize", "min_size", value=[640, 800]),
        ["image.test.resize.min_size: must be integer, got [640, 800]"]),
    "row without a run": (
        "papers/focal_eiou.yaml",
        set_in("targets", "table_2", "rows", 1, "run", value="retinanet_r50_iuo"),
        ["papers/focal_eiou.yaml", "targets.table_2.rows[1].run", "retinanet_r50_iou"]),
    "row with a metric that is not a column": (
        "papers/focal_eiou.yaml",
        set_in("targets", "table_2", "rows", 1, "reported", "APP", value=1.0),
        ["papers/focal_eiou.yaml", "targets.table_2.rows[1]", "APP"]),
    "figure of runs that does not say what it reads": (
        "papers/focal_eiou.yaml", lambda c: c["targets"]["figure_4"].pop("reads"),
        ["papers/focal_eiou.yaml: targets.figure_4", "'reads'"]),
    "figure that reads an unknown file": (
        "papers/focal_eiou.yaml", set_in("targets", "figure_4", "reads", value="positive"),
        ["papers/focal_eiou.yaml: targets.figure_4.reads", "positives", "'positive'"]),
    "figure with a run that is unknown": (
        "papers/focal_eiou.yaml",
        set_in("targets", "figure_4", "rows", 1, "run", value="retinanet_r50_eiou_w1_00"),
        ["papers/focal_eiou.yaml: targets.figure_4.rows[1].run", "'retinanet_r50_eiou_w1_0'"]),
    "figure with a row that names no run": (
        "papers/focal_eiou.yaml", lambda c: c["targets"]["figure_4"]["rows"][2].pop("run"),
        ["papers/focal_eiou.yaml: targets.figure_4.rows[2]", "'run'"]),
    "figure with two rows of one name": (
        "papers/focal_eiou.yaml",
        lambda c: c["targets"]["figure_4"]["rows"][2]["setting"].update(value=1.0),
        ["targets.figure_4.rows[2].setting", "rows[1]", "'a, EIoU, 1.0'"]),
    "table with two rows of one name": (
        "papers/focal_eiou.yaml",
        lambda c: c["targets"]["table_2"]["rows"].append(c["targets"]["table_2"]["rows"][0]),
        ["papers/focal_eiou.yaml: targets.table_2.rows[8].setting", "rows[0]"]),
    "figure of runs without a notebook": (
        "papers/focal_eiou.yaml", lambda c: c["targets"]["figure_4"].pop("notebook"),
        ["papers/focal_eiou.yaml: targets.figure_4", "'notebook'"]),
    "reads without rows": (
        "papers/focal_eiou.yaml", set_in("targets", "figure_2", "reads", value="log"),
        ["papers/focal_eiou.yaml: targets.figure_2.reads"]),
    "table that says what it reads": (
        "papers/focal_eiou.yaml", set_in("targets", "table_2", "reads", value="metrics"),
        ["papers/focal_eiou.yaml: targets.table_2.reads"]),
    "trained series of an unknown run": (
        "papers/bbgen.yaml",
        set_in("targets", "figure_5", "trained", "rows", 0, "run", value="faster_rcnn_voc"),
        ["papers/bbgen.yaml: targets.figure_5.trained.rows[0].run", "'faster_rcnn_voc'"]),
    "trained series without what is read": (
        "papers/bbgen.yaml", lambda c: c["targets"]["figure_5"]["trained"].pop("reads"),
        ["papers/bbgen.yaml: targets.figure_5.trained", "'reads'"]),
    "trained series of a table": (
        "papers/bbgen.yaml",
        lambda c: c["targets"]["table_1"].update(trained=c["targets"]["figure_5"]["trained"]),
        ["papers/bbgen.yaml: targets.table_1.trained"]),
    "unknown notebook of a trained series": (
        "papers/bbgen.yaml",
        set_in("targets", "figure_5", "trained", "notebook", value="postives"),
        ["papers/bbgen.yaml: targets.figure_5.trained.notebook", "postives.ipynb"]),
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
    "no image of a split": (
        "datasets.yaml", set_in("coco_tiny_few", "first", value=0),
        ["datasets.yaml", "coco_tiny_few.first"]),
    "the first of a data set that is drawn": (
        "datasets.yaml", set_in("shapes", "first", value=8), ["datasets.yaml", "shapes", "first"]),
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
    objective = eiou["detector"]["dense"]["objective"]
    assert objective["box"] == {"name": "eiou", "weight": 2.5}
    eiou["name"] = baseline["name"]
    objective["box"] = baseline["detector"]["dense"]["objective"]["box"]
    assert eiou == baseline


def test_a_run_may_have_sizes_of_its_own_in_training_and_at_test(root):
    """Block A of the aLRP recipes: 512 x 512 with SSD's augmentation, tested at 833 x 500."""
    image = {
        "train": {"resize": {"name": "square", "size": 512}, "augment": "ssd"},
        "test": {"resize": {"name": "keep_ratio", "min_size": 500, "max_size": 833}},
    }
    edit(root, "papers/focal_eiou.yaml", set_in(*RUN, "image", value=image))
    experiments = load_experiments(root)
    resolved = resolve_run(experiments, RUN[1], "paper")["image"]
    assert resolved["train"] == {**image["train"], "horizontal_flip": 0.5}
    assert resolved["test"] == image["test"]
    assert resolved["std"] == experiments.scales["paper"]["image"]["std"]


@pytest.mark.parametrize(("detector", "expected"), [
    ({"steps": ["rpn", {"box": "a", "iou": 0.5}], "rpn": {"objective": {"class": {}}}}, False),
    ({"steps": ["rpn", {"box": "a"}, {"mask": "m"}], "rpn": {"objective": {"class": {}}}}, True),
    ({"steps": ["dense"], "dense": {"objective": {"name": "linear", "box": {}}}}, False),
    ({"steps": ["grid"], "grid": {"objective": {"name": "linear", "mask": {}}}}, True),
    ({"steps": [{"prototypes": "dense"}], "prototypes": {"objective": {}}}, True),
])  # fmt: skip
def test_steps_say_whether_masks_are_needed(detector, expected):
    assert needs_masks(detector) == expected


def test_a_mask_detector_on_boxes_is_refused_by_the_kind_of_the_data():
    detector = {"steps": [{"mask": "m"}]}
    _check_masks(detector, "shapes", "shapes", "runs.a")
    with pytest.raises(InputError, match=r"runs.a.dataset: the detector trains on masks, voc07 \("):
        _check_masks(detector, "voc07", "voc_download", "runs.a")
    _check_masks({"steps": [{"box": "b"}]}, "voc07", "voc_download", "runs.a")


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


def test_an_analytic_figure_brings_one_with_the_series_of_trained_runs(repository):
    experiments = load_experiments(repository)
    analytic = experiments.targets["bbgen_figure_5"]
    trained = experiments.targets["bbgen_figure_5_trained"]
    assert (analytic.is_trained, trained.is_trained) == (False, True)
    assert result_files(experiments, analytic, "shapes") == []
    folder = "results/shapes/runs/faster_rcnn_r101_voc_random/seed0"
    assert result_files(experiments, trained, "shapes") == [f"{folder}/positives.json"]
    given = notebook_parameters(experiments, trained, "shapes", "data")
    assert given["title"].startswith("Figure 5, with a trained detector: IoU")
    assert given["runs"] == {"RPN": [f"{folder}/positives.json"]}
    assert given["doubts"][:-1] == analytic.settings["doubts"]
    names = list(experiments.targets)
    assert names.index(trained.name) == names.index(analytic.name) + 1


def test_a_figure_of_runs_reads_one_file_per_seed_of_each_row(repository):
    experiments = load_experiments(repository)
    given = {
        name: notebook_parameters(experiments, experiments.targets[name], "paper", "data")
        for name in ("focal_eiou_figure_4", "thesis_figure_3_17")
    }
    runs = given["focal_eiou_figure_4"]["runs"]
    folder = "results/paper/runs/retinanet_r50_eiou_w1_0"
    assert runs["a, EIoU, 1.0"] == [
        f"{folder}/seed{seed}/default/metrics.json" for seed in experiments.seeds("paper")
    ]
    assert next(iter(runs)) == "baseline, smooth L1"
    assert all(
        path.endswith("log.csv")
        for files in given["thesis_figure_3_17"]["runs"].values()
        for path in files
    )


def test_figures_bring_no_training_curves_and_stand_in_the_index(repository):
    experiments = load_experiments(repository)
    assert "focal_eiou_figure_4_curves" not in experiments.targets
    assert "focal_eiou_table_2_curves" in experiments.targets
    cards = {
        card["name"]: card
        for work in index_manifest(experiments, "shapes")["works"]
        for card in work["targets"]
    }
    assert cards["bbgen_figure_5_trained"]["reason"] == "snakemake bbgen_figure_5_trained"
    assert cards["bbgen_figure_5_trained"]["verdict"] is None


def test_the_list_of_runs_names_figures_too(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    assert main(["runs"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "thesis_figure_3_14" in lines["faster_rcnn_r101_voc_random"]
    assert "focal_eiou_figure_4" in lines["retinanet_r50_eiou_w3_0"]
    assert "_curves" not in "".join(lines.values())


def test_a_row_may_name_a_run_of_another_work(repository):
    experiments = load_experiments(repository)
    for number in range(1, 6):
        ours, theirs = (experiments.targets[f"{work}_{table}_{number}"].settings["rows"]
                        for work, table in (("thesis", "table_4"), ("bbgen", "table")))  # fmt: skip
        assert [(row["run"], row.get("variant")) for row in ours] == [
            (row["run"], row.get("variant")) for row in theirs
        ]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--scale", "paper"], "# parameters: 41,699,936 with 80 classes, 41,477,536 of them"),
        (["--classes", "3"], "# parameters: 246,351 with 3 classes, 246,351 of them trainable"),
        (["--data", "nowhere"], "# parameters: not known before the data set is there"),
    ],
    ids=["a data set that is known", "given", "neither"],
)
def test_show_ends_with_the_number_of_parameters(repository, monkeypatch, capsys, options, line):
    monkeypatch.chdir(repository)
    main(["show", "faster_rcnn_r50_random_random", *options])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith(line)
    assert yaml.safe_load(printed)["name"] == "faster_rcnn_r50_random_random"
