"""How often a training iteration waits for the device: a GPU then has nothing to do.

Counted on the CPU, as calls of the operators whose result decides a shape or a number in Python.
"""

import copy

import pytest
import torch
import yaml
from rebalance.detectors import build_detector
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from detectors.conftest import make_target, rngs

WAITING = {
    "_local_scalar_dense",  # item, int, float, bool
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nms",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
INDEXING = {"index", "index_put", "index_put_"}  # with a mask
MOST = {"retinanet": 10, "faster_rcnn": 29}
LARGEST = (224, 320)
SIZES = [(200, 300), (210, 300), (224, 280), (200, 320)]


class Operators(TorchDispatchMode):
    """Notes the operators that wait."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator._schema.name.split("::")[-1]
        masked = name in INDEXING and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITING or masked:
            self.waits.append(name)
        return operator(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Notes ``tolist``, which reaches no operator when the tensor is on the CPU."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.tolist:
            self.waits.append("tolist")
        return function(*args, **(kwargs or {}))


def waits_of(function):
    with Operators() as operators, Methods(operators.waits):
        function()
    return operators.waits


def scene():
    rng = torch.Generator().manual_seed(1)
    targets = []
    for image, (height, width) in enumerate(SIZES):
        corners = torch.rand(6, 2, generator=rng) * torch.tensor([width / 2, height / 2])
        sides = 20 + 80 * torch.rand(6, 2, generator=rng)
        boxes = torch.cat([corners, corners + sides], dim=1)
        targets.append(make_target(boxes.tolist(), size=(height, width), image_id=image))
    return torch.randn(len(SIZES), 3, *LARGEST, generator=rng), targets


def test_the_counters_see_what_waits():
    values = torch.arange(4.0)
    assert waits_of(lambda: values[values > 1]) == ["index"]
    assert waits_of(lambda: values[torch.tensor([1, 2])]) == []
    assert waits_of(lambda: values.sum().item()) == ["_local_scalar_dense"]
    assert waits_of(lambda: bool((values > 1).any())) == ["_local_scalar_dense"]
    assert waits_of(lambda: (values > 1).nonzero()) == ["nonzero"]
    assert waits_of(lambda: torch.where(values > 1)) == ["nonzero"]
    assert waits_of(lambda: values.unique()) == ["_unique2"]
    assert waits_of(values.tolist) == ["tolist"]
    assert waits_of(lambda: torch.nonzero_static(values > 1, size=2)) == []
    assert waits_of(lambda: torch.equal(values, values)) == ["equal"]


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
