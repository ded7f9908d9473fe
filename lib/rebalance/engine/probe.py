"""What a run takes on this device, found out in a few iterations, without its data or weights.

The images are noise of a given size with a few objects; the network is fresh. Everything else is
the run's own: augmentation, losses, gradients, update, and a prediction.
"""

import resource
import statistics
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from typing_extensions import override

from rebalance.config.run import Run
from rebalance.data.coco import CocoDataset
from rebalance.detectors import build_detector
from rebalance.detectors.canvas import Size
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.seeds import keyed_rng
from rebalance.engine.speed import device_name, timed_prediction, timed_training
from rebalance.engine.trained_run import TrainedRun

ITERATIONS, WARM_UP = 5, 2
OBJECTS = 7  # of an image: about COCO's mean


class Pace(NamedTuple):
    """What one device takes for a run.

    Attributes:
        seconds_per_iteration: of training, of one device's part of a batch; median.
        seconds_per_image: of prediction; median.
    """

    seconds_per_iteration: float
    seconds_per_image: float


def measure_pace(run: Run, num_classes: int, size: Size, iterations: int = ITERATIONS) -> Pace:
    """Train a few iterations, predict a few images.

    Args:
        run: at some scale.
        num_classes: C, without background.
        size: (height, width) of its images before they are resized, pixels.
        iterations: measured, after ``WARM_UP`` others; also the number of images.
    """
    batch = max(1, run.schedule.batch_size // run.hardware.devices)
    count = WARM_UP + iterations
    fresh = _fresh_run(run, num_classes, size, max(batch, count))
    training = list(islice(timed_training(fresh, batch), count))[WARM_UP:]
    prediction = list(islice(timed_prediction(fresh), count))[WARM_UP:]
    return Pace(statistics.median(training), statistics.median(prediction))


def count_operations(run: Run, num_classes: int, size: Size) -> int:
    """Floating-point operations of a training iteration with one image: of its matrix products.

    Args:
        run: see ``measure_pace``.
        num_classes: C, without background.
        size: (height, width) of the image, pixels.
    """
    fresh = _fresh_run(run, num_classes, size, 1)
    with FlopCounterMode(display=False) as counter:
        next(timed_training(fresh, 1))
    return int(counter.get_total_flops())


def seconds_to_start() -> float:
    """CPU time of a process that trains before its first iteration: loading the libraries."""
    before = _time_of_children()
    subprocess.run([sys.executable, "-c", "import rebalance.engine.train"], check=True)
    return _time_of_children() - before


def this_device() -> str:
    """Name of the device that measurements are of."""
    return device_name(single_device_fabric("32-true").device)


class _Noise(CocoDataset):
    """Images of one size in memory, each with a few objects."""

    def __init__(self, count: int, size: Size, num_classes: int, masks: bool) -> None:
        self.annotations, self.images, self.masks = Path("noise"), Path("noise"), masks
        self.class_ids = list(range(1, num_classes + 1))
        self.class_names = [str(number) for number in self.class_ids]
        self.num_classes = num_classes
        self.image_ids, self.sizes = list(range(count)), [size] * count
        rng, (height, width) = keyed_rng(0, "noise"), size
        annotations = []
        for number in range(OBJECTS * count):
            x, y, w, h = (0.1 + 0.4 * torch.rand(4, generator=rng, dtype=torch.float64)).tolist()
            left, top, right, bottom = x * width, y * height, (x + w) * width, (y + h) * height
            annotations.append({
                "id": number,
                "image_id": number // OBJECTS,
                "category_id": number % num_classes + 1,
                "bbox": [left, top, right - left, bottom - top],
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                "iscrowd": 0,
            })  # fmt: skip
        self._gather(annotations)

    @override
    def load(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """See ``CocoDataset``."""
        rng = keyed_rng(index, "noise")
        image = torch.randint(256, (3, *self.sizes[index]), generator=rng, dtype=torch.uint8)
        return image, self.target(index)


def _fresh_run(run: Run, num_classes: int, size: Size, images: int) -> TrainedRun:
    """A run with the weights of no training."""
    settings = run.model_dump()
    settings["backbone"].pop("weights", None)
    # Loaded by the process itself: workers would take longer to start than these batches do.
    settings["hardware"]["num_workers"] = 0
    detector = build_detector(settings, num_classes)
    fabric = single_device_fabric(run.hardware.precision)
    noise = _Noise(images, size, num_classes, run.detector.needs_masks)
    return TrainedRun(settings, noise, detector.to(fabric.device), fabric)


def _time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
