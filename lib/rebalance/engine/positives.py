"""The positives that a trained detector would be trained on next: positives.json.

The detector runs over the training images once as in training, with assignment, sampling and RoIs
from its own proposals, but with images prepared as at test and without any update. What its steps
train on is recorded on the way: the boxes of the positives (RoIs, or anchors), their ground truths
and labels, and the boxes that the regressor makes of them.

positives.json is one object; lengths are in pixels of the network's input unless said otherwise::

    run, seed, scale   of the training
    num_images         training images
    classes            [C] names, in the order of class_counts
    mean_positive_rois of the last head, per image, the ground truths left out below among them
    heads              one entry per stage, or one for a dense head:
      name               "stage1", ... or "dense"
      min_iou            the stage's IoU threshold; null for a dense head
      num_positives      over all images, without left_out
      left_out           positives equal to their ground truth: those that the RoI source appended
      mean_positives     num_positives / num_images
      iou_edges          [51], 0.5 ... 1
      iou_counts         [50], positives by IoU with their ground truth; below 0.5 in no bin
      class_counts       [C], positives by class
      corners            [<= 2500, 2] xy, top-left corners once the ground truth is mapped to the
                         box REFERENCE_BOX (rebalance.samplers.statistics); the first that come
      corners_near_half  [<= 1000, 2] xy, likewise, of positives with an IoU in [0.5, 0.6]
      regression         what the regressor does to their IoU, from "before" to "after":
        before_edges       [51], 0.5 ... 1
        after_edges        [51], 0 ... 1
        counts             [50][50], positives by IoU before (rows) and after (columns)
        bins               five, 0.5-0.6 ... 0.9-1: low, high (IoU before), num, and of these the
                           shares degraded (IoU falls) and lost (it falls under 0.5), and the mean
                           IoU errors (1 - IoU) error_before and error_after; null where num is 0
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rebalance.boxes import paired_iou
from rebalance.data.files import write_atomically
from rebalance.detectors.detector import Detector
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.trained_run import TrainedRun, open_trained_run
from rebalance.errors import InputError
from rebalance.samplers.statistics import ForegroundStatistics

POSITIVES = "positives.json"
NUM_BINS = 50
BEFORE_EDGES = tuple(0.5 + 0.5 * step / NUM_BINS for step in range(NUM_BINS + 1))
AFTER_EDGES = tuple(step / NUM_BINS for step in range(NUM_BINS + 1))
WIDE_EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LOST_IOU = 0.5
NUM_CORNERS, NUM_CORNERS_NEAR_HALF = 2_500, 1_000
NEAR_HALF = (0.5, 0.6)
DIGITS = 6
"""Decimals of the corners and means."""


def collect_positives(
    run_dir: str | Path, out: str | Path, *, split: str = "train", threads: int | None = None
) -> None:
    """Write positives.json (see the module) of a trained run.

    Samples are those of the iteration that would follow the training's last, for every image.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        out: the file to write, whole or not at all.
        split: "train" or "val".
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, no images, an unknown split or family, a class mapping
            that is not that of the training.
    """
    run = open_trained_run(run_dir, split, for_training=True, threads=threads)
    if len(run.dataset) == 0:
        raise InputError(f"{run.dataset.annotations}: there are no images")
    heads = positives_of(run)
    content = {
        "run": run.settings["name"],
        "seed": run.settings["seed"],
        "scale": run.settings["scale"],
        "num_images": len(run.dataset),
        "classes": list(run.dataset.class_names),
        "mean_positive_rois": round(heads[-1].num_seen / len(run.dataset), DIGITS),
        "heads": [head.summary(len(run.dataset)) for head in heads],
    }
    write_atomically(out, (json.dumps(content, allow_nan=False) + "\n").encode())


def positives_of(run: TrainedRun) -> list["HeadPositives"]:
    """The positives of each head over all images of a run's data set, each seen once.

    The detector's parameters are left as they are; running statistics, if it has any, move as in
    training.

    Raises:
        InputError: an image that cannot be read.
    """
    run.detector.train()
    seed, iteration = int(run.settings["seed"]), int(run.settings["schedule"]["iterations"])
    heads = _heads_of(run.detector, run.dataset.num_classes)
    for _, images, targets in run.batches("positives"):
        rngs = [keyed_rng(seed, iteration, target["image_id"], "sampling") for target in targets]
        with run.fabric.autocast(), torch.no_grad():
            steps = run.detector.train_steps(images, targets, rngs)
            for place, (_, matched, _) in enumerate(steps):
                if place in heads:
                    heads[place].add(
                        matched.reference_boxes,
                        matched.target_boxes,
                        matched.positive_labels,
                        matched.pred_boxes,
                    )
    return list(heads.values())


def _heads_of(detector: Detector, num_classes: int) -> dict[int, "HeadPositives"]:
    """What is to be filled, by the place of the step: those that find boxes of classes."""
    heads = dict[int, HeadPositives]()
    for place, step in enumerate(detector.steps):
        if step.kind == "box":
            heads[place] = HeadPositives(f"stage{len(heads) + 1}", num_classes, step.iou)
        elif step.kind == "dense":
            heads[place] = HeadPositives("dense", num_classes, None)
    return heads


class HeadPositives:
    """The positives of one head, summed up batch by batch.

    Args:
        name: of the head.
        num_classes: C.
        min_iou: the stage's IoU threshold; None for a dense head.
    """

    def __init__(self, name: str, num_classes: int, min_iou: float | None) -> None:
        self.name, self.min_iou = name, min_iou
        self.left_out = 0
        self.all = ForegroundStatistics(num_classes, BEFORE_EDGES, NUM_CORNERS)
        self.near_half = ForegroundStatistics(num_classes, BEFORE_EDGES, NUM_CORNERS_NEAR_HALF)
        self.counts = torch.zeros(NUM_BINS, NUM_BINS, dtype=torch.int64)
        # Per wide bin: number, degraded, lost, IoU before, IoU after.
        self.sums = torch.zeros(len(WIDE_EDGES) - 1, 5, dtype=torch.float64)

    def add(self, boxes: Tensor, gt_boxes: Tensor, labels: Tensor, refined: Tensor) -> None:
        """Add the positives of one batch.

        Args:
            boxes: [P, 4] xyxy, RoIs or anchors; exact copies of their ground truth are left out.
            gt_boxes: [P, 4] xyxy, the ground truth of each.
            labels: [P] int64, 1 ... C.
            refined: [P, 4] xyxy, what the regressor makes of ``boxes``.
        """
        kept = ~(boxes == gt_boxes).all(dim=1)
        self.left_out += int((~kept).sum())
        boxes, gt_boxes, labels, refined = (
            tensor[kept].detach().cpu() for tensor in (boxes, gt_boxes, labels, refined)
        )
        self.all.add(boxes, gt_boxes, labels)
        before = paired_iou(boxes.double(), gt_boxes.double())
        after = paired_iou(refined.double(), gt_boxes.double())
        near = (before >= NEAR_HALF[0]) & (before <= NEAR_HALF[1])
        self.near_half.add(boxes[near], gt_boxes[near], labels[near])
        rows, columns = _bin_of(before, BEFORE_EDGES), _bin_of(after, AFTER_EDGES)
        inside = rows >= 0
        places = rows[inside] * NUM_BINS + columns[inside]
        self.counts += torch.bincount(places, minlength=NUM_BINS**2).view(NUM_BINS, NUM_BINS)
        values = torch.stack([
            torch.ones_like(before), after < before, after < LOST_IOU, before, after
        ], dim=1).double()  # fmt: skip
        self.sums.index_add_(0, _bin_of(before, WIDE_EDGES)[inside], values[inside])

    @property
    def num_seen(self) -> int:
        """Positives, with those that are left out."""
        return self.all.num_positives + self.left_out

    def summary(self, num_images: int) -> dict[str, Any]:
        """The head's entry in positives.json."""
        return {
            "name": self.name,
            "min_iou": self.min_iou,
            "num_positives": self.all.num_positives,
            "left_out": self.left_out,
            "mean_positives": round(self.all.num_positives / num_images, DIGITS),
            "iou_edges": [round(edge, 4) for edge in BEFORE_EDGES],
            "iou_counts": self.all.iou_counts.tolist(),
            "class_counts": self.all.class_counts.tolist(),
            "corners": _rounded(self.all.points),
            "corners_near_half": _rounded(self.near_half.points),
            "regression": {
                "before_edges": [round(edge, 4) for edge in BEFORE_EDGES],
                "after_edges": [round(edge, 4) for edge in AFTER_EDGES],
                "counts": self.counts.tolist(),
                "bins": [
                    _bin_summary(low, high, sums)
                    for low, high, sums in zip(
                        WIDE_EDGES[:-1], WIDE_EDGES[1:], self.sums.tolist(), strict=True
                    )
                ],
            },
        }


def _bin_summary(low: float, high: float, sums: list[float]) -> dict[str, Any]:
    num, *totals = sums
    names = ("degraded", "lost", "error_before", "error_after")
    means = [total / num if num else None for total in totals]
    values = [
        None if mean is None else round(1 - mean if name.startswith("error") else mean, DIGITS)
        for name, mean in zip(names, means, strict=True)
    ]
    return {"low": low, "high": high, "num": int(num), **dict(zip(names, values, strict=True))}


def _bin_of(values: Tensor, edges: tuple[float, ...]) -> Tensor:
    """[N] int64 position of each value among the bins; the last has its upper edge; -1: below."""
    bounds = torch.tensor(edges, dtype=torch.float64)
    places = torch.bucketize(values, bounds, right=True) - 1
    return places.clamp(max=len(edges) - 2)


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(value, DIGITS) for value in point] for point in points.tolist()]
