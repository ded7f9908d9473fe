"""Test settings as variants of a run in YAML: what each does to the detections of one model."""

import copy
import json

import pytest
import yaml
from pycocotools import mask as coco_mask
from rebalance.cli import main

from .conftest import STAGED, tiny_run
from .test_mask_runs import MASK, MASK_HEAD

VARIANTS = """
default: {}
logits: {test: {average: logits}}
largest_logits: {test: {average: largest_logits}}
soft_nms: {test: {nms: {name: soft_nms, decay: gaussian, threshold: 0.0}}}
voting: {test: {voting: {name: score}}}
mask_threshold: {test: {mask_threshold: 0.3}}
"""


@pytest.fixture(scope="module")
def found(shapes, tmp_path_factory):
    """Variant -> detections of one trained detector of two loops with masks."""
    folder = tmp_path_factory.mktemp("variants")
    run = tiny_run(shapes)
    run["schedule"]["iterations"] = 2
    run["variants"] = yaml.safe_load(VARIANTS)
    run["detector"] = {
        **copy.deepcopy(STAGED),
        "heads": {**STAGED["heads"], "mask": MASK_HEAD},
        "mask": MASK,
        "steps": ["rpn", {"box": "box", "iou": 0.5}, {"box": "box", "iou": 0.6}, {"mask": "mask"}],
        "test": {"score_threshold": 0.1, "nms": {"name": "nms", "iou": 0.5}, "max_detections": 500},
    }
    (folder / "run_file.yaml").write_text(yaml.safe_dump(run))
    settings = ["--run-file", str(folder / "run_file.yaml"), "--out", str(folder / "run")]
    assert main(["train", *settings, "--threads", "1"]) == 0
    detections = {}
    for variant in run["variants"]:
        out = folder / f"{variant}.json"
        command = ["predict", "--run-dir", str(folder / "run"), "--variant", variant]
        assert main([*command, "--threads", "1", "--out", str(out)]) == 0
        detections[variant] = json.loads(out.read_text())
    assert len(detections["default"]) > 20
    return detections


def column(detections, name):
    return [one[name] for one in detections]


def test_scores_and_logits_of_loops_have_other_averages(found):
    averages = [column(found[name], "score") for name in ("default", "logits", "largest_logits")]
    assert len({tuple(scores) for scores in averages}) == 3


def test_soft_suppression_keeps_the_best_and_lowers_what_overlaps_it(found):
    """With a threshold of 0 soft-NMS drops nothing, so it has all that the greedy one keeps."""
    hard, soft = found["default"], found["soft_nms"]
    assert len(soft) > len(hard)
    images = set(column(hard, "image_id"))
    for image in images:
        best = [max(one["score"] for one in of if one["image_id"] == image) for of in (hard, soft)]
        assert best[0] == pytest.approx(best[1])
    assert {(*one["bbox"], one["category_id"]) for one in hard} <= {
        (*one["bbox"], one["category_id"]) for one in soft
    }
    assert min(column(soft, "score")) < min(column(hard, "score"))


def test_votes_move_boxes_and_nothing_else(found):
    before, after = found["default"], found["voting"]
    for name in ("image_id", "category_id", "score"):
        assert column(before, name) == column(after, name)
    assert column(before, "bbox") != column(after, "bbox")


def test_a_lower_threshold_makes_masks_larger_and_changes_nothing_else(found):
    before, after = found["default"], found["mask_threshold"]
    for name in ("image_id", "category_id", "score", "bbox"):
        assert column(before, name) == column(after, name)
    masks = zip(column(before, "segmentation"), column(after, "segmentation"), strict=True)
    grown = [int(coco_mask.area(lower)) - int(coco_mask.area(usual)) for usual, lower in masks]
    assert min(grown) >= 0
    assert sum(grown) > 0
