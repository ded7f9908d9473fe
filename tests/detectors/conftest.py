"""Small detectors, and targets to train them on."""

import copy

import pytest
import torch

BACKBONE = {"name": "plain", "widths": [8, 8, 16, 16]}
DENSE = {
    "neck": {"name": "fpn", "channels": 16, "first_level": 3, "num_levels": 3},
    "heads": {"dense": {"name": "retina", "num_convs": 1, "channels": 16, "prior": 0.01}},
    "dense": {
        "candidates": {
            "name": "anchors",
            "base_scale": 2,
            "scales_per_octave": 2,
            "ratios": [0.5, 1.0, 2.0],
        },
        "coder": {"name": "deltas", "weights": [1.0, 1.0, 1.0, 1.0]},
        "assigner": {"name": "max_iou", "positive_iou": 0.5, "negative_iou": 0.4},
        "sampler": {"name": "all"},
        "objective": {
            "name": "linear",
            "class": {"name": "focal", "weight": 1.0, "alpha": 0.25, "gamma": 2.0},
            "box": {"name": "smooth_l1", "weight": 1.0, "beta": 0.11},
        },
    },
    "steps": ["dense"],
    "test": {
        "score_threshold": 0.05,
        "nms": {"name": "nms", "iou": 0.5},
        "pre_nms": 100,
        "max_detections": 50,
    },
}
STAGED = {
    "neck": {"name": "fpn", "channels": 16, "first_level": 2, "num_levels": 5, "extra": "pool"},
    "heads": {
        "rpn": {"name": "rpn", "channels": 16},
        "box": {"name": "fc", "num_fcs": 1, "channels": 16, "class_agnostic": False},
    },
    "rpn": {
        "candidates": {"name": "anchors", "base_scale": 4, "scales_per_octave": 1},
        "coder": {"name": "deltas", "weights": [1.0, 1.0, 1.0, 1.0]},
        "assigner": {"name": "max_iou", "positive_iou": 0.7, "negative_iou": 0.3,
                     "low_quality_iou": 0.3},
        "sampler": {"name": "combined", "num": 32, "positive_fraction": 0.5},
        "objective": {
            "name": "linear",
            "per": "samples",
            "class": {"name": "sigmoid_cross_entropy", "weight": 1.0},
            "box": {"name": "l1", "weight": 1.0},
        },
        "proposals": {
            "train": {"pre_nms": 50, "post_nms": 20, "nms_iou": 0.7, "min_size": 0.0},
            "test": {"pre_nms": 50, "post_nms": 20, "nms_iou": 0.7, "min_size": 0.0},
        },
    },
    "box": {
        "rois": {"name": "rpn", "add_ground_truth": True},
        "pooling": {"size": 3},
        "coder": {"name": "deltas", "weights": [10.0, 10.0, 5.0, 5.0]},
        "assigner": {"name": "max_iou", "positive_iou": 0.5, "negative_iou": 0.5,
                     "low_quality_iou": None},
        "sampler": {"name": "combined", "num": 16, "positive_fraction": 0.25},
        "objective": {
            "name": "linear",
            "per": "samples",
            "class": {"name": "softmax_cross_entropy", "weight": 1.0},
            "box": {"name": "l1", "weight": 1.0},
        },
    },
    "steps": ["rpn", {"box": "box", "iou": 0.5}],
    "test": {"score_threshold": 0.05, "nms": {"name": "nms", "iou": 0.5}, "max_detections": 50},
}  # fmt: skip


@pytest.fixture
def dense_settings():
    return {"backbone": dict(BACKBONE), "detector": copy.deepcopy(DENSE)}


@pytest.fixture
def staged_settings():
    return {"backbone": dict(BACKBONE), "detector": copy.deepcopy(STAGED)}


def make_target(boxes, labels=None, ignored=(), size=(64, 64), image_id=1):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.ones(len(boxes), dtype=torch.int64) if labels is None else torch.tensor(labels)
    ignored = torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": labels, "ignored_boxes": ignored, "image_size": size,
            "image_id": image_id}  # fmt: skip


def rngs(count):
    return [torch.Generator().manual_seed(index) for index in range(count)]
