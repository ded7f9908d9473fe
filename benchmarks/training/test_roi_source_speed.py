"""Time of a training iteration with generated RoIs over that with the RPN's.

The published code takes 4.2 times as long (bbgen Table 5: 0.97 s for 128 generated RoIs with hard
positive mining, 0.23 s without); the bound is this project's promise. The iterations of the sources
take turns, and process time is what counts, so that other work on the machine matters little. The
image is as large as those of VOC at the paper's scale: mining runs the head once more, which weighs
the more the smaller the image is.
"""

import statistics
import time

import pytest
import torch
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.detectors import build_detector
from rebalance.engine.seeds import keyed_rng

IMAGE_SIZE = (600, 800)
NUM_OBJECTS = 5
RUNS = {
    "rpn": "faster_rcnn_r101_voc_random",
    "generated": "faster_rcnn_r101_voc_uniform_balanced",
    "generated, hard": "faster_rcnn_r101_voc_uniform_ohpm",
}


def detector_of(run):
    settings = resolve_run(load_experiments(), run, "paper").model_dump()
    settings["backbone"] |= {"depth": 50, "weights": None, "norm": "group"}
    source = settings["detector"]["box"]["rois"]
    if source["name"] == "generator":
        source["num_rois"] = 128
    torch.manual_seed(0)
    return build_detector(settings, num_classes=20)


def one_step(detector, images, targets, iteration):
    start = time.process_time()
    rngs = [keyed_rng(0, iteration, target["image_id"]) for target in targets]
    torch.stack(list(detector(images, targets, rngs).values())).sum().backward()
    detector.zero_grad()
    return time.process_time() - start


def seconds_per_iteration(rounds):
    """Median of each run, in seconds."""
    height, width = IMAGE_SIZE
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, height, width, generator=rng)
    corner = torch.rand(NUM_OBJECTS, 2, generator=rng) * torch.tensor([width, height]) * 0.6
    sizes = (60 + 200 * torch.rand(NUM_OBJECTS, 2, generator=rng)).round()
    target = {
        "boxes": torch.cat([corner, corner + sizes], dim=1),
        "labels": torch.randint(1, 21, (NUM_OBJECTS,), generator=rng),
        "ignored_boxes": torch.zeros(0, 4),
        "image_size": IMAGE_SIZE,
        "image_id": 0,
    }
    detectors = {name: detector_of(run) for name, run in RUNS.items()}
    seconds = {name: [] for name in detectors}
    for iteration in range(rounds + 1):
        for name, detector in detectors.items():
            took = one_step(detector, images, [target], iteration)
            if iteration:  # the first warms up
                seconds[name].append(took)
    return {name: statistics.median(values) for name, values in seconds.items()}


@pytest.mark.benchmark(group="training")
def test_generated_rois_cost_less_than_5_percent_more_than_those_of_the_rpn(benchmark):
    seconds = benchmark.pedantic(seconds_per_iteration, (3,), rounds=1)
    ratios = {name: value / seconds["rpn"] for name, value in seconds.items()}
    benchmark.extra_info.update(seconds=seconds, ratios=ratios)
    assert ratios["generated"] < 1.05
    assert ratios["generated, hard"] < 1.05
