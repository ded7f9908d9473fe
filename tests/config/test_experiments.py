"""A configuration as a whole: names across files, layers, variants, what is evaluated."""

import pytest
import yaml
from rebalance.config.code import parts_in
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.parse import parse
from rebalance.config.reading import load_yaml, merged
from rebalance.config.run import Run
from rebalance.errors import InputError

WORK = "papers/work.yaml"
RUN = ("runs", "staged")
MISTAKES = {
    "key of a run": (WORK, (*RUN, "shedule"), "short", "runs.staged.shedule: unknown key"),
    "base of a run": (
        WORK, (*RUN, "base"), "fast_rcnn", "runs.staged.base: must be in", "'faster_rcnn'"),
    "schedule of a run": (WORK, (*RUN, "schedule"), "shor", "runs.staged.schedule", "'short'"),
    "option of a run's part": (
        WORK, (*RUN, "detector", "box", "rois", "presett"), "uniform",
        "runs.staged.detector.box.rois.presett", "'preset'"),
    "key of a variant": (
        WORK, (*RUN, "variants", "few", "tset"), {}, "runs.staged.variants.few.tset", "'test'"),
    "tau outside evaluate": (
        WORK, (*RUN, "variants", "few", "tau"), 0.7, "runs.staged.variants.few.tau: unknown key"),
    "test setting of a variant": (
        WORK, (*RUN, "variants", "few", "test"), {"max_detection": 10},
        "runs.staged.variants.few.test.max_detection", "did you mean 'max_detections'?"),
    "value in a variant": (
        WORK, (*RUN, "variants", "few", "test"), {"loops": 0},
        "runs.staged.variants.few.test.loops: must be at least 1, got 0"),
    "tau of a variant": (
        WORK, (*RUN, "variants", "tau_70", "evaluate", "tau"), 7,
        "runs.staged.variants.tau_70.evaluate.tau: must be less than 1, got 7"),
    "image of a run": (
        WORK, (*RUN, "image"), {"train": {"resize": {"name": "square", "sise": 512}}},
        "runs.staged.image.train.resize.sise", "'size'"),
    "run of a row": (
        WORK, ("targets", "table_1", "rows", 0, "run"), "baselin",
        "targets.table_1.rows[0].run", "'baseline'"),
    "variant of a row": (
        WORK, ("targets", "table_1", "rows", 1, "variant"), "tau_7",
        "targets.table_1.rows[1].variant: must be one of default, ", "'tau_70'"),
    "metric of a row": (
        WORK, ("targets", "table_1", "rows", 0, "reported"), {"APP": 1.0},
        "targets.table_1.rows[0].reported", "'APP'", "'AP'"),
    "metric of a claim": (
        WORK, ("targets", "table_1", "claims"),
        [{"says": "a", "gains": [{"rows": [[1, 0]], "metrics": ["APP"]}]}],
        "targets.table_1.claims[0].gains[0].metrics", "'APP'", "'AP'"),
    "row of a claim": (
        WORK, ("targets", "table_1", "claims"),
        [{"says": "a", "gains": [{"rows": [[1, 3]], "metrics": ["AP"]}]}],
        "targets.table_1.claims[0].gains[0].rows: must be below 3, got [[1, 3]]"),
    "claim without what decides it": (
        WORK, ("targets", "table_1", "claims"), [{"says": "a", "gains": []}],
        "targets.table_1.claims[0].gains"),
    "verdict that is typed": (
        WORK, ("targets", "figure_3_14", "verdict"), "reproduced",
        "targets.figure_3_14.verdict: unknown key"),
    "row with neither run nor reason": (
        WORK, ("targets", "table_1", "rows", 2), {"setting": {"a": 1}, "reported": {}},
        "targets.table_1.rows[2]: needs a run, or waits"),
    "departure that is no sentence": (
        WORK, ("runs", "baseline", "departures"), [3], "runs.baseline.departures[0]: must be text"),
    "departure that names nothing": (
        WORK, ("runs", "baseline", "departures"), [{"of": [], "says": "Differs."}],
        "runs.baseline.departures[0].of: "),
    "departure of a run's rows": (
        WORK, ("runs", "baseline", "departures"), [{"of": ["rate"], "says": "a", "rows": [1]}],
        "runs.baseline.departures[0].rows: unknown key"),
    "departure of a row that there is not": (
        WORK, ("targets", "table_1", "departures"), [{"of": ["rate"], "says": "a", "rows": [3]}],
        "targets.table_1.departures[0].rows: must be below 3, got [3]"),
    "departures of a detector that are no list": (
        "detectors.yaml", ("retinanet", "departures"), "Is short.",
        "retinanet.departures: must be a list"),
    "empty departure of a schedule": (
        "scales/tiny.yaml", ("schedules", "short", "departures"), [""],
        "schedules.short.departures[0]: must not be empty"),
    "more epochs than iterations": (
        "scales/tiny.yaml", ("schedules", "short", "epochs"), 11,
        "schedules.short.epochs: must be at most the 10 iterations, got 11"),
    "data set beside another": (
        WORK, ("targets", "figure_3_14", "beside"), ["voc"], "targets.figure_3_14.beside"),
    "seeds of a target that there is not": (
        "scales/tiny.yaml", ("seeds_of",), {"work_table_2": [1]}, "seeds_of: no target named",
        "(did you mean 'work_table_5'?)"),
    "AP at an IoU that rows do not say": (
        WORK, ("targets", "table_1", "metrics", 0),
        {"name": "AP", "percent": True, "better": "higher", "at": "iou"},
        "targets.table_1.rows[0].setting: 'iou' must be a number in (0, 1)", "got None"),
    "recovered number that is not there": (
        WORK, ("targets", "table_1", "rows", 0, "recovered"), ["APP"],
        "targets.table_1.rows[0].recovered: must be a column of the row, got 'APP'", "'AP'"),
    "two rows of one name": (
        WORK, ("targets", "table_1", "rows", 1, "setting"), {"loss": "plain"},
        "targets.table_1.rows[1].setting: rows[0] is called 'plain', too"),
    "table that says what it reads": (
        WORK, ("targets", "table_1", "reads"), "log", "targets.table_1.reads: unknown key"),
    "figure that reads an unknown file": (
        WORK, ("targets", "figure_4", "reads"), "metric",
        "targets.figure_4.reads: must be one of 'metrics', 'matches', 'log', 'positives'",
        "'metrics'"),
    "figure of runs with a row without": (
        WORK, ("targets", "figure_4", "rows"),
        [{"setting": {"a": 1}, "run": "baseline", "reported": {}},
         {"setting": {"a": 2}, "reported": {}}],
        "targets.figure_4.rows[1]: missing key 'run'"),
    "trained series of an unknown run": (
        WORK, ("targets", "figure_3_14", "trained", "rows", 0, "run"), "stagd",
        "targets.figure_3_14.trained.rows[0].run", "'staged'"),
    "trained series of a table": (
        WORK, ("targets", "table_5", "trained"), {}, "targets.table_5.trained: unknown key"),
    "notebook": (
        WORK, ("targets", "figure_4", "notebook"), "ofruns", "targets.figure_4.notebook",
        "'of_runs'"),
    "target made in no way": (
        WORK, ("targets", "figure_6"), {"title": "a", "kind": "analytic"},
        "targets.figure_6: needs exactly one of rows with a run, notebook, waits"),
    "id of a target": (WORK, ("targets", "tabel_1"), {}, "targets.tabel_1", "must match"),
    "schedule of a scale": (
        "scales/tiny.yaml", ("schedules", "short", "lr"), "1e-4",
        "schedules.short.lr: must be a number, got '1e-4'"),
    "decay of a scale": (
        "scales/tiny.yaml", ("schedules", "short", "decay", "name"), "stp",
        "schedules.short.decay.name: decay must be one of step, cosine", "'step'"),
    "detector of a scale": (
        "scales/tiny.yaml", ("detectors", "retinanet", "neck", "chanels"), 48,
        "detectors.retinanet.neck.chanels", "'channels'"),
    "backbone of a scale": (
        "scales/tiny.yaml", ("backbones", "resnet50", "depth"), 51,
        "backbones.resnet50.depth: must be one of 18, 34, 50, 101, got 51"),
    "data set of a scale": (
        "scales/tiny.yaml", ("datasets", "coco2017"), "shape", "datasets.coco2017", "'shapes'"),
    "seeds of a scale": (
        "scales/tiny.yaml", ("seeds",), [0, 0], "seeds: must be different, got [0, 0]"),
    "base detector": (
        "detectors.yaml", ("faster_rcnn", "test"), {"pre_nms": 3}, "faster_rcnn.test.pre_nms"),
    "scale": ("config.yaml", ("scale",), "tinny", "scale: must be one of tiny", "'tiny'"),
    "data set": ("datasets.yaml", ("shapes", "kind"), "shap", "shapes.kind", "'shapes'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_with_file_and_key(root, changed, mistake):
    file, path, value, *expected = MISTAKES[mistake]
    source = root / "config" / file
    source.write_text(yaml.safe_dump(changed(yaml.safe_load(source.read_text()), path, value)))
    with pytest.raises(InputError) as error:
        load_experiments(root)
    assert str(error.value).startswith(f"{source}: ")
    for part in expected:
        assert part in str(error.value)


def test_two_works_cannot_define_the_same_run(root):
    work = root / "config" / "papers" / "work.yaml"
    (root / "config" / "papers" / "other.yaml").write_text(work.read_text())
    with pytest.raises(InputError, match=r"work.yaml: runs.baseline: .*other.yaml already defines"):
        load_experiments(root)


def test_an_entry_cannot_be_called_like_what_another_one_brings(root):
    work = root / "config" / "papers" / "work.yaml"
    text = work.read_text()
    entry = "  table_1_curves:\n    title: a\n    kind: analytic\n    waits: b\n"
    work.write_text(text + entry)
    with pytest.raises(InputError, match=r"targets.table_1_curves: another entry makes"):
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


def test_a_resolved_run_has_all_layers_and_parses_to_itself(root):
    experiments = load_experiments(root)
    run = resolve_run(experiments, "baseline", "tiny", seed=1, data="elsewhere")
    settings = run.model_dump()
    assert settings["detector"]["neck"]["channels"] == 48  # the scale's
    assert settings["detector"]["dense"]["objective"]["box"]["beta"] == 0.11  # the base's
    assert settings["backbone"]["weights"] == "elsewhere/weights/resnet50.safetensors"
    assert settings["dataset"]["val"]["annotations"] == "elsewhere/shapes/annotations/val.json"
    assert settings["variants"] == {
        "default": {"test": {}, "evaluate": {"tau": 0.5, "ranking": "scores"}}
    }
    assert parse(Run, yaml.safe_load(yaml.safe_dump(settings)), "run.yaml") == run


def test_a_run_names_its_own_parts_only(root):
    experiments = load_experiments(root)
    baseline, staged = (
        {part.called for part in parts_in(resolve_run(experiments, name, "tiny"))}
        for name in ("baseline", "staged")
    )
    assert {"resnet", "fpn", "retina", "max_iou", "focal", "smooth_l1", "nms"} <= baseline
    assert "generator" in staged - baseline
    assert "rank_sort" not in baseline | staged


def test_variants_of_one_test_share_their_detections(root):
    run = resolve_run(load_experiments(root), "staged", "tiny")
    shared = {name: run.predicted_as(name) for name in run.variants}
    assert shared == {"default": "default", "tau_70": "default", "few": "few", "few_70": "few"}


def test_what_is_evaluated_follows_from_what_is_shown(root):
    experiments = load_experiments(root)
    assert experiments.ious("baseline") == [0.6, 0.9]  # table_1 and figure_4
    assert experiments.ious("staged", "tau_70") == [0.6]
    assert experiments.ious("staged", "few") == []


def test_an_ap_may_be_at_an_iou_of_its_row(root, edit):
    metric = {"name": "AP_at_iou", "percent": True, "better": "higher", "at": "iou"}
    edit(WORK, ("targets", "table_1", "metrics"), [metric])
    rows = [
        {"setting": {"iou": iou}, "run": "baseline", "reported": {"AP_at_iou": 1.0}}
        for iou in (0.5, 0.7)
    ]
    edit(WORK, ("targets", "table_1", "rows"), rows)
    assert load_experiments(root).ious("baseline") == [0.7, 0.9]  # 0.9: figure_4


def test_unknown_runs_and_targets_are_refused_with_the_nearest(root):
    experiments = load_experiments(root)
    with pytest.raises(InputError, match=r"no run named 'stagd' \(did you mean 'staged'"):
        resolve_run(experiments, "stagd", "tiny")
    with pytest.raises(InputError, match=r"scale must be one of tiny, got 'tinny'"):
        resolve_run(experiments, "staged", "tinny")
    with pytest.raises(InputError, match=r"no target named .*did you mean 'work_table_1'"):
        experiments.target("work_tabel_1")
    with pytest.raises(InputError, match="cannot be made: needs the photographs"):
        experiments.target("work_figure_6")
