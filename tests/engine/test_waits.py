"""How often an iteration reads from its device what the host waits for: a GPU then stands idle.

Counted on the CPU, where reading costs nothing, by the operators that would wait on a GPU. A bound
that is exceeded names the lines.
"""

import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
import rebalance
import torch
from rebalance.config.experiments import load_experiments
from rebalance.detectors import build_detector
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.updates import Updates
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

LIBRARY = Path(rebalance.__file__).parent
# Their result, or its size, is read from the device.
READING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2"}
READING |= {"unique_consecutive", "bincount"}
BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}
TO_HOST = {torch.Tensor.tolist, torch.Tensor.cpu, torch.Tensor.numpy}
SCHEDULE = {
    "iterations": 10, "lr": 1e-4, "momentum": 0.9, "weight_decay": 1e-4, "clip_norm": 10.0,
    "warmup": {"iterations": 0}, "decay": {"name": "cosine", "final": 0.0}, "bias": None,
}  # fmt: skip


class Operators(TorchDispatchMode):
    """Counts operators that read, in backward passes, too."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name in BY_MASK and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READING or by_mask:
            self.found[f"{name} {line_of_library()}"] += 1
        return function(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Counts methods that copy to the host, which no operator shows on a CPU."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in TO_HOST:
            self.found[f"{function.__name__} {line_of_library()}"] += 1
        return function(*args, **(kwargs or {}))


def line_of_library():
    frames = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(LIBRARY)]
    return f"{Path(frames[-1].filename).relative_to(LIBRARY)}:{frames[-1].lineno}"


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
        # lengths of calls of the NMS (2, on a CPU alone), the best of each image.
        ("faster_rcnn", 2 * 2 + 2 + 1 + 2 + 1 + 1),
        ("mask_rcnn", 2 * 2 + 2 + 1 + 2 + 1 + 1 + 3),
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
    found = Counter()
    for iteration in range(2):  # the first one makes grids and the like
        found.clear()
        rngs = [keyed_rng(0, iteration, image) for image in range(len(images))]
        with ExitStack() as stack:
            for mode in (Operators(found), Methods(found)):
                stack.enter_context(mode)
            updates.backward(iteration, images, targets, rngs)
            updates.apply()
    assert found.total() <= bound, found
