"""Runs at the paper scale against the works' recipes, for the fields that the recipes name.

A field of a recipe, or of a row, is compared by its entry in FIELDS, or IN_WORDS lists it as prose.
Where it differs, or the work does not print it, a departure must name what differs: one of the
row's run, with its schedule and detector, or one of the target that names the row or none.
"""

import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from rebalance.config.departures import DepartureOfRows, NamedDeparture
from rebalance.config.entries import RunRow
from rebalance.config.experiments import load_experiments, resolve_run

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = load_experiments(REPOSITORY, check_runs=False)
TABLES = [
    target.name for target in EXPERIMENTS.published if target.runs and target.shows_table
]  # fmt: skip
IMAGES = {"coco2017": 117_266, "voc2007": 10_022, "voc0712": 16_551}
"""Images of an epoch; faster-rcnn.pytorch counts those of VOC 2007 mirrored, too."""


LOSSES = {
    "ap": "AP", "alrp": "aLRP", "rank_sort": "RS", "focal": "Focal", "quality_focal": "QFL",
    "softmax_cross_entropy": "CrossEntropy",
}  # fmt: skip
ASSIGNERS = {
    "iou": "max_iou",
    "atss": "atss",
    "ATSS": "atss",
    "FoveaBox standard": "foveabox",
    "dynamic": "dynamic",
}
BALANCES = {
    "none": "constant", "constant": "constant", "self_balance": "epoch", "self-balance": "epoch",
    "self_balance_value": "value", "self_balance_magnitude": "magnitude",
}  # fmt: skip
LABELS = {"binary": "binary", "IoU": "iou", "Dice": "dice", "(IoU+Dice)/2": "mean"}
"""Words of the works, and their names here."""


class Field(NamedTuple):
    """How a field is compared.

    Attributes:
        agrees: (what the recipe says, settings of the run, the row) -> whether they are the same.
        departure: what a departure from it names under ``of``.
    """

    agrees: Callable[[Any, dict[str, Any], dict[str, Any]], bool]
    departure: str


def setting(read: Callable[[dict[str, Any]], Any], departure: str) -> Field:
    """Numbers or lists of them; what is not printed never agrees."""

    def agrees(printed: Any, run: dict[str, Any], row: dict[str, Any]) -> bool:
        ours = read(run)
        if isinstance(ours, list) and isinstance(printed, str):
            printed = numbers(printed)[: len(ours)]
        if isinstance(printed, list):
            return len(printed) == len(ours) and all(map(_close, printed, ours))
        return not isinstance(printed, str) and _close(printed, ours)

    return Field(agrees, departure)


def named(read: Callable[[dict[str, Any]], str], departure: str) -> Field:
    """A name that the recipe's words have in them."""
    return Field(lambda printed, run, row: read(run) in str(printed), departure)


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


def section(run, *names):
    """Settings of the detector's first step of these kinds."""
    return next(run["detector"][name] for name in names if name in run["detector"])


def classifier(run):
    return section(run, "dense", "prototypes", "grid", "box")


def box_step(run):
    return run["detector"]["box"]


def box_steps(run):
    return [step for step in run["detector"]["steps"] if isinstance(step, dict) and "box" in step]


def box_loss(run):
    return classifier(run)["objective"].get("box") or {"name": "none"}


def loss(run):
    """Of the classes, as the thesis writes it."""
    name = classifier(run)["objective"]["class"]["name"]
    return LOSSES.get(name, name)


def is_ranked(run):
    return loss(run) in ("AP", "aLRP", "RS")


def detector_name(run):
    detector, heads = run["detector"], run["detector"]["heads"]
    if "grid" in detector:
        return "SOLOv2"
    if "prototypes" in detector:
        return "YOLACT"
    if "dense" in detector:
        assigner = detector["dense"]["assigner"]["name"]
        return {
            "fovea": "FoveaBox",
            "ssd": f"SSD{run['image']['test']['resize'].get('size')}",
            "retina": "RetinaNet",
            "atss": assigner.upper(),
        }[heads["dense"]["name"]]
    if "mask" not in detector:
        return "Cascade R-CNN" if len(box_steps(run)) > 1 else "Faster R-CNN"
    if not detector["mask"]["refined"]:
        return "Mask R-CNN"
    return "R3-CNN" if heads["mask"]["residual"] else "HTC"


def backbone_names(run):
    """As works write it, one of them shorter than the others."""
    backbone = run["backbone"]
    if backbone["name"] == "vgg":
        return ["VGG16"]
    depth = backbone["depth"]
    if backbone["groups"] == 1:
        return [f"ResNet-{depth}", f"R-{depth}"]
    groups = f"{backbone['groups']}x{backbone['width_per_group']}d"
    return [f"ResNeXt-{depth} {groups}", f"ResNeXt-{groups}-{depth}", f"X-{depth}"]


def chosen(printed, run):
    """The entry of a mapping by loss and size, as AP_loss_scale500; None where it has none."""
    if not isinstance(printed, dict):
        return printed
    sizes = {500: "scale500", 800: "scale800"}
    words = {
        "loss",
        loss(run).lower(),
        box_loss(run)["name"],
        "" if is_ranked(run) else "baselines",
        sizes.get(run["image"]["test"]["resize"].get("min_size")),
        "light" if run["backbone"].get("depth") == 34 else "full",
    }
    found = (value for key, value in printed.items() if set(key.lower().split("_")) <= words)
    return next(found, None)


def numbers(text):
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", str(text))]


def resized(split):
    """Short side, or those it is drawn from, and where both are printed the long one."""

    def agrees(printed, run, row):
        resize, words = run["image"][split]["resize"], str(chosen(printed, run))
        if "of the row" in words or not numbers(words):
            return row.get("ms_train_range", 0) is not None or resize["min_size"] == 800
        short = resize["size"] if resize["name"] == "square" else resize["min_size"]
        sides = numbers(short)
        if re.fullmatch(r"(\d+)x(\d+).*", words):
            sides.append(resize.get("max_size", short))
        return set(sides) <= set(numbers(words))

    return Field(agrees, "size of the images")


def counted(read: Callable[[dict[str, Any]], Any], departure: str) -> Field:
    """A number, in words or in the entry for this run; nothing to compare where it has none."""
    return Field(
        lambda printed, run, row: (
            not numbers(chosen(printed, run)) or _close(numbers(chosen(printed, run))[0], read(run))
        ),
        departure,
    )


def of_loss(name: str, field: Field) -> Field:
    """Only for runs with this loss of the classes; others are a work's baselines."""
    return Field(
        lambda printed, run, row: loss(run) != name or field.agrees(printed, run, row),
        field.departure,
    )


def same(
    read: Callable[[dict[str, Any]], Any], departure: str, names: Mapping[str, Any] | None = None
) -> Field:
    """A word or truth value, by its name here; of sentences the rows say more."""
    return Field(
        lambda printed, run, row: (
            is_sentence(printed) or (names or {}).get(printed, printed) == read(run)
        ),
        departure,
    )


def is_sentence(printed):
    return isinstance(printed, str) and printed.count(" ") > 2


def epochs(run, iterations):
    return iterations * run["schedule"]["batch_size"] / IMAGES[run["dataset"]["name"]]


def decays(run):
    return run["schedule"]["decay"]["at"]


def foreground(run):
    sampler = box_step(run)["sampler"]
    return sampler["num"] * sampler["positive_fraction"]


def rois(run, key):
    return box_step(run)["rois"].get(key)


def overlap(run):
    """By which boxes are assigned."""
    return section(run, "dense", "rpn")["assigner"].get("overlap", {"name": "iou"})


def ggiou(run, of_assigner, of_loss):
    """A parameter of GGIoU in the assignment, or else in the loss."""
    if overlap(run)["name"] == "ggiou":
        return overlap(run).get(of_assigner)
    return box_loss(run).get(of_loss)


def follows(printed, run, row):
    """The framework: anchors, coder, batch norm and extra levels, or the one map."""
    if "faster-rcnn.pytorch" in printed:
        return run["detector"]["neck"]["name"] != "fpn"
    if "mmdetection" not in printed.lower():
        return True
    first = section(run, "dense", "prototypes", "grid", "rpn")
    from_input = detector_name(run) in ("RetinaNet", "FoveaBox", "YOLACT")
    extra_from = "input" if from_input else "output"
    return (
        not first.get("candidates", {}).get("rounded")
        and first.get("coder", {}).get("two_sided", True)
        and run["backbone"].get("norm", "frozen_statistics") == "frozen_statistics"
        and run["detector"]["neck"].get("extra_from", extra_from) == extra_from
    )


def as_in_atss(printed, run, row):
    schedule, nms = run["schedule"], run["detector"]["test"]["nms"]["iou"]
    return (
        (nms == 0.6 or not is_dense(run))
        and schedule["warmup"]["name"] == "constant"
        and schedule["clip_norm"] is None
    )


def plain(name):
    return re.sub("alrp|[ _]", "", name.lower())


def assigned(run):
    if "dynamic" in run["detector"].get("box", {}):
        return "dynamic"
    name = section(run, "dense", "rpn")["assigner"]["name"]
    return "max_ggiou" if overlap(run)["name"] == "ggiou" else name


def taus(printed, run, row):
    """Of LRP, and of the aLRP loss, in two stages its own in each."""
    if not isinstance(printed, dict):
        of_loss = classifier(run)["objective"].get("tau", printed)
        return _close(printed, run["tau"]) and (loss(run) != "aLRP" or of_loss == printed)
    stages = [run["detector"][stage]["objective"].get("tau") for stage in ("rpn", "box")]
    return loss(run) != "aLRP" or stages == [printed["rpn"], printed["rcnn"]]


def balance(run):
    return classifier(run)["objective"].get("balance", {"name": "constant"})


def balanced_by_epochs(printed, run, row):
    """Starting from 50, or what the row says, with the mean of an epoch."""
    if balance(run)["name"] != "epoch":
        return True
    period = epochs(run, balance(run)["period"])
    starts = "initial_w_r" in row or balance(run)["initial"] in numbers(printed)
    return math.isclose(period, 1, rel_tol=1e-3) and starts


def anchors(assigners):
    def agrees(printed, run, row):
        candidates = run["detector"].get("dense", {}).get("candidates", {})
        if "2^(" not in printed or assigned(run) not in assigners:
            return True
        count = candidates["scales_per_octave"]
        scales = ", ".join(f"2^({i}/{count})" for i in range(count))
        return f"[{scales}]" in printed

    return Field(agrees, "scales of the anchors")


def weigh(run):
    return classifier(run)["objective"].get("weigh", {"name": "none"})


def box_losses(printed, run):
    """Focal-EIoU is to be that of both stages, others differ between them."""
    names = [box_loss(run)["name"]]
    if printed == "focal_eiou" and "rpn" in run["detector"]:
        names.append(run["detector"]["rpn"]["objective"]["box"]["name"])
    return names


def rate(printed, run, row):
    """One that is not given by loss is Rank & Sort's; YOLACT's baseline has its decays there."""
    words, decay = str(chosen(printed, run)), run["schedule"]["decay"]
    of_ranked, _, of_baseline = words.partition("; baseline decays at epochs")
    if not numbers(of_ranked) or (not isinstance(printed, dict) and loss(run) != "RS"):
        return not of_baseline or DECAY_EPOCHS.agrees(of_baseline, run, row)
    is_close = _close(numbers(of_ranked)[0], run["schedule"]["lr"])
    return is_close and ("cosine" in of_ranked) == (decay["name"] == "cosine")


def auxiliary_head(run):
    heads = run["detector"]["heads"]
    if "mask_iou" in heads:
        return "mask_iou_head"
    quality = heads.get("dense", {}).get("quality")
    return {"iou": "iou_head"}.get(quality, quality) or "none"


def samplers(run):
    steps = (run["detector"].get(name, {}) for name in ("rpn", "box", "dense", "prototypes"))
    return {step["sampler"]["name"] for step in steps if "sampler" in step}


def mask_loss(run):
    return section(run, "mask", "prototypes", "grid")["objective"]["mask"]["name"]


def sampler(run, step):
    """As table 8.3 writes it."""
    settings = run["detector"][step]["sampler"]
    if settings["name"] != "combined":
        return "none"
    return f"random 1:{1 / settings['positive_fraction'] - 1:g}"


def loops(run):
    return [step["iou"] for step in box_steps(run)]


def of_loops(text):
    """Numbers of all loops, from words that set the fourth apart."""
    return numbers(re.sub(r"\(4 loops: (\S+) more\)", r"\1", text))


def thresholds(printed, run, row):
    """Of the loops, rising but where the row says falling; two stages have the first."""
    ours = loops(run)[::-1] if row.get("iou_order") == "decreasing" else loops(run)
    return ours == of_loops(printed)[: len(ours)]


def loop_weights(printed, run, row):
    own, of_htc = map(of_loops, printed.split("; HTC keeps "))
    ours = [step.get("weight") or 1.0 for step in box_steps(run)]
    return ours == (of_htc if detector_name(run) == "HTC" else own)[: len(ours)]


def coders_of_loops(printed, run, row):
    """In every loop the same, but for HTC."""
    own = [step for step in box_steps(run) if step.get("coder")]
    return bool(own) == (detector_name(run) == "HTC")


def added(run):
    backbone = run["backbone"]
    parts = {
        "groie": box_step(run)["pooling"]["name"] == "groie",
        "gcnet": bool(backbone["context_stages"]),
        "dcn": bool(backbone["deformable_stages"]),
    }
    return next((name for name, is_there in parts.items() if is_there), None)


def proposals(printed, run, row):
    wanted = 2000 if detector_name(run) == "Cascade R-CNN" else 1000
    return run["detector"]["rpn"]["proposals"]["train"]["post_nms"] == wanted


BATCH = setting(lambda run: run["schedule"]["batch_size"], "images a step")
RATE = setting(lambda run: run["schedule"]["lr"], "learning rate")
EPOCHS = setting(lambda run: epochs(run, run["schedule"]["iterations"]), "epochs")
DECAY_EPOCHS = setting(lambda run: [epochs(run, at) for at in decays(run)], "decay epochs")
FG = setting(foreground, "RoIs an image")
BG = setting(lambda run: box_step(run)["sampler"]["num"] - foreground(run), "RoIs an image")
EPOCH_SHOWN = named(lambda run: "best" if run["epochs"] else "last", "best epoch")

FIELDS: dict[str, Field] = {
    "detector": named(detector_name, "another detector"),
    "backbone": Field(
        lambda printed, run, row: (
            printed == "row" or any(name in printed for name in backbone_names(run))
        ),
        "another backbone",
    ),
    "implementation": Field(follows, "feature pyramid"),
    "implementation_followed": Field(follows, "feature pyramid"),
    "framework": Field(follows, "conventions of MMDetection"),
    "other": Field(as_in_atss, "settings of ATSS"),
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
            sorted(numbers(printed))
            == [run["image"]["train"]["resize"].get(key) for key in ("min_size", "max_size")]
        ),
        "size of the images",
    ),
    "selection": EPOCH_SHOWN,
    "epoch_selection": EPOCH_SHOWN,
    "runs_averaged": setting(lambda run: len(run["seeds"]), "seeds"),
    "tau": Field(taus, "another tau"),
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
        "floor of negatives",
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
    "assigner": same(assigned, "another assignment", ASSIGNERS),
    "reg_loss": Field(
        lambda printed, run, row: (
            printed in ("own", "unchanged", None)
            or all(plain(printed).startswith(plain(name)) for name in box_losses(printed, run))
            or (printed == "GIoU Loss" and not is_ranked(run))
        ),
        "box loss",
    ),
    # of the thesis, chapters 7 and 8
    "batch_size": counted(lambda run: run["schedule"]["batch_size"], "images a step"),
    "learning_rate": Field(rate, "learning rate"),
    "aLRP_row": of_loss("aLRP", named(lambda run: f"rate {run['schedule']['lr']:g},", "rate")),
    "optimiser": named(lambda run: f"momentum {run['schedule']['momentum']:g}", "momentum"),
    "train_image_scale": resized("train"),
    "train_scale": resized("train"),
    "ms_train_range": resized("train"),
    "test_image_scale": resized("test"),
    "test_scale": resized("test"),
    "augmentation": Field(
        lambda printed, run, row: (
            ("SSD" in printed) == (run["image"]["train"].get("augment") == "ssd")
        ),
        "augmentation",
    ),
    "nms": named(lambda run: f"{run['detector']['test']['nms']['iou']:.2f}", "suppression"),
    "nms_score_threshold": of_loss(
        "RS", counted(lambda run: run["detector"]["test"]["score_threshold"], "scores from")
    ),
    "anchors": anchors(["max_iou"]),
    "anchors_with_atss": anchors(["atss"]),
    "delta": Field(
        lambda printed, run, row: (
            loss(run) not in ("AP", "aLRP")
            or _close(numbers(printed)[0], classifier(run)["objective"]["class"]["delta"])
        ),
        "delta",
    ),
    "delta_RS": of_loss(
        "RS", counted(lambda run: classifier(run)["objective"]["class"]["delta"], "delta")
    ),
    "delta_loc": Field(
        lambda printed, run, row: printed == "default" or weigh(run)["delta_loc"] == printed,
        "delta",
    ),
    "self_balance": Field(balanced_by_epochs, "self-balance"),
    "task_balance": Field(
        lambda printed, run, row: (
            BALANCES.get(printed) == balance(run)["name"]
            or ("lambda" in printed and (loss(run) != "RS" or balance(run)["name"] == "value"))
        ),
        "task balance",
    ),
    "w_r": counted(lambda run: box_loss(run)["weight"], "loss weight"),
    "lambda_box": counted(lambda run: box_loss(run)["weight"], "loss weight"),
    "initial_w_r": counted(lambda run: balance(run)["initial"], "loss weight"),
    "box_loss_weight": Field(
        lambda printed, run, row: (
            is_ranked(run) or _close(chosen(printed, run), box_loss(run)["weight"])
        ),
        "loss weight",
    ),
    "cls_loss": Field(
        lambda printed, run, row: (
            re.split("[ ,]", printed)[0] == loss(run)
            or (printed.startswith(("RS Loss", "standard")) and not is_ranked(run))
        ),
        "another loss",
    ),
    "method": Field(
        lambda printed, run, row: (
            printed.startswith("RS-") == (loss(run) == "RS")
            and printed.startswith("aLRP") == (loss(run) == "aLRP")
        ),
        "another loss",
    ),
    "upsample": same(
        lambda run: run["detector"]["neck"]["name"].replace("balanced_", ""),
        "another upsampling",
        {"default": "fpn", "carafe": "carafe_fpn"},
    ),
    "dcn": Field(
        lambda printed, run, row: (
            run["backbone"]["modulated"] == ("v1" not in printed) or added(run) != "dcn"
            if isinstance(printed, str)
            else printed == bool(run["backbone"].get("deformable_stages"))
        ),
        "deformable convolutions",
    ),
    "aux_head": Field(
        lambda printed, run, row: (
            printed == auxiliary_head(run)
            or (printed == "removed" and (not is_ranked(run) or auxiliary_head(run) == "none"))
        ),
        "another auxiliary head",
    ),
    "instance_weight": of_loss(
        "RS",
        Field(lambda printed, run, row: printed.startswith(weigh(run)["name"]), "weights of the"),
    ),
    "sampler": Field(
        lambda printed, run, row: (
            samplers(run) <= {"combined" if printed == "random" else "all"}
            if printed in ("random", "none") or (printed == "removed" and loss(run) == "RS")
            else True
        ),
        "sampling",
    ),
    "sampler_rpn": same(lambda run: sampler(run, "rpn"), "sampling of anchors"),
    "sampler_rcnn": same(lambda run: sampler(run, "box"), "sampling of RoIs"),
    "rpn": of_loss("RS", counted(lambda run: run["detector"]["rpn"]["weight"], "loss weight")),
    "rpn_loss_weight": of_loss(
        "aLRP", counted(lambda run: run["detector"]["rpn"]["weight"], "loss weight")
    ),
    "rcnn_proposals": of_loss("RS", Field(proposals, "proposals")),
    "sampling_aLRP": of_loss("aLRP", Field(proposals, "proposals")),
    "mask_head": Field(
        lambda printed, run, row: (
            "200 proposals" not in printed
            or "mask" not in run["detector"]
            or run["detector"]["mask"].get("max_masks") == 200
        ),
        "proposals",
    ),
    "stage_weights": of_loss(
        "RS",
        Field(
            lambda printed, run, row: len({step.get("weight") for step in box_steps(run)}) == 1,
            "loss weight",
        ),
    ),
    "label": same(
        lambda run: run["detector"]["prototypes"]["objective"].get("labels", "iou"),
        "labels",
        LABELS,
    ),
    "ohem": same(lambda run: samplers(run) == {"hard_negative"}, "sampling"),
    "size_based_norm": same(lambda run: mask_loss(run) == "size_normalised_mask", "normalisation"),
    "sem_segm_head": same(lambda run: run["detector"]["heads"]["dense"]["semantic"], "semantic"),
    "mask_loss": of_loss(
        "RS", Field(lambda printed, run, row: mask_loss(run) in printed.lower(), "mask loss")
    ),
    "qfl_on_paa": of_loss(
        "QFL",
        Field(lambda printed, run, row: detector_name(run) != "PAA", "better of two settings"),
    ),
    "tta": Field(
        # Which is not printed: no other one could agree.
        lambda printed, run, row: not printed and run["augment"] is None,
        "test-time augmentation",
    ),
    "scale": setting(lambda run: run["image"]["test"]["resize"]["min_size"], "size of the images"),
    "case": same(
        lambda run: run["ranking"],
        "ranking",
        {"aLRP Loss": "scores", "lower bound": "lower", "upper bound": "upper"},
    ),
    "baseline_weights": Field(
        lambda printed, run, row: (
            is_ranked(run)
            or numbers(printed)
            == [classifier(run)["objective"][key]["weight"] for key in ("box", "mask")]
        ),
        "loss weight",
    ),
    # of r3cnn, some from the authors' code
    "iou_thresholds": Field(thresholds, "thresholds"),
    "loops_train": setting(lambda run: len(loops(run)), "loops"),
    "loops_eval": setting(lambda run: run["loops"] or len(loops(run)), "loops"),
    "heads": setting(lambda run: len({step["box"] for step in box_steps(run)}), "heads"),
    "stage_loss_weights": Field(loop_weights, "loss weight"),
    "rois": Field(
        lambda printed, run, row: (
            numbers(printed)
            == [box_step(run)["sampler"][key] for key in ("num", "positive_fraction")]
            and rois(run, "add_ground_truth")
        ),
        "RoIs an image",
    ),
    "box_coder_stds": Field(coders_of_loops, "box coder"),
    "bbox_head": Field(
        lambda printed, run, row: (
            detector_name(run) != "R3-CNN"
            or all(
                run["detector"]["heads"][step["box"]]["class_agnostic"] for step in box_steps(run)
            )
        ),
        "class-agnostic",
    ),
    "test_score_threshold": Field(
        lambda printed, run, row: (
            detector_name(run) == "Mask R-CNN"
            or _close(numbers(printed)[0], run["detector"]["test"]["score_threshold"])
        ),
        "scores from",
    ),
    "plus": same(added, "another part"),
    "groie": Field(
        lambda printed, run, row: (
            added(run) != "groie"
            or "sampling ratio {sampling_ratio}".format(**box_step(run)["pooling"]) in printed
        ),
        "sampling ratio",
    ),
    "gcnet": Field(
        lambda printed, run, row: (
            added(run) != "gcnet"
            or (
                f"ratio {Fraction(run['backbone']['context_ratio'])} " in printed
                and run["backbone"]["norm"] == "batch"
            )
        ),
        "batch norm",
    ),
}
IN_WORDS = {
    # what FIELDS or other tests have under another name: gpus and images_per_gpu are the batch,
    # weights of IoU bins are compared with table 9, settings of losses and generators by rows
    "gpus", "images_per_gpu", "iou_bins", "iou_weights", "bin_weights", "external", "roi_source",
    "proi_source", "roi_source_settings", "positives", "ofb_rule", "hard_sampling",
    "loss", "ggiou", "s1", "s2", "normaliser", "focal_l1_alpha", "focal_eiou_gamma",
    "focal_eiou_v1", "balanced_l1", "own", "optimizer", "seeds", "evaluation",
    # data, machines, measurements and reasons
    "train_images", "test_images", "images", "gpu", "speed_measured_on", "exception",
    "schedule_exception", "fg_rule", "fg_bg_rule", "mean_rois_in_that_first_run",
    "train_seconds_per_iter_conventional", "source", "measured", "hardware",
    "htc", "inference", "mask_rcnn_3x", "memory", "speed", "fps", "model", "loops", "r3_cnn_l",
    "quoted_rows", "others", "note", "same_as", "base_model", "scale_notation", "rho", "oLRP",
    # what parts are and do, and how losses are defined: their own tests say it
    "interleaved", "boxes_at_test", "advanced", "localisation_error", "localisation_weight",
    "no_self_balance", "bounds", "varied", "reg_loss_averaging", "classifier_aLRP", "classifier",
    "num_hyperparameters_aLRP", "baseline_rows", "box_loss", "atss_default", "paa",
    "unified", "bias", "heuristics", "default", "evaluated_at",
    # of rows
    "number", "iou_order", "rank_based", "rank_based_cls", "rank_based_reg",
    "group", "quoted", "reference", "training", "chosen", "task",
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
    trainings = {name: recipe.pop(name, {}) for name in ("standard", "heavy")}
    recipe |= trainings.get(row.get("training"), {})
    counts = [recipe.get(key) for key in ("gpus", "images_per_gpu")]
    if all(isinstance(count, int) for count in counts):
        yield "batch", math.prod(counts)
    elif counts[0] is not None and "batch_size" not in recipe:
        yield "batch", "not printed"
    metrics = {metric["name"] for metric in entry["metrics"]} | {"as_read", "suspect"}
    own = {key: value for key, value in row.items() if key not in metrics}
    if "epoch" in own:
        own["epochs"] = own.pop("epoch")
    yield from {**recipe, **authors, **own}.items()


def agrees(field: Field, printed: Any, run: dict[str, Any], row: dict[str, Any]) -> bool:
    """A detector that lacks what the recipe speaks of does not."""
    try:
        return field.agrees(printed, run, row)
    except KeyError:
        return False


def named_departures(experiments, target, index: int) -> dict[str, str]:
    """What differs in a row -> the sentence that says so."""
    of_target = [
        departure
        for departure in target.entry.departures
        if isinstance(departure, DepartureOfRows)
        and (not departure.rows or index in departure.rows)
    ]
    of_run = [
        departure
        for departure in experiments.departures(target.rows[index].run, "paper")
        if isinstance(departure, NamedDeparture)
    ]
    return {name: departure.says for departure in (*of_target, *of_run) for name in departure.of}


def unsaid(
    experiments, recipes: dict[str, Any], name: str, excused: set[tuple[str, str]] | None = None
) -> list[str]:
    """Differences of a table's runs from its recipe that no departure names; ``excused`` gets those
    that one does, as what differs and the sentence."""
    target, entry = experiments.targets[name], recipes[name]
    results = experiments.results("paper")
    found = []
    for index, (row, printed) in enumerate(zip(target.rows, entry["rows"], strict=True)):
        if not isinstance(row, RunRow):
            continue
        run = resolve_run(experiments, row.run, "paper").model_dump()
        variant = run["variants"][row.variant]
        run |= {
            "seeds": target.seeds(results),
            "epochs": experiments.epochs(row.run, "paper"),
            "loops": variant["test"].get("loops"),
            "augment": variant["test"].get("augment"),
            **variant["evaluate"],
        }
        said = named_departures(experiments, target, index)
        for key, value in fields_of(entry, printed):
            if key in FIELDS:
                if agrees(FIELDS[key], value, run, printed):
                    continue
                if FIELDS[key].departure not in said:
                    found.append(f"{name}, {row.run}: {key}, the work has {value!r}")
                elif excused is not None:
                    excused.add((FIELDS[key].departure, said[FIELDS[key].departure]))
            elif key not in IN_WORDS:
                found.append(f"{name}: nothing compares {key}, the work has {value!r}")
    return found


@pytest.mark.parametrize("name", TABLES)
def test_a_run_is_as_its_recipe_or_its_page_says_where_not(recipes, name):
    assert unsaid(EXPERIMENTS, recipes, name) == []


def test_every_departure_that_names_what_differs_excuses_something(recipes):
    """One that has become true of the recipe, or misspells it, would stay for ever."""
    excused: set[tuple[str, str]] = set()
    for name in TABLES:
        unsaid(EXPERIMENTS, recipes, name, excused)
    lists = [EXPERIMENTS.departures(run, "paper") for run in EXPERIMENTS.runs]
    lists += [getattr(EXPERIMENTS.targets[name].entry, "departures", []) for name in TABLES]
    named = {
        (what, departure.says)
        for departures in lists
        for departure in departures
        if isinstance(departure, NamedDeparture)
        for what in departure.of
    }
    assert named - excused == set()


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
    "epochs that are not kept": (
        "scales/paper.yaml", ("schedules", "bbgen_coco", "epochs"), None,
        "bbgen_table_3", "selection, the work has 'best AP and best oLRP"),
    "seeds of a mean": (
        "scales/paper.yaml", ("seeds_of",), {}, "bbgen_table_2", "runs_averaged, the work has 3"),
    "a rate in a mapping by loss": (
        "scales/paper.yaml", ("schedules", "alrp_staged", "lr"), 0.04,
        "thesis_table_7_7", "alrp_faster_rcnn: learning_rate, the work has {'aLRP': 0.012"),
    "decays in words": (
        "scales/paper.yaml", ("schedules", "yolact", "decay", "at"), [1, 2, 3, 4],
        "thesis_table_8_7", "yolact: learning_rate, the work has '0.006 with cosine"),
    "an image size": (
        "scales/paper.yaml", ("image_of", "coco2017_480_960", "train", "resize", "min_size"), 800,
        "thesis_table_P_5", "rs_faster_rcnn_r101_dcn: ms_train_range, the work has '[480,960]'"),
    "the order of loops": (
        "papers/r3cnn.yaml",
        ("runs", "r3cnn_naive_falling", "detector", "steps"),
        ["rpn", *({"box": "box", "iou": iou} for iou in (0.5, 0.6, 0.7))],
        "r3cnn_table_1", "r3cnn_naive_falling: iou_thresholds, the work has"),
    "weights of positives of one run": (
        "papers/thesis.yaml",
        ("runs", "rs_atss_iou_w2", "detector", "dense", "objective", "weigh"), "score",
        "thesis_table_8_1", "rs_atss_iou_w2: instance_weight, the work has 'iou'"),
    "the images of SSD": (
        "scales/paper.yaml",
        ("image_of", "coco2017_512_square", "test", "resize", "size"), 500,
        "ggiou_table_6", "ssd512: detector, the work has 'SSD512'"),
    "a departure of other rows": (
        "papers/ggiou.yaml", ("targets", "table_6", "departures", 0, "rows"), [7, 8],
        "ggiou_table_6", "ssd300: lr, the work has 'scaled linearly"),
    "a departure from something else": (
        "papers/r3cnn.yaml", ("targets", "table_4", "departures", 0, "of"), ["batch norm"],
        "r3cnn_table_4", "mask_rcnn_dcn: dcn, the work has"),
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
