"""What the benchmarks of training share: detectors, a random batch, iterations that take turns."""

import ctypes
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from rebalance.config.experiments import Experiments, load_experiments
from rebalance.detectors.objectives import total_loss
from torch import Tensor, nn

NUM_CLASSES = 80
NUM_OBJECTS = 7  # about COCO's mean
CANVAS_STEP = 32


@cache
def experiments() -> Experiments:
    """The repository's configuration."""
    return load_experiments(Path(__file__).resolve().parents[2], check_runs=False)


def random_batch(
    images: int,
    size: tuple[int, int],
    device: torch.device | str = "cpu",
    num_classes: int = NUM_CLASSES,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Images [B, 3, H, W] of noise, with elliptic objects of a tenth to two fifths of their side.

    Args:
        images: B.
        size: (height, width) of the images, pixels; the canvas is the next multiple of 32.
        device: of images and targets.
        num_classes: labels are 1 ... num_classes.
    """
    rng = torch.Generator().manual_seed(0)
    height, width = size
    targets = []
    for image in range(images):
        corner = torch.rand(NUM_OBJECTS, 2, generator=rng) * torch.tensor([width, height]) * 0.6
        sides = min(size) * (0.1 + 0.3 * torch.rand(NUM_OBJECTS, 2, generator=rng))
        boxes = torch.cat([corner, corner + sides], dim=1)
        target = {
            "boxes": boxes,
            "labels": torch.randint(1, num_classes + 1, (NUM_OBJECTS,), generator=rng),
            "ignored_boxes": torch.zeros(0, 4),
            "masks": ellipses(boxes, size),
        }
        target = {name: value.to(device) for name, value in target.items()}
        targets.append({**target, "image_size": size, "image_id": image})
    canvas = [-(-side // CANVAS_STEP) * CANVAS_STEP for side in size]
    batch = torch.zeros(images, 3, *canvas)
    batch[:, :, :height, :width] = torch.randn(images, 3, *size, generator=rng)
    return batch.to(device), targets


def ellipses(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """[G, height, width] uint8, the ellipse in each of the boxes [G, 4]."""
    (x1, y1, x2, y2), (height, width) = boxes[:, :, None, None].unbind(1), size
    x, y = torch.arange(width) + 0.5, torch.arange(height)[:, None] + 0.5
    across, along = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
    return (across**2 + along**2 <= 1).to(torch.uint8)


def loss_of(detector: nn.Module, images: Tensor, targets: list[dict[str, Any]]) -> Tensor:
    """The loss of a detector of ours, a scalar."""
    rngs = [torch.Generator().manual_seed(image) for image in range(len(images))]
    return total_loss(detector(images, targets, rngs))


def in_turn(
    iterations: Mapping[str, Callable[[], object]],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds of every round of each, taken in turn, so that noise hits all alike.

    Args:
        iterations: by name.
        rounds: that are measured.
        warm_up: rounds before these.
        clock: ``process_time`` does not count other work on the machine; of a device,
            ``device_time``.
    """
    seconds: dict[str, list[float]] = {name: [] for name in iterations}
    for place in range(warm_up + rounds):
        for name, iteration in iterations.items():
            start = clock()
            iteration()
            took = clock() - start
            if place >= warm_up:
                seconds[name].append(took)
    return seconds


def device_time() -> float:
    """Seconds, once CUDA has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def raised_memory(iteration: Callable[[], object], device: str) -> float:
    """MiB by which an iteration raises the memory in use at its peak, of the device or process."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        iteration()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else the iteration fills what earlier ones have left
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _peak_kibibytes()
    iteration()
    return (_peak_kibibytes() - before) / 1024


def _peak_kibibytes() -> int:
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak)
