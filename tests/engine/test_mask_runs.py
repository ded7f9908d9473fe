"""Mask detectors from images to metrics: training, prediction with more loops, evaluation."""

import copy
import json

import pytest
from rebalance.engine.predict import predict
from rebalance.engine.train import train
from rebalance.metrics import evaluate_boxes_and_masks

from .conftest import STAGED

MASK = {
    "pooling": {"size": 4},
    "objective": {"name": "linear", "mask": {"name": "mask_cross_entropy"}},
}
MASK_HEAD = {"name": "mask", "num_convs": 1, "channels": 8}
LOOP = [{"box": "box", "iou": 0.5}, {"mask": "mask"}, {"box": "box", "iou": 0.6}, {"mask": "mask"}]
DETECTORS = {
    "mask_rcnn": {"steps": ["rpn", *LOOP[:2]]},
    "r3cnn": {
        "heads": {
            "box": {"name": "fcc", "class_agnostic": True},
            "mask": {**MASK_HEAD, "residual": True},
            "mask_iou": {"name": "mask_iou", "num_convs": 2, "channels": 8, "convolutional": True},
        },
        "mask": {"refined": True, "information_flow": "always"},
        "mask_iou": {"objective": {"name": "linear", "mask_iou": {"name": "mask_iou"}}},
        "steps": ["rpn", *LOOP, "mask_iou"],
    },
}


@pytest.fixture(params=DETECTORS)
def mask_run(run, request):
    detector, own = copy.deepcopy(STAGED), DETECTORS[request.param]
    detector["heads"] |= {"mask": MASK_HEAD, **own.get("heads", {})}
    detector["mask"] = {**MASK, **own.get("mask", {})}
    run["detector"] = {**detector, **{k: v for k, v in own.items() if k not in ("heads", "mask")}}
    run["variants"]["nothing"] = {"test": {"score_threshold": 1.0}}
    run["variants"]["loops"] = {"test": {"loops": 3, "score_threshold": 0.0}}
    run["variants"]["all"] = {"test": {"score_threshold": 0.0}}
    return run


def test_from_images_to_metrics_of_boxes_and_masks(mask_run, tmp_path):
    train(mask_run, tmp_path / "run", threads=1)
    truth = mask_run["dataset"]["val"]["annotations"]
    found = {}
    for variant in ("all", "loops", "nothing"):
        out = tmp_path / f"{variant}.json"
        predict(tmp_path / "run", out, variant=variant, threads=1)
        found[variant] = json.loads(out.read_text())
        metrics = evaluate_boxes_and_masks(truth, out)
        assert 0 <= metrics["mask_AP50"] <= 1
    assert len(found["all"]) > 0
    assert all(set(one["segmentation"]) == {"size", "counts"} for one in found["all"])
    scored = mask_run["detector"]["steps"][-1] == "mask_iou"
    assert all(("mask_score" in one) == scored for one in found["all"])
    assert found["loops"] != found["all"]
    assert found["nothing"] == []
    assert metrics["mask_AP50"] == 0
    assert metrics["mask_oLRP"] == 1
