"""How often an iteration reads from its device what the host waits for: a GPU then stands idle.

A bound that is exceeded names the lines.
"""

from collections import Counter

import pytest
import torch
from rebalance.config.experiments import load_experiments
from rebalance.detectors import build_detector
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.updates import Updates
from waits import waits_of

SCHEDULE = {
    "iterations": 10, "lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4, "clip_norm": 10.0,
    "warmup": {"iterations": 0}, "decay": {"name": "cosine", "final": 0.0}, "bias": None,
}  # fmt: skip


def batch(images, size):
    rng = torch.Generator().manual_seed(0)
    corners = size * 0.5 * torch.rand(images, 5, 2, generator=rng)
    boxes = torch.cat(
        [corners, corners + 10 + size * 0.3 * torch.rand(images, 5, 2, generator=rng)], dim=2
    )
    targets = [
        {
            "boxes": boxes[image],
            "labels": torch.randint(1, 4, (5,), generator=rng),
            "ignored_boxes": torch.zeros(0, 4),
            "masks": torch.ones(5, size, size, dtype=torch.uint8),
            "image_size": (size, size),
            "image_id": image,
        }
        for image in range(images)
    ]
    return torch.randn(images, 3, size, size, generator=rng), targets


@pytest.mark.parametrize(
    ("detector", "bound"),
    [
        # Numbers of positives and negatives, places of the positives, values of the log.
        ("retinanet", 3),
        ("atss", 3),
        ("rs_retinanet", 3 + 2),  # two more on a CPU alone
        # The first two once for each step, RoIs of each image (2), proposals: those with area, the
        # lengths of calls of the NMS (2, on a CPU alone), these calls (3), the best of each image.
        ("faster_rcnn", 2 * 2 + 2 + 1 + 2 + 3 + 1 + 1),
        ("mask_rcnn", 2 * 2 + 2 + 1 + 2 + 3 + 1 + 1 + 3),
    ],
)
def test_an_iteration_reads_no_more_from_the_device_than_it_must(repository, detector, bound):
    settings = load_experiments(repository, check_runs=False).detector_settings(detector, "shapes")
    network = {"backbone": {"name": "plain", "widths": [8, 8, 8, 8]}, "detector": settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        updates = Updates(
            single_device_fabric("32-true"), build_detector(network, 3).train(), SCHEDULE
        )
    images, targets = batch(2, 96)

    def iterate(iteration):
        rngs = [keyed_rng(0, iteration, image) for image in range(len(images))]
        updates.backward(iteration, images, targets, rngs)
        updates.apply()

    iterate(0)  # makes grids and the like
    found = Counter(waits_of(lambda: iterate(1)))
    assert found.total() <= bound, found
