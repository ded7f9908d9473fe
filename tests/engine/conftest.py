"""A training small enough to be repeated in every test, and its command line."""

import copy
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rebalance.data.coco import CocoDataset
from rebalance.data.shapes import make_shapes
from rebalance.engine.train import train

IMAGE = {
    "train": {"resize": {"name": "keep_ratio", "min_size": 48, "max_size": 64},
              "horizontal_flip": 0.5},
    "test": {"resize": {"name": "keep_ratio", "min_size": 48, "max_size": 64}},
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
}  # fmt: skip

DENSE = {
    # the backbone's last stage is not read: DDP must not wait for its gradient
    "neck": {"name": "fpn", "channels": 8, "first_level": 3, "num_levels": 2},
    "heads": {"dense": {"name": "retina", "num_convs": 1, "channels": 8, "prior": 0.01}},
    "dense": {
        "candidates": {
            "name": "anchors",
            "base_scale": 2,
            "scales_per_octave": 1,
            "ratios": [0.5, 1.0, 2.0],
        },
        "coder": {"name": "deltas", "weights": [1.0, 1.0, 1.0, 1.0]},
        "assigner": {"name": "max_iou", "positive_iou": 0.5, "negative_iou": 0.4},
        "sampler": {"name": "combined", "num": 64, "positive_fraction": 0.5},
        "objective": {
            "name": "linear",
            "class": {"name": "focal", "weight": 1.0},
            "box": {"name": "focal_eiou", "weight": 2.5},
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
    "neck": {"name": "fpn", "channels": 8, "first_level": 2, "num_levels": 4, "extra": "pool"},
    "heads": {
        "rpn": {"name": "rpn", "channels": 8},
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
            "box": {"name": "focal_eiou", "weight": 1.0},
        },
    },
    "steps": ["rpn", {"box": "box", "iou": 0.5}],
    "test": {"score_threshold": 0.05, "nms": {"name": "nms", "iou": 0.5}, "max_detections": 50},
}  # fmt: skip


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """14 + 6 images, a third wide, a third high, a third square."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_shapes(folder, num_train=14, num_val=6, image_size=64, seed=0, vary_aspect=True)
    return folder


def splits(folder):
    return {
        split: {"annotations": f"{folder}/annotations/{split}.json", "images": f"{folder}/images"}
        for split in ("train", "val")
    }


def tiny_run(folder):
    """Resolved settings of twelve iterations of four images."""
    return copy.deepcopy({
        "name": "tiny",
        "scale": "test",
        "seed": 3,
        "dataset": {"name": "shapes", **splits(folder)},
        "image": IMAGE,
        "backbone": {"name": "plain", "widths": [8, 8, 8, 8]},
        "detector": DENSE,
        "schedule": {"iterations": 12, "batch_size": 4, "lr": 0.01, "momentum": 0.9,
                     "weight_decay": 1e-4, "warmup": {"iterations": 4, "factor": 0.1},
                     "decay": {"name": "cosine", "final": 0.0}, "clip_norm": 10.0,
                     "checkpoint_every": 3},
        "variants": {"default": {}},
        "hardware": {"devices": 1, "precision": "32-true", "num_workers": 0},
    })  # fmt: skip


@pytest.fixture
def run(shapes):
    return tiny_run(shapes)


@pytest.fixture
def start(tmp_path):
    """Start ``rebalance train`` in a process of its own."""

    def start_training(run, out, options=(), **environment):
        file = tmp_path / "run_file.yaml"
        file.write_text(yaml.safe_dump(run))
        command = [sys.executable, "-m", "rebalance", "train", "--run-file", str(file),
                   "--threads", "1", "--out", str(out), *options]  # fmt: skip
        return subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    return start_training


@pytest.fixture
def finished(run, tmp_path):
    """The run, trained without interruption."""
    assert train(run, tmp_path / "finished", threads=1)
    return tmp_path / "finished"


def wait_for(path, process, timeout=90):
    deadline = time.monotonic() + timeout
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(process):
    """Numbers of the processes that it has started."""
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


OUTPUTS = [".finished", "log.csv", "model.safetensors", "run.yaml"]


def results(out):
    return {name: (out / name).read_bytes() for name in ("model.safetensors", "log.csv")}


class Interrupted(Exception):
    pass


@pytest.fixture
def interrupt(monkeypatch):
    """Let a training in this process fail when it is about to load the images of an iteration."""

    def interrupt_at(call):
        load = CocoDataset.load
        calls = iter(range(10**6))

        def failing(self, index):
            if next(calls) == call:
                raise Interrupted
            return load(self, index)

        monkeypatch.setattr(CocoDataset, "load", failing)
        return lambda: monkeypatch.setattr(CocoDataset, "load", load)

    return interrupt_at
