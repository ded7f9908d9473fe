"""Time of a training iteration with generated RoIs over that with the RPN's.

The published code takes 4.2 times as long (bbgen Table 5: 0.97 s for 128 generated RoIs with hard
positive mining, 0.23 s without); the bound is this project's promise. The iterations of the sources
take turns, and process time is what counts, so that other work on the machine matters little. The
image is as large as those of VOC at the paper's scale: mining runs the head once more, which weighs
the more the smaller the image is.
"""

import statistics
from functools import partial

import pytest
import torch
from iterations import experiments, in_turn, loss_of, random_batch
from rebalance.config.experiments import resolve_run
from rebalance.detectors import build_detector

IMAGE_SIZE = (600, 800)
RUNS = {
    "rpn": "faster_rcnn_r101_voc_random",
    "generated": "faster_rcnn_r101_voc_uniform_balanced",
    "generated, hard": "faster_rcnn_r101_voc_uniform_ohpm",
}


def detector_of(run):
    settings = resolve_run(experiments(), run, "paper").model_dump()
    settings["backbone"] |= {"depth": 50, "weights": None, "norm": "group"}
    source = settings["detector"]["box"]["rois"]
    if source["name"] == "generator":
        source["num_rois"] = 128
    torch.manual_seed(0)
    return build_detector(settings, num_classes=20)


def seconds_per_iteration(rounds):
    """Median of each run, in seconds."""
    images, targets = random_batch(1, IMAGE_SIZE, num_classes=20)
    detectors = {name: detector_of(run) for name, run in RUNS.items()}

    def iteration(detector):
        loss_of(detector, images, targets).backward()
        detector.zero_grad()

    turns = {name: partial(iteration, detector) for name, detector in detectors.items()}
    return {name: statistics.median(times) for name, times in in_turn(turns, rounds).items()}


@pytest.mark.benchmark(group="training")
def test_generated_rois_cost_less_than_5_percent_more_than_those_of_the_rpn(benchmark):
    seconds = benchmark.pedantic(seconds_per_iteration, (3,), rounds=1)
    ratios = {name: value / seconds["rpn"] for name, value in seconds.items()}
    benchmark.extra_info.update(seconds=seconds, ratios=ratios)
    assert ratios["generated"] < 1.05
    assert ratios["generated, hard"] < 1.05
