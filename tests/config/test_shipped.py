"""The configuration as it is shipped: valid, quick to read, and what its targets need."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from rebalance.cli import main
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.options.losses import BoxLoss, ClassLoss
from rebalance.errors import InputError
from rebalance.report.manifest import index_manifest


@pytest.fixture
def experiments(repository):
    return load_experiments(repository)


@pytest.fixture
def root(tmp_path, repository):
    """A copy of the configuration that a test may spoil."""
    shutil.copytree(repository / "config", tmp_path / "config")
    shutil.copytree(repository / "notebooks", tmp_path / "notebooks")
    return tmp_path


def edit(root, file, *path, value):
    source = root / "config" / file
    contents = below = yaml.safe_load(source.read_text())
    for key in path[:-1]:
        below = below.setdefault(key, {})
    below[path[-1]] = value
    source.write_text(yaml.safe_dump(contents, sort_keys=False))


def test_it_is_valid_and_read_without_torch(repository):
    code = (
        "import json, sys; from rebalance.config.experiments import load_experiments;"
        "print(json.dumps(['torch' in sys.modules, len(load_experiments().runs)]))"
    )
    torch, num_runs = json.loads(
        subprocess.run([sys.executable, "-c", code], cwd=repository, check=True,
                       capture_output=True, text=True).stdout
    )  # fmt: skip
    assert not torch
    assert num_runs > 90


RUN = ("runs", "retinanet_r50_eiou")
MERGED = {
    "in the run": (
        "papers/focal_eiou.yaml", (*RUN, "detector", "dense", "objective", "box", "gama"), 0.5,
        "focal_eiou.yaml: runs.retinanet_r50_eiou.detector.dense.objective.box.gama: unknown key"),
    "in what a scale says of a detector": (
        "scales/paper.yaml", ("detectors", "retinanet", "test"), {"loops": 3},
        "scales/paper.yaml: detectors.retinanet.test.loops: is for detectors with a box step"),
    "in the detector that runs start from": (
        "detectors.yaml", ("retinanet", "dense", "assigner", "positive_iou"), 0.3,
        "detectors.yaml: retinanet.dense.assigner.positive_iou: must be at least negative_iou"),
    "in images of a data set": (
        "scales/paper.yaml", ("image_of", "coco2017"), {"train": {"augment": "ssd"}},
        "scales/paper.yaml: image.train.resize.name: must be 'square' with augment 'ssd', which "
        "crops, got 'keep_ratio'; in run "),
    "in a head that no step of a detector names": (
        "detectors.yaml", ("mask_rcnn", "heads", "mask2"), {"name": "mask"},
        "detectors.yaml: mask_rcnn.heads.mask2: no step names this head; steps name box, mask, rpn "
        "(did you mean 'mask'?)"),
    "in a head that no step of a run names": (
        "papers/focal_eiou.yaml", (*RUN, "detector", "heads"), {"other": {"name": "retina"}},
        "focal_eiou.yaml: runs.retinanet_r50_eiou.detector.heads.other: no step names this head"),
    "in a variant": (
        "papers/focal_eiou.yaml", (*RUN, "variants"), {"a": {"test": {"nms": {"iou": 7}}}},
        "focal_eiou.yaml: runs.retinanet_r50_eiou.variants.a.test.nms.iou: must be at most 1"),
}  # fmt: skip


@pytest.mark.parametrize("where", MERGED)
def test_a_mistake_is_named_where_it_stands(root, where):
    file, path, value, expected = MERGED[where]
    edit(root, file, *path, value=value)
    with pytest.raises(InputError) as error:
        load_experiments(root)
    assert f"{root}/config/" in str(error.value)
    assert expected in str(error.value)


def test_a_mistake_that_a_run_makes_of_a_good_layer_names_the_run(root):
    """The scale's own detector has one assigner, the run's another with other thresholds."""
    edit(root, "scales/paper.yaml", "detectors", "retinanet",
         value={"dense": {"assigner": {"positive_iou": 0.45}}})  # fmt: skip
    edit(root, "papers/focal_eiou.yaml", *RUN, "detector", "dense", "assigner",
         value={"negative_iou": 0.48})  # fmt: skip
    message = r"paper.yaml: detectors.retinanet.dense.assigner.positive_iou: must be at least "
    with pytest.raises(InputError, match=message + r".*; in run retinanet_r50_eiou at scale paper"):
        load_experiments(root)


def test_a_run_may_have_sizes_of_its_own_in_training_and_at_test(root):
    """Block A of the aLRP recipes: 512 x 512 with SSD's augmentation, tested at 833 x 500."""
    image = {
        "train": {"resize": {"name": "square", "size": 512}, "augment": "ssd"},
        "test": {"resize": {"name": "keep_ratio", "min_size": 500, "max_size": 833}},
    }
    edit(root, "papers/focal_eiou.yaml", *RUN, "image", value=image)
    experiments = load_experiments(root)
    resolved = resolve_run(experiments, RUN[1], "paper").model_dump()["image"]
    assert resolved["train"] == {**image["train"], "horizontal_flip": 0.5}
    assert resolved["test"] == image["test"]
    assert resolved["std"] == experiments.scales["paper"].image.std


MASKS = {
    "heads": {"mask": {"name": "mask"}},
    "mask": {"objective": {"name": "linear", "mask": {"name": "mask_cross_entropy"}}},
    "steps": ["rpn", {"box": "box", "iou": 0.5}, {"mask": "mask"}],
}


def test_a_detector_of_masks_is_refused_on_boxes_by_the_kind_of_the_data(root):
    run = {"base": "faster_rcnn", "backbone": "resnet50", "schedule": "focal_eiou",
           "detector": MASKS}  # fmt: skip
    edit(root, "papers/r3cnn.yaml", "runs", "a", value={**run, "dataset": "coco2017"})
    assert resolve_run(load_experiments(root), "a", "paper").detector.needs_masks
    edit(root, "papers/r3cnn.yaml", "runs", "a", value={**run, "dataset": "voc2007"})
    message = r"runs.a.dataset: the detector trains on masks, voc2007 \(voc_download\) has boxes"
    with pytest.raises(InputError, match=message):
        resolve_run(load_experiments(root, check_runs=False), "a", "paper")


def test_a_run_changes_only_what_it_says(experiments):
    baseline = resolve_run(experiments, "retinanet_r50_smooth_l1", "shapes").model_dump()
    eiou = resolve_run(experiments, "retinanet_r50_eiou", "shapes").model_dump()
    objective = eiou["detector"]["dense"]["objective"]
    assert objective["box"] == {"name": "eiou", "weight": 2.5, "per": "positives", "weigh": None}
    eiou["name"] = baseline["name"]
    objective["box"] = baseline["detector"]["dense"]["objective"]["box"]
    assert eiou == baseline


def test_a_table_needs_its_runs_and_nothing_else(experiments):
    table, results = experiments.targets["focal_eiou_table_1"], experiments.results("shapes")
    needed = table.inputs(results)
    runs = {"retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1", "retinanet_r50_focal_l1"}
    assert {path.split("/")[3] for path in needed} == runs
    assert table.outputs(results)["table"] == "results/shapes/focal_eiou/table_1/table.csv"


def test_an_analytic_figure_brings_one_with_the_series_of_trained_runs(experiments):
    analytic = experiments.targets["bbgen_figure_5"]
    trained = experiments.targets["bbgen_figure_5_trained"]
    results = experiments.results("shapes")
    assert (len(analytic.runs), len(trained.runs)) == (0, 1)
    assert analytic.inputs(results) == []
    folder = "results/shapes/runs/faster_rcnn_r101_voc_random/seed0"
    assert trained.inputs(results) == [f"{folder}/positives.json"]
    given = trained.parameters(results)
    assert given["title"].startswith("Figure 5, with a trained detector: IoU")
    assert given["runs"] == {"RPN": [f"{folder}/positives.json"]}
    assert given["doubts"] == analytic.entry.doubts
    assert given["departures"][0].startswith("The work collects RoIs during the last epoch")
    names = list(experiments.targets)
    assert names.index(trained.name) == names.index(analytic.name) + 1


def test_a_figure_of_runs_reads_one_file_per_seed_of_each_row(experiments):
    given = {
        name: experiments.targets[name].parameters(experiments.results("paper"))
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


def test_figures_bring_no_training_curves_and_stand_in_the_index(
    experiments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where nothing is made yet
    assert "focal_eiou_figure_4_curves" not in experiments.targets
    assert "focal_eiou_table_2_curves" in experiments.targets
    cards = {
        card["name"]: card
        for work in index_manifest(experiments, "shapes")["works"]
        for card in work["targets"]
    }
    command = "snakemake --config scale=shapes -- bbgen_figure_5_trained"
    assert cards["bbgen_figure_5_trained"]["reason"] == command
    assert cards["bbgen_figure_5_trained"]["companion"]
    assert not cards["bbgen_figure_5"]["companion"]
    assert cards["bbgen_figure_5_trained"]["verdict"] is None


def test_a_card_of_a_scale_names_the_command_for_that_scale(experiments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    works = index_manifest(experiments, "coco_tiny")["works"]
    cards = {card["name"]: card for work in works for card in work["targets"]}
    command = "snakemake --config scale=coco_tiny -- focal_eiou_table_1"
    assert cards["focal_eiou_table_1"]["reason"] == command


def test_the_list_of_runs_names_figures_too(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    assert main(["runs"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "thesis_figure_3_14" in lines["faster_rcnn_r101_voc_random"]
    assert "focal_eiou_figure_4" in lines["retinanet_r50_eiou_w3_0"]
    assert "_curves" not in "".join(lines.values())


def test_a_row_may_name_a_run_of_another_work(experiments):
    for number in range(1, 6):
        ours, theirs = (experiments.targets[f"{work}_{table}_{number}"].runs
                        for work, table in (("thesis", "table_4"), ("bbgen", "table")))  # fmt: skip
        assert [(row.run, row.variant) for row in ours] == [
            (row.run, row.variant) for row in theirs
        ]


def test_a_target_that_describes_a_data_set_reads_its_annotations(experiments):
    target = experiments.targets["thesis_figure_3_4"]
    assert target.datasets == ["coco2017"]
    files = target.inputs(experiments.results("shapes", data="elsewhere"))
    assert files == [f"elsewhere/shapes/annotations/{split}.json" for split in ("train", "val")]


def test_the_doubt_about_illegible_fields_counts_those_that_rows_name(experiments):
    entry = experiments.targets["thesis_table_5_4"].entry
    recovered = [len(row.recovered) for row in entry.rows]
    assert f"{sum(map(bool, recovered))} of the {len(recovered)} rows" in entry.doubts[0]
    assert f"({sum(recovered)} fields in all)" in entry.doubts[0]


def test_thresholds_are_those_that_rows_of_tables_ask_for(experiments):
    """bbgen table 4 and 5: AP60 of the run with tau 0.6; COCO's own need no asking."""
    assert 0.6 in experiments.ious("faster_rcnn_r101_voc_rpn_iou60", "tau_60")
    assert experiments.ious("faster_rcnn_r101_voc_rpn_iou60") == []
    assert experiments.ious("retinanet_r50_eiou") == []


def test_variants_that_differ_in_tau_share_detections(experiments):
    run = resolve_run(experiments, "faster_rcnn_r101_voc_rpn_iou60", "shapes")
    assert run.variants["tau_60"].evaluate.tau == 0.6
    assert run.predicted_as("tau_60") == "default"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--scale", "paper"], "# parameters: 41,753,056 with 80 classes, 41,527,712 of them"),
        (["--classes", "3"], "# parameters: 246,351 with 3 classes, 246,351 of them trainable"),
        (["--data", "nowhere"], "# parameters: not known before the data set is there"),
    ],
    ids=["a data set that is known", "given", "neither"],
)
def test_show_ends_with_the_number_of_parameters(repository, monkeypatch, capsys, options, line):
    monkeypatch.chdir(repository)
    assert main(["show", "faster_rcnn_r50_random_random", *options]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].startswith(line)
    assert yaml.safe_load(printed)["name"] == "faster_rcnn_r50_random_random"


def test_every_detector_has_a_row_of_its_own_and_none_is_a_table_of_a_work(experiments):
    tables = [target for target in experiments.targets.values() if target.label.work == "detectors"]
    shown = {row.run for target in tables for row in target.runs}
    runs = experiments.runs
    bases = {runs[run].base for run in shown}
    assert len(bases) == len(shown)
    # What departs from a work belongs to its tables, and is shown in place of what it is like; what
    # a work changes of one that is shown belongs to its tables, too.
    above = {name for base in bases for name in experiments.kin(base)}
    varied = {name for name in experiments.bases if bases & set(experiments.kin(name))}
    of_no_work = {name for name, base in experiments.bases.items() if not base.departures}
    assert of_no_work <= above | varied
    assert varied - bases <= {run.base for run in runs.values()}
    changes = [
        run for run in shown if runs[run].detector and experiments.work_of(run) == "detectors"
    ]
    assert changes == []
    assert not {target.label.work for target in experiments.published} & {"detectors"}


LONGEST = 120  # seconds of a core that others use, too: about a minute and a half of a quiet one


def test_the_page_of_detectors_shows_for_each_that_it_learns_at_shapes(experiments, repository):
    """One row with its schedule, AP50 of boxes (and masks) and seconds: a new one is measured."""
    page = (repository / "docs/detectors.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)`[^|]*\|[^|]*\|[^|]*\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE
    )
    tables = [target for target in experiments.targets.values() if target.label.work == "detectors"]
    runs = {row.run: experiments.runs[row.run] for target in tables for row in target.runs}
    assert len(rows) == len({base for base, *_ in rows})
    assert {row[:2] for row in rows} == {(run.base, run.schedule) for run in runs.values()}
    masks = {
        run.base: resolve_run(experiments, name, "shapes").detector.needs_masks
        for name, run in runs.items()
    }
    for base, _, learnt, seconds in rows:
        measured = [float(number) for number in re.findall(r"\.\d+", learnt)]
        assert len(measured) == 1 + masks[base], base
        assert min(measured) >= 0.5, base
        assert seconds == "–" or float(seconds) <= LONGEST, base


TRANSFERRED = {"cross_table_1": ("box", BoxLoss), "cross_table_2": ("class", ClassLoss)}
NOT_TRANSFERRED = {"kl", "carl", "dynamic_smooth_l1", "softmax_cross_entropy"}
"""Inputs that no detector gives (two), a bend that a training moves, the staged ones' own loss."""


@pytest.mark.parametrize("table", TRANSFERRED)
def test_every_detector_of_cross_has_every_loss(experiments, table):
    task, kind = TRANSFERRED[table]
    found = {}
    for row in experiments.targets[table].runs:
        detector = resolve_run(experiments, row.run, "paper").model_dump()["detector"]
        objective = (detector.get("box") or detector["dense"])["objective"]
        found.setdefault(row.setting["detector"], []).append(objective[task]["name"])
    assert len(found) == 7
    every = set(kind.parts()) - NOT_TRANSFERRED
    if task == "class":
        every |= {"ap", "alrp", "rank_sort"}
    for losses in found.values():
        assert set(losses) - NOT_TRANSFERRED == every
        assert len(losses) == len(set(losses))
