"""Runs at the paper scale against the works' recipes, for the fields that the recipes name.

A field of a recipe, or of a row, is compared by its entry in FIELDS, or IN_WORDS lists it as prose.
Where it differs, or the work does not print it, one of the departures on the page must say so.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from rebalance.config.entries import RunRow
from rebalance.config.experiments import load_experiments, resolve_run

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = load_experiments(REPOSITORY, check_runs=False)
TABLES = [
    name for name, target in EXPERIMENTS.targets.items() if target.runs and target.shows_table
]
IMAGES = {"coco2017": 117_266, "voc2007": 10_022, "voc0712": 16_551}
"""Images of an epoch; faster-rcnn.pytorch counts those of VOC 2007 mirrored, too."""


class Field(NamedTuple):
    """How a field is compared.

    Attributes:
        agrees: (what the recipe says, settings of the run, the row) -> whether they are the same.
        departure: words that a departure about it has.
    """

    agrees: Callable[[Any, dict[str, Any], dict[str, Any]], bool]
    departure: str


def setting(read: Callable[[dict[str, Any]], Any], departure: str) -> Field:
    """Numbers or lists of them; what is not printed never agrees."""

    def agrees(printed: Any, run: dict[str, Any], row: dict[str, Any]) -> bool:
        ours = read(run)
        if isinstance(printed, list):
            return len(printed) == len(ours) and all(map(_close, printed, ours))
        return not isinstance(printed, str) and _close(printed, ours)

    return Field(agrees, departure)


def named(read: Callable[[dict[str, Any]], str], departure: str) -> Field:
    """A name that the recipe's words have in them."""
    return Field(lambda printed, run, row: read(run) in printed, departure)


def unless_conventional(field: Field) -> Field:
    """But for the one row that keeps the schedule of the work that it follows."""

    def agrees(printed: Any, run: dict[str, Any], row: dict[str, Any]) -> bool:
        is_conventional = row.get("schedule") == "conventional" or row.get("epochs", 0) is None
        return is_conventional or field.agrees(printed, run, row)

    return Field(agrees, field.departure)


def _close(printed: Any, ours: Any) -> bool:
    if printed is None or ours is None or isinstance(printed, bool):
        return printed is ours
    return math.isclose(printed, ours, rel_tol=1e-3)


def is_dense(run):
    return run["detector"]["steps"] == ["dense"]


def box_step(run):
    return run["detector"]["box"]


def box_loss(run):
    return run["detector"]["dense" if is_dense(run) else "box"]["objective"]["box"]


def epochs(run, iterations):
    return iterations * run["schedule"]["batch_size"] / IMAGES[run["dataset"]["name"]]


def decays(run):
    return run["schedule"]["decay"]["at"]


def foreground(run):
    sampler = box_step(run)["sampler"]
    return sampler["num"] * sampler["positive_fraction"]


def rois(run, key):
    return box_step(run)["rois"].get(key)


def ggiou(run, of_assigner, of_loss):
    """A parameter of GGIoU in the assignment, or else in the loss."""
    overlap = run["detector"]["dense"]["assigner"]["overlap"]
    return overlap.get(of_assigner) if overlap["name"] == "ggiou" else box_loss(run).get(of_loss)


def follows(printed, run, row):
    """The framework: anchors, coder, batch norm and extra levels, or the one map."""
    if "faster-rcnn.pytorch" in printed:
        return run["detector"]["neck"]["name"] != "fpn"
    if "mmdetection" not in printed.lower():
        return True
    first = run["detector"]["dense" if is_dense(run) else "rpn"]
    return (
        not first["candidates"]["rounded"]
        and first["coder"]["two_sided"]
        and run["backbone"]["norm"] == "frozen_statistics"
        and run["detector"]["neck"]["extra_from"] == ("input" if is_dense(run) else "output")
    )


def as_in_atss(printed, run, row):
    schedule, nms = run["schedule"], run["detector"]["test"]["nms"]["iou"]
    return (
        (nms == 0.6 or not is_dense(run))
        and schedule["warmup"]["name"] == "constant"
        and schedule["clip_norm"] is None
    )


BATCH = setting(lambda run: run["schedule"]["batch_size"], "images a step")
RATE = setting(lambda run: run["schedule"]["lr"], "learning rate")
EPOCHS = setting(lambda run: epochs(run, run["schedule"]["iterations"]), "epochs")
DECAY_EPOCHS = setting(lambda run: [epochs(run, at) for at in decays(run)], "epochs")
FG = setting(foreground, "RoIs an image")
BG = setting(lambda run: box_step(run)["sampler"]["num"] - foreground(run), "RoIs an image")
LAST_EPOCH = named(lambda run: "last epoch", "best epoch")

FIELDS: dict[str, Field] = {
    "detector": named(
        lambda run: "RetinaNet" if is_dense(run) else "Faster R-CNN", "another detector"
    ),
    "backbone": named(lambda run: f"ResNet-{run['backbone']['depth']}", "another backbone"),
    "implementation": Field(follows, "feature pyramid"),
    "implementation_followed": Field(follows, "feature pyramid"),
    "framework": Field(follows, "not as in MMDetection"),
    "other": Field(as_in_atss, "not as in ATSS"),
    "batch": BATCH,
    "iterations": setting(lambda run: run["schedule"]["iterations"], "iterations"),
    "lr": RATE,
    "momentum": setting(lambda run: run["schedule"]["momentum"], "momentum"),
    "weight_decay": setting(lambda run: run["schedule"]["weight_decay"], "weight decay"),
    "lr_decay_factor": setting(
        lambda run: run["schedule"]["decay"]["factor"], "factor of the decay"
    ),
    "lr_decay_iterations": setting(decays, "decays after"),
    "epochs": unless_conventional(EPOCHS),
    "lr_decay_epochs": unless_conventional(DECAY_EPOCHS),
    "grad_clip_max_norm": setting(lambda run: run["schedule"]["clip_norm"], "clip"),
    "warmup": named(
        lambda run: "{name}, {iterations} iterations, ratio".format(**run["schedule"]["warmup"]),
        "warm-up",
    ),
    "image_scale": Field(
        lambda printed, run, row: (
            sorted(printed)
            == [run["image"]["train"]["resize"][key] for key in ("min_size", "max_size")]
        ),
        "size of the images",
    ),
    "selection": LAST_EPOCH,
    "epoch_selection": LAST_EPOCH,
    "runs_averaged": setting(lambda run: len(run["seeds"]), "mean of"),
    "tau": setting(lambda run: run["tau"], "another tau"),
    "fg": FG,
    "bg": BG,
    "fg_rois_per_image": FG,
    "bg_rois_per_image": BG,
    "rois_per_image": setting(lambda run: box_step(run)["sampler"]["num"], "RoIs an image"),
    "pos_fraction": setting(
        lambda run: box_step(run)["sampler"]["positive_fraction"], "RoIs an image"
    ),
    "add_gt_as_proposals": setting(lambda run: rois(run, "add_ground_truth"), "ground truths"),
    "hard": Field(
        lambda printed, run, row: box_step(run)["objective"]["costs"] == ["class"], "mining"
    ),
    "negatives": Field(
        lambda printed, run, row: (
            "[0.1, iou]" not in printed or box_step(run)["assigner"]["negative_floor"] == 0.1
        ),
        "0.1 or more",
    ),
    "iou": Field(
        lambda printed, run, row: (
            isinstance(printed, str) or run["detector"]["steps"][1]["iou"] == printed == run["tau"]
        ),
        "another IoU",
    ),
    "roi_num": Field(
        lambda printed, run, row: (
            isinstance(printed, str)
            or (printed if not row.get("ohpm") else row.get("roi_num", 128))
            == rois(run, "num_rois")
        ),
        "generated boxes",
    ),
    "fg_balanced": Field(
        lambda printed, run, row: printed == bool(rois(run, "foreground_balanced")),
        "balance of classes",
    ),
    "ohpm": Field(
        lambda printed, run, row: (
            isinstance(printed, str) or printed == (box_step(run)["sampler"]["name"] == "ohpm")
        ),
        "without OHPM",
    ),
    "positive_sampler": named(
        lambda run: box_step(run)["sampler"]["positive"], "sampling of positives"
    ),
    "negative_sampler": named(
        lambda run: box_step(run)["sampler"]["negative"], "sampling of negatives"
    ),
    "loss_weight": Field(
        lambda printed, run, row: (
            isinstance(printed, str) or _close(printed, box_loss(run)["weight"])
        ),
        "loss weight",
    ),
    "focal_l1_beta": Field(
        lambda printed, run, row: (
            box_loss(run)["name"] != "focal_l1" or box_loss(run)["beta"] == printed
        ),
        "beta",
    ),
    "gamma": Field(
        lambda printed, run, row: printed is None or box_loss(run).get("gamma", printed) == printed,
        "gamma",
    ),
    "alpha": Field(
        lambda printed, run, row: not printed or ggiou(run, "alpha", "alpha") in (printed, None),
        "alpha",
    ),
    "beta": Field(
        lambda printed, run, row: (
            printed is None
            or not is_dense(run)
            or "ggiou" not in str(run["detector"]["dense"])
            or _close(float(Fraction(printed)), ggiou(run, "beta", "sigma"))
        ),
        "beta",
    ),
    "assigner": Field(
        lambda printed, run, row: (
            printed not in ("max_iou", "max_ggiou")
            or printed == f"max_{run['detector']['dense']['assigner']['overlap']['name']}"
        ),
        "another assignment",
    ),
    "reg_loss": Field(
        lambda printed, run, row: (
            printed in ("own", "unchanged", box_loss(run)["name"])
            or box_loss(run)["name"] == "smooth_l1"
        ),
        "another loss",
    ),
}
IN_WORDS = {
    # what FIELDS or other tests have under another name: gpus and images_per_gpu are the batch,
    # weights of IoU bins are compared with table 9, settings of losses and generators by rows
    "gpus", "images_per_gpu", "iou_bins", "iou_weights", "bin_weights", "external", "roi_source",
    "proi_source", "roi_source_settings", "positives", "sampler", "ofb_rule", "hard_sampling",
    "loss", "ggiou", "s1", "s2", "normaliser", "focal_l1_alpha", "focal_eiou_gamma",
    "focal_eiou_v1", "balanced_l1", "own", "optimizer", "seeds", "evaluation",
    # data, machines, measurements and reasons
    "train_images", "test_images", "images", "gpu", "speed_measured_on", "exception",
    "schedule_exception", "fg_rule", "fg_bg_rule", "mean_rois_in_that_first_run",
    "train_seconds_per_iter_conventional", "source",
    # of rows
    "setting", "schedule", "loss_weighting", "iou_distribution", "runs",
}  # fmt: skip
"""Fields without a number to compare."""


@pytest.fixture(scope="module")
def recipes(shared_dir: Path) -> dict[str, Any]:
    """Work and id of a table -> its transcription."""
    found = {}
    for path in sorted((shared_dir / "paper").glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text()).get("tables") or []:
            found[entry["id"].replace("/", "_")] = entry
    return found


def fields_of(entry: dict[str, Any], row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the recipe of a table, and one of its rows, say."""
    recipe = dict(entry["recipe"])
    authors = recipe.pop("from_authors_code", {})
    counts = [recipe.get(key) for key in ("gpus", "images_per_gpu")]
    if all(isinstance(count, int) for count in counts):
        yield "batch", math.prod(counts)
    elif counts[0] is not None:
        yield "batch", "not printed"
    metrics = {metric["name"] for metric in entry["metrics"]} | {"as_read", "suspect"}
    own = {key: value for key, value in row.items() if key not in metrics}
    yield from {**recipe, **authors, **own}.items()


def unsaid(experiments, recipes: dict[str, Any], name: str) -> list[str]:
    """Differences of a table's runs from its recipe that no departure of its page names."""
    target, entry = experiments.targets[name], recipes[name]
    results = experiments.results("paper")
    departures = " ".join(target.departures(results)).lower()
    found = []
    for row, printed in zip(target.rows, entry["rows"], strict=True):
        if not isinstance(row, RunRow):
            continue
        run = resolve_run(experiments, row.run, "paper").model_dump()
        run |= {
            "seeds": target.seeds(results),
            "tau": run["variants"][row.variant]["evaluate"]["tau"],
        }
        for key, value in fields_of(entry, printed):
            if key in FIELDS:
                field = FIELDS[key]
                if (
                    not field.agrees(value, run, printed)
                    and field.departure.lower() not in departures
                ):
                    found.append(f"{name}, {row.run}: {key}, the work has {value!r}")
            elif key not in IN_WORDS:
                found.append(f"{name}: nothing compares {key}, the work has {value!r}")
    return found


@pytest.mark.parametrize("name", TABLES)
def test_a_run_is_as_its_recipe_or_its_page_says_where_not(recipes, name):
    if name not in recipes:
        pytest.skip("no table of a work")
    assert unsaid(EXPERIMENTS, recipes, name) == []


SPOILED = {
    "a learning rate": (
        "scales/paper.yaml", ("schedules", "focal_eiou", "lr"), 0.02,
        "focal_eiou_table_1", "retinanet_r50_smooth_l1: lr, the work has 0.01"),
    "a decay": (
        "scales/paper.yaml", ("schedules", "bbgen_voc_16_epochs", "decay", "at"), [90198],
        "bbgen_table_4", "faster_rcnn_r101_voc_rpn_iou60: lr_decay_epochs, the work has [9, 14]"),
    "a loss weight of one run": (
        "papers/focal_eiou.yaml",
        ("runs", "retinanet_r50_eiou", "detector", "dense", "objective", "box", "weight"), 2.0,
        "focal_eiou_table_2", "retinanet_r50_eiou: loss_weight, the work has 2.5"),
    "seeds of a mean": (
        "scales/paper.yaml", ("seeds_of",), {}, "bbgen_table_2", "runs_averaged, the work has 3"),
    "a departure that is no longer said": (
        "detectors.yaml", ("faster_rcnn_voc", "departures"), [],
        "thesis_table_4_1", "implementation_followed, the work has 'jwyang/faster-rcnn.pytorch'"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_copy_is_found_out(recipes, changed, tmp_path, what):
    file, path, value, name, expected = SPOILED[what]
    for folder in ("config", "notebooks"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    source = tmp_path / "config" / file
    source.write_text(yaml.safe_dump(changed(yaml.safe_load(source.read_text()), path, value)))
    found = unsaid(load_experiments(tmp_path, check_runs=False), recipes, name)
    assert any(expected in difference for difference in found)
