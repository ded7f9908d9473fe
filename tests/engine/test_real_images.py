"""The real path learns: photographs, 80 classes, objects of all shapes."""

import copy
import json

import pytest
from rebalance.engine.predict import predict
from rebalance.engine.train import train
from rebalance.metrics import evaluate, evaluate_boxes_and_masks

from .conftest import STAGED
from .test_ranked_training import RANK_SORT


@pytest.fixture
def photographs(run, shared_dir, tmp_path):
    """A run on eight images, those whose objects are largest, and their annotations."""
    folder = shared_dir / "data" / "coco_tiny"
    coco = json.loads((folder / "annotations" / "instances_train2017.json").read_text())
    smallest: dict[int, float] = {}
    for annotation in coco["annotations"]:
        image, area = annotation["image_id"], annotation["bbox"][2] * annotation["bbox"][3]
        smallest[image] = min(smallest.get(image, float("inf")), area)
    chosen = sorted(smallest, key=lambda image: -smallest[image])[:8]
    coco["images"] = [image for image in coco["images"] if image["id"] in chosen]
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in chosen]
    (tmp_path / "eight.json").write_text(json.dumps(coco))
    split = {"annotations": str(tmp_path / "eight.json"), "images": str(folder / "train2017")}
    run["dataset"].update(train=split, val=split)
    resize = {"name": "keep_ratio", "min_size": 128, "max_size": 192}
    run["image"].update(train={"resize": resize, "horizontal_flip": 0.0}, test={"resize": resize})
    run["backbone"] = {"name": "plain", "widths": [16, 32, 64, 64]}
    run["schedule"].update(iterations=400, lr=0.03, checkpoint_every=200)
    return run, tmp_path / "eight.json"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_training_on_eight_photographs_finds_their_objects(photographs, tmp_path):
    """AP50 on the training images themselves exceeds 0.5."""
    run, truth = photographs
    detector = run["detector"]
    detector["neck"] |= {"channels": 48, "first_level": 3, "num_levels": 4}
    detector["heads"]["dense"] |= {"num_convs": 2, "channels": 48, "norm": "group"}
    detector["dense"]["candidates"] |= {"base_scale": 3, "scales_per_octave": 2}
    detector["dense"]["sampler"] = {"name": "all"}
    detector["dense"]["objective"]["box"] = {"name": "giou", "weight": 2.0}
    train(run, tmp_path / "run", threads=1)
    predict(tmp_path / "run", tmp_path / "detections.json", threads=1)
    metrics = evaluate(truth, tmp_path / "detections.json")
    assert metrics["AP50"] > 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_training_of_masks_on_eight_photographs_finds_their_objects(photographs, tmp_path):
    """AP50 of boxes and of masks on the training images themselves exceeds 0.5."""
    run, truth = photographs
    detector = run["detector"] = copy.deepcopy(STAGED)
    detector["neck"] |= {"channels": 32, "first_level": 2, "num_levels": 5}
    detector["heads"] = {
        "rpn": {"name": "rpn", "channels": 64},
        "box": {"name": "fc", "num_fcs": 2, "channels": 128},
        "mask": {"name": "mask", "num_convs": 2, "channels": 32},
    }
    detector["rpn"]["sampler"]["num"] = 64
    detector["rpn"]["proposals"]["train"].update(pre_nms=100, post_nms=64)
    detector["rpn"]["proposals"]["test"].update(pre_nms=100, post_nms=64)
    detector["box"]["pooling"] = {"size": 5}
    detector["box"]["sampler"]["num"] = 32
    detector["box"]["objective"]["box"] = {"name": "smooth_l1", "weight": 1.0}
    detector["mask"] = {
        "pooling": {"size": 8},
        "objective": {"name": "linear", "mask": {"name": "mask_cross_entropy"}},
    }
    detector["steps"].append({"mask": "mask"})
    train(run, tmp_path / "run", threads=1)
    predict(tmp_path / "run", tmp_path / "detections.json", threads=1)
    metrics = evaluate_boxes_and_masks(truth, tmp_path / "detections.json")
    assert metrics["AP50"] > 0.5
    assert metrics["mask_AP50"] > 0.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_training_of_points_by_rank_on_eight_photographs_finds_their_objects(
    photographs, tmp_path
):
    """AP50 on the training images exceeds 0.5 without anchors (FoveaBox) and by Rank & Sort."""
    run, truth = photographs
    detector = run["detector"]
    detector["neck"] |= {"channels": 48, "first_level": 3, "num_levels": 4}
    detector["heads"] = {
        "dense": {"name": "fovea", "num_convs": 2, "channels": 48, "prior": 0.01, "norm": "group"}
    }
    detector["dense"] = {
        "candidates": {"name": "points", "base_edges": [16, 32, 64, 128]},
        "coder": {"name": "distances"},
        "assigner": {
            "name": "foveabox",
            "scale_ranges": [[1, 64], [32, 128], [64, 256], [128, 512]],
            "positive_scale": 0.4,
        },
        "sampler": {"name": "all"},
        "objective": RANK_SORT,
    }
    # a ranking orders scores and says nothing of their values
    detector["test"]["score_threshold"] = 0.001
    train(run, tmp_path / "run", threads=1)
    predict(tmp_path / "run", tmp_path / "detections.json", threads=1)
    metrics = evaluate(truth, tmp_path / "detections.json")
    assert metrics["AP50"] > 0.5
