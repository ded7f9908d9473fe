"""What is refused, in one message: file, key, what was got, what is allowed, the nearest name."""

import pytest
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.backbones import Backbone
from rebalance.config.options.candidates import CandidateGrid
from rebalance.config.options.dataset import Dataset
from rebalance.config.options.detector import Detector
from rebalance.config.options.image import ImageAtTest, ImageInTraining, Resize
from rebalance.config.options.necks import Neck
from rebalance.config.options.rois import RoiSource
from rebalance.config.options.schedule import Decay
from rebalance.config.parse import Place, parse
from rebalance.errors import InputError

OBJECTIVE = ("dense", "objective")
RANKING = {"name": "ranking", "class": {"name": "rank_sort"}, "box": {"name": "giou"}}
RETINANET = {
    "text for a number": (
        (*OBJECTIVE, "class", "gamma"), "banana", "class.gamma: must be a number, got 'banana'"),
    "a number in quotes": (
        (*OBJECTIVE, "class", "gamma"), "0.5", "class.gamma: must be a number, got '0.5'"),
    "true for a number": (
        (*OBJECTIVE, "class", "gamma"), True, "class.gamma: must be a number, got True"),
    "nan": ((*OBJECTIVE, "class", "gamma"), float("nan"), "must be a finite number, got nan"),
    "inf": ((*OBJECTIVE, "class", "gamma"), float("inf"), "must be a finite number, got inf"),
    "below the bound": (
        (*OBJECTIVE, "class", "gamma"), -1, "class.gamma: must be at least 0, got -1"),
    "IoU above 1": (
        ("dense", "assigner", "positive_iou"), 7,
        "dense.assigner.positive_iou: must be at most 1, got 7"),
    "thresholds the wrong way round": (
        ("dense", "assigner", "positive_iou"), 0.2,
        "dense.assigner.positive_iou: must be at least negative_iou, 0.4, got 0.2"),
    "a box loss for classes": (
        (*OBJECTIVE, "class"), {"name": "giou"},
        "class.name: classification loss must be one of sigmoid_cross_entropy, focal, "
        "quality_focal, ghm_c, softmax_cross_entropy, got 'giou' (which is a box loss)"),
    "a ranking loss for classes": (
        (*OBJECTIVE, "class"), {"name": "rank_sort"}, "got 'rank_sort' (which is a ranking loss)"),
    "a mask loss for boxes": (
        (*OBJECTIVE, "box"), {"name": "dice"}, "got 'dice' (which is a mask loss)"),
    "a coupled loss in place of a ranking": (
        OBJECTIVE, {"name": "ranking", "class": {"name": "alrp"}, "box": {"name": "giou"}},
        "dense.objective.class.name: ranking loss must be one of ap, rank_sort, got 'alrp'"),
    "a misspelt loss": (
        (*OBJECTIVE, "class", "name"), "focall", "got 'focall' (did you mean 'focal'?)"),
    "a misspelt option": (
        (*OBJECTIVE, "class", "gama"), 1.0,
        "dense.objective.class.gama: unknown key 'gama' (did you mean 'gamma'?); "
        "sigmoid loss 'focal' has: name, alpha, gamma, weight, per, weigh"),
    "a misspelt task": (
        (*OBJECTIVE, "clas"), {"name": "focal"}, "unknown key 'clas' (did you mean 'class'?)"),
    "a misspelt choice": (
        (*OBJECTIVE, "box", "per"), "positive",
        "per: must be one of 'positives', ", "got 'positive' (did you mean 'positives'?)"),
    "a loss without a name": (
        (*OBJECTIVE, "class"), {"gamma": 2.0}, "dense.objective.class: missing key 'name'"),
    "a name for a mapping": (
        (*OBJECTIVE, "class"), "focal", "class: must be a mapping with a name"),
    "no loss at all": (OBJECTIVE, {"name": "linear"}, "needs a loss for one of class, box"),
    "a dense step without a box loss": (
        (*OBJECTIVE, "box"), ...,
        "dense.objective: missing key 'box', which a dense step learns"),
    "loops without box steps": (
        ("test",), {"loops": 2}, "test.loops: is for detectors with a box step, got steps dense"),
    "a missing section": (("neck",), ..., "missing key 'neck'"),
    "a list that is too short": (
        ("dense", "coder"), {"name": "deltas", "weights": [1, 1]}, "at least 4 entries"),
    "an entry of a list": (
        ("dense", "candidates"), {"name": "anchors", "ratios": [0.5, 0]},
        "dense.candidates.ratios[1]: must be more than 0, got 0"),
    "a quality that the head does not estimate": (
        ("test",), {"quality": {"output": "centerness"}},
        "test.quality.output: must be an output of head 'dense', which has none, got 'centerness'"),
    "a task that the head has no output for": (
        (*OBJECTIVE, "centerness"), {"name": "sigmoid_cross_entropy"},
        "dense.objective.centerness: a dense step with head 'dense' learns box, class"),
    "candidates chosen by the loss of a ranking": (
        ("dense",), {"assigner": {"name": "paa"}, "sampler": {"name": "all"}, "objective": RANKING},
        "dense.objective: missing key 'costs_by', the losses that assigner 'paa' reads"),
    "a beta that nothing moves": (
        (*OBJECTIVE, "box"), {"name": "dynamic_smooth_l1"},
        "dense.objective.box.name: 'dynamic_smooth_l1' needs box.dynamic"),
    "a loss of variances that no head predicts": (
        (*OBJECTIVE, "box"), {"name": "kl"},
        "dense.objective.box.name: needs log_variances, which head 'dense' does not give"),
    "a loss of scores, where candidates are chosen": (
        ("dense", "objective"), {**RANKING, "costs_by": {"box": {"name": "carl"}}},
        "dense.objective.costs_by.box.name: needs class_scores, which head 'dense' does not give"),
    "scales of too few levels": (
        ("dense", "assigner"), {"name": "foveabox", "scale_ranges": [[1, 64], [32, 128]]},
        "dense.assigner.scale_ranges: must be one per level of the neck, 5, got 2"),
}  # fmt: skip
FASTER_RCNN = {
    "pre_nms of a staged detector": (
        ("test",), {"pre_nms": 1000},
        "test.pre_nms: is for detectors with a dense or prototypes step, got steps rpn, box"),
    "no loops": (("test",), {"loops": 0}, "test.loops: must be at least 1, got 0"),
    "a generator without bins": (
        ("box", "rois"), {"name": "generator"},
        "box.rois: needs either preset or both iou_bins and bin_weights, got preset None, "
        "iou_bins None, bin_weights None"),
    "a head that is not there": (
        ("steps", 1, "box"), "rpm", "steps[1].box: head must be one of rpn, a, got 'rpm' "
        "(did you mean 'rpn'?)"),
    "a head of another sort": (
        ("steps", 1, "box"), "rpn", "steps[1].box: needs a box head, got 'rpn', a dense head"),
    "a mask step with a box head": (
        ("steps",), ["rpn", {"box": "a", "iou": 0.5}, {"mask": "a"}], "missing key 'mask'"),
    "an IoU above 1": (("steps", 1, "iou"), 1.5, "steps[1].iou: must be less than 1, got 1.5"),
    "a step without its IoU": (("steps", 1, "iou"), ..., "steps[1]: missing key 'iou'"),
    "a step of no sort": (
        ("steps", 1), {"bx": "a"},
        "steps[1]: a step is one of rpn, dense, prototypes, grid, box, mask"),
    "a misspelt dense step": (
        ("steps", 0), "rpm", "got 'rpm' (did you mean 'rpn'?)"),
    "two RPNs": (
        ("steps", 1), "rpn", "steps[1]: the first step, and it alone, must be one of rpn, "),
    "box steps without proposals": (
        ("steps",), [{"box": "a", "iou": 0.5}],
        "steps[0]: the first step, and it alone, must be one of rpn, "),
    "proposals without box steps": (("steps",), ["rpn"], "steps: proposals need a box step"),
    "steps without their settings": (("box",), ..., "missing key 'box', the settings of steps"),
    "softmax over one logit": (
        ("rpn", "objective", "class"), {"name": "softmax_cross_entropy"},
        "rpn.objective.class.name: the rpn step has one logit and needs a sigmoid loss"),
    "an IoU for an assigner without thresholds": (
        ("box", "assigner"), {"name": "atss"},
        "steps[1].iou: replaces the thresholds of assigner 'max_iou', got 'atss'"),
    "half a number of channels": (
        ("heads", "a", "channels"), 2.5, "heads.a.channels: must be a whole number, got 2.5"),
    "a typo in a step": (
        ("steps", 1, "wieght"), 2.0,
        "steps[1].wieght: unknown key 'wieght' (did you mean 'weight'?); allowed: box, iou"),
    "mining by the loss of a ranking": (
        ("steps", 1),
        {"box": "a", "iou": 0.5, "sampler": {"name": "ohem"}, "objective": RANKING},
        "steps[1].objective: missing key 'costs_by', the losses that sampler 'ohem' reads"),
    "one head with and without background": (
        ("steps",),
        ["rpn", {"box": "a", "iou": 0.5}, {"box": "a", "iou": 0.6, "objective": RANKING}],
        "steps[2].objective.class: head 'a' has a logit for background in an earlier step, got "),
}  # fmt: skip


@pytest.mark.parametrize("mistake", RETINANET)
def test_a_mistake_in_a_dense_detector(detectors, changed, mistake):
    path, value, *expected = RETINANET[mistake]
    refused(Detector, changed(detectors["retinanet"], path, value), *expected)


@pytest.mark.parametrize("mistake", FASTER_RCNN)
def test_a_mistake_in_a_staged_detector(detectors, changed, mistake):
    path, value, *expected = FASTER_RCNN[mistake]
    refused(Detector, changed(detectors["faster_rcnn"], path, value), *expected)


def refused(model, settings, *expected):
    with pytest.raises(InputError) as error:
        parse(model, settings, Place("config/detectors.yaml", ("some",)))
    assert str(error.value).startswith("config/detectors.yaml: some")
    for part in expected:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


RESIZE = {"name": "keep_ratio", "min_size": 800, "max_size": 1333}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        pytest.param(
            RoiSource, {"name": "generator", "preset": "unform"},
            "some.preset: must be one of", id="preset"),
        pytest.param(
            RoiSource, {"name": "generator", "preset": "uniform", "iou_bins": [0.5]},
            "either preset or both", id="preset and bins"),
        pytest.param(
            RoiSource, {"name": "generator", "iou_bins": [0.5, 0.6], "bin_weights": [1]},
            "some.bin_weights: must be one per bin, got 1 weights for 2 bins", id="weights"),
        pytest.param(
            RoiSource, {"name": "generator", "iou_bins": [0.5, 0.6], "bin_weights": [0, 0]},
            "some.bin_weights: must not all be 0", id="no weight"),
        pytest.param(
            RoiSource, {"name": "generator", "iou_bins": [0.6, 0.5], "bin_weights": [1, 1]},
            "some.iou_bins: must ascend", id="order of bins"),
        pytest.param(
            RoiSource, {"name": "generator", "iou_bins": [[0.5, 2]], "bin_weights": [1]},
            "some.iou_bins[0][1]: must be at most 1, got 2", id="end of a bin"),
        pytest.param(
            Assigner, {"name": "max_iou", "overlap": {"name": "ggiou", "sigma_from": "overlp"}},
            "some.overlap.sigma_from: must be one of 'overlap', 'boxes2', got 'overlp' (did you",
            id="part of a part"),
        pytest.param(
            Assigner, {"name": "max_iou", "negative_floor": 0.45},
            "some.negative_floor: must be at most negative_iou, 0.4, got 0.45", id="floor"),
        pytest.param(
            Decay, {"name": "step", "at": [20, 10]}, "some.at: must ascend, got [20, 10]",
            id="order of steps"),
        pytest.param(
            Resize, {"name": "keep_ratio", "min_size": 800, "max_size": 600},
            "some.max_size: must be at least min_size, 800, got 600", id="largest side"),
        pytest.param(
            Resize, {"name": "keep_ratio", "min_size": [800, 640], "max_size": 1333},
            "some.min_size: must be [low, high], got [800, 640]", id="range that falls"),
        pytest.param(
            ImageInTraining, {"resize": RESIZE, "augment": "ssd"},
            "some.resize.name: must be 'square' with augment 'ssd', which crops, got 'keep_ratio'",
            id="crops before a resize that keeps the ratio"),
        pytest.param(
            ImageAtTest, {"resize": {**RESIZE, "min_size": [640, 800]}},
            "some.resize.min_size: must be a whole number at test, got [640, 800]",
            id="size that is drawn at test"),
        pytest.param(
            Backbone, {"name": "resnet", "depth": 18, "deformable_stages": [4]},
            "some.deformable_stages: needs depth 50 or 101, got depth 18", id="bottlenecks"),
        pytest.param(
            Backbone, {"name": "resnet", "context_stages": [5]},
            "some.context_stages[0]: must be at most 4, got 5", id="stage"),
        pytest.param(
            Neck, {"name": "fpn", "extra": "pool", "extra_from": "input"},
            "some.extra_from: must be 'output' with extra 'pool', got 'input'", id="extra levels"),
        pytest.param(
            Neck, {"name": "balanced_fpn", "refine_level": 5},
            "some.refine_level: must be less than num_levels, 5, got 5", id="refined level"),
        pytest.param(
            Neck, {"name": "ssd", "size": 512, "channels": [8, 8, 8, 8]},
            "some.channels: must be 5 numbers with size 512, got [8, 8, 8, 8]", id="SSD levels"),
        pytest.param(
            CandidateGrid, {"name": "ssd_anchors", "sizes": [21, 45], "ratios": [[2.0], [2.0]]},
            "some.sizes: must be one more than ratios, 2, got 2", id="SSD sizes"),
        pytest.param(
            Dataset, {"kind": "shape"},
            "some.kind: kind of data set must be one of shapes, shapes_voc, shapes_videos, "
            "imagenet_vid, coco_download, "
            "voc_download, coco_folder, got 'shape' (did you mean 'shapes'?)", id="data set"),
        pytest.param(
            Dataset, {"kind": "coco_download", "archive": ["a"]},
            "unknown key 'archive' (did you mean 'archives'?)", id="key of a data set"),
    ],
)  # fmt: skip
def test_rules_of_single_parts(kind, settings, expected):
    refused(kind, settings, expected)


@pytest.mark.parametrize("bins", [[0.5, 0.6], [[0.5, 0.6], [0.8, 0.9]]])
def test_bins_are_lower_edges_or_intervals(bins):
    settings = {"name": "generator", "iou_bins": bins, "bin_weights": [1, 2]}
    assert parse(RoiSource, settings, "file").model_dump()["iou_bins"] == bins


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet"])
def test_resolved_settings_are_complete_and_parse_to_themselves(detectors, name):
    detector = parse(Detector, detectors[name], "file")
    settings = detector.model_dump()
    assert parse(Detector, settings, "file").model_dump() == settings
    assert settings["test"]["score_threshold"] == 0.05
    assert ("pre_nms" in settings["test"]) == (name == "retinanet")
    assert ("loops" in settings["test"]) == (name == "faster_rcnn")


def test_steps_that_share_a_head_and_replace_what_is_shared(detectors, changed):
    steps = ["rpn", {"box": "a", "iou": 0.5}, {"box": "a", "iou": 0.6, "sampler": {"name": "ohem"}}]
    settings = parse(
        Detector, changed(detectors["faster_rcnn"], ("steps",), steps), "f"
    ).model_dump()
    assert settings["steps"][:2] == ["rpn", {"box": "a", "iou": 0.5}]
    assert settings["steps"][2]["sampler"] == {"name": "ohem", "num": 128, "nms_iou": 0.7}


@pytest.mark.parametrize(("rank", "name"), [("rank_sort", "ranking"), ("alrp", "coupled_ranking")])
def test_ranking_objectives_learn_what_a_dense_step_must(detectors, changed, rank, name):
    objective = {"name": name, "class": {"name": rank}, "box": {"name": "giou"}}
    settings = changed(detectors["retinanet"], OBJECTIVE, objective)
    found = parse(Detector, settings, "f").model_dump()["dense"]["objective"]
    assert found["box"] == {"name": "giou", "eps": 1e-7, "weight": 1.0}
    assert found["balance"]["name"] == {"ranking": "constant", "coupled_ranking": "epoch"}[name]


def test_tasks_are_divided_by_what_their_objective_says_unless_they_say_it(detectors, changed):
    objective = {
        "name": "linear",
        "per": "samples",
        "class": {"name": "focal"},
        "box": {"name": "giou", "per": "positives"},
    }
    detector = parse(Detector, changed(detectors["retinanet"], OBJECTIVE, objective), "f")
    found = detector.model_dump()["dense"]["objective"]
    assert (found["class"]["per"], found["box"]["per"]) == ("samples", "positives")
    assert parse(Detector, detector.model_dump(), "f") == detector
