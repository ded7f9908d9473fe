"""How often the losses of four images wait for the device, at a published size."""

import copy

import pytest
import torch
import yaml
from rebalance.detectors import build_detector
from waits import waits_of

from detectors.conftest import make_target, rngs

MOST = {"retinanet": 10, "faster_rcnn": 29}
LARGEST = (224, 320)
SIZES = [(200, 300), (210, 300), (224, 280), (200, 320)]


def scene():
    rng = torch.Generator().manual_seed(1)
    targets = []
    for image, (height, width) in enumerate(SIZES):
        corners = torch.rand(6, 2, generator=rng) * torch.tensor([width / 2, height / 2])
        sides = 20 + 80 * torch.rand(6, 2, generator=rng)
        boxes = torch.cat([corners, corners + sides], dim=1)
        targets.append(make_target(boxes.tolist(), size=(height, width), image_id=image))
    return torch.randn(len(SIZES), 3, *LARGEST, generator=rng), targets


def names(function):
    return [wait.split()[0] for wait in waits_of(function)]


def test_the_counters_see_what_waits():
    values = torch.arange(4.0)
    assert names(lambda: values[values > 1]) == ["index"]
    assert names(lambda: values[torch.tensor([1, 2])]) == []
    assert names(lambda: values.sum().item()) == ["_local_scalar_dense"]
    assert names(lambda: bool((values > 1).any())) == ["_local_scalar_dense"]
    assert names(lambda: (values > 1).nonzero()) == ["nonzero"]
    assert names(lambda: torch.where(values > 1)) == ["nonzero"]
    assert names(lambda: values.unique()) == ["_unique2"]
    assert names(values.tolist) == ["tolist"]
    assert names(lambda: torch.nonzero_static(values > 1, size=2)) == []
    assert names(lambda: torch.equal(values, values)) == ["equal"]


@pytest.mark.parametrize("name", list(MOST))
def test_a_training_iteration_of_four_images_waits_seldom(repository, name):
    settings = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())[name]
    torch.manual_seed(0)
    backbone = {"name": "resnet", "depth": 18, "norm": "frozen_batch", "frozen_stages": 1}
    detector = build_detector({"backbone": backbone, "detector": copy.deepcopy(settings)}, 80)
    images, targets = scene()
    detector(images, targets, rngs(len(targets)))  # what is kept per size of the images is made
    losses = []
    waits = waits_of(lambda: losses.append(detector(images, targets, rngs(len(targets)))))
    assert all(loss > 0 for loss in losses[0].values())
    assert 0 < len(waits) <= MOST[name], sorted(waits)
