"""A detector of existing parts is YAML alone: a list of steps, what a scale says of it, a run."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from rebalance.cli import main
from rebalance.config.reading import merged
from rebalance.data.shapes import make_shapes
from rebalance.metrics import evaluate_boxes_and_masks
from safetensors.torch import load_file

ADDED = {
    # Not a shipped one: one box head in two loops, each with masks, and a ranking in every step.
    "detectors.yaml": """
looped_rank_sort:
  neck: {name: fpn, channels: 256, first_level: 2, num_levels: 5, extra: pool}
  heads:
    rpn: {name: rpn, channels: 256}
    refine: {name: fcc, class_agnostic: true}
    first_mask: {name: mask, num_convs: 4, channels: 256}
    last_mask: {name: mask, num_convs: 4, channels: 256, residual: true}
  rpn:
    candidates: {name: anchors, base_scale: 8, scales_per_octave: 1}
    coder: {name: deltas, weights: [10.0, 10.0, 5.0, 5.0]}
    assigner: {name: max_iou, positive_iou: 0.7, negative_iou: 0.3, low_quality_iou: 0.3}
    sampler: {name: all}
    objective: {name: ranking, class: {name: ap}, box: {name: giou}, boxes: unit}
    weight: 0.2
  box:
    rois: {name: rpn, add_ground_truth: true}
    assigner: {name: max_iou, low_quality_iou: null}
    sampler: {name: all}
    objective:
      name: ranking
      class: {name: rank_sort}
      box: {name: eiou}
      weigh: score
      balance: value
  mask:
    information_flow: always
    objective: {name: ranking, mask: {name: dice}, weigh: score, balance: value}
  steps:
    - rpn
    - {box: refine, iou: 0.5}
    - {mask: first_mask}
    - {box: refine, iou: 0.6, weight: 0.5, objective: {name: coupled_ranking, box: {name: giou}}}
    - {mask: last_mask, weight: 0.5}
  test: {score_threshold: 0.05, nms: {name: soft_nms}, average: logits}
""",
    "scales/shapes.yaml": """
detectors:
  looped_rank_sort:
    neck: {channels: 16, first_level: 2, num_levels: 4}
    heads:
      rpn: {channels: 16}
      first_mask: {num_convs: 1, channels: 16}
      last_mask: {num_convs: 1, channels: 16}
    rpn:
      candidates: {base_scale: 4}
      proposals: {train: {post_nms: 32}, test: {post_nms: 16}}
    mask: {pooling: {size: 8, num_levels: 4}}
schedules:
  focal_eiou: {iterations: 5, batch_size: 2, lr: 0.01}
""",
    "papers/mine.yaml": """
title: Something new
reference: "Somebody: somewhere"
runs:
  looped_r50:
    base: looped_rank_sort
    backbone: resnet50
    dataset: coco2017
    schedule: focal_eiou
    variants: {any_score: {test: {score_threshold: 0.0, max_detections: 20}}}
targets: {}
""",
}  # fmt: skip


@pytest.fixture
def workplace(tmp_path, repository, monkeypatch):
    """A copy of the configuration with a detector, a scale's entry and a run more, and data."""
    for folder in ("config", "notebooks"):
        shutil.copytree(repository / folder, tmp_path / folder)
    for name, text in ADDED.items():
        file = tmp_path / "config" / name
        there = yaml.safe_load(file.read_text()) if file.exists() else {}
        file.write_text(yaml.safe_dump(merged(there, yaml.safe_load(text)), sort_keys=False))
    make_shapes(tmp_path / "data" / "shapes", num_train=6, num_val=3, image_size=64, seed=0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_of_steps_in_yaml_trains_and_predicts(workplace, capsys):
    assert main(["show", "looped_r50", "--scale", "shapes"]) == 0
    assert "with 8 classes" in capsys.readouterr().out
    train = ["train", "looped_r50", "--scale", "shapes", "--threads", "1", "--out", "run"]
    assert main(train) == 0
    log = pd.read_csv("run/log.csv")
    assert len(log) == 5
    losses = {"rpn_class_loss", "rpn_box_loss", *(
        f"stage{loop}_{task}_loss" for loop in (1, 2) for task in ("class", "box", "mask")
    )}  # fmt: skip
    assert losses <= set(log.columns)
    assert (log[sorted(losses)] > 0).all(axis=None)
    heads = {name.split(".")[1] for name in load_file("run/model.safetensors") if "heads" in name}
    assert heads == {"rpn", "refine", "first_mask", "last_mask"}
    predict = ["predict", "--run-dir", "run", "--variant", "any_score", "--out", "found.json"]
    assert main([*predict, "--threads", "1"]) == 0
    found = json.loads((workplace / "found.json").read_text())
    assert len(found) == 3 * 20
    assert all(set(one) >= {"bbox", "segmentation"} for one in found)
    metrics = evaluate_boxes_and_masks("data/shapes/annotations/val.json", "found.json")
    assert 0 <= metrics["mask_AP50"] <= 1
