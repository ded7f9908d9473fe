"""From image files to batches on the device."""

import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rebalance.data.coco import CocoDataset
from rebalance.detectors.canvas import Size
from rebalance.engine.batches import BatchPlan
from rebalance.engine.transforms import Preparation
from rebalance.errors import InputError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks a process to stop."""


class Batch(NamedTuple):
    """Images of one iteration (of one rank).

    Attributes:
        images: [B, 3, H, W] uint8, each in the upper left corner of the canvas, zero around it.
        targets: per image "boxes", "labels", "ignored_boxes", "image_id", "image_size" (h, w), and
            with masks "masks" [G, h, w] uint8, of the image's size, not the canvas's.
    """

    images: Tensor
    targets: list[dict[str, Any]]


class LoadFailure(NamedTuple):
    """What is wrong with an input file; a value, so that it crosses worker processes and ranks."""

    message: str


class BatchDataset(Dataset[Batch | LoadFailure]):
    """Batches by plan: reads, prepares and pads.

    Args:
        source: the images.
        image_settings: see ``Preparation``.
        seed: of the run; None: images as at test.
    """

    def __init__(
        self, source: CocoDataset, image_settings: Mapping[str, Any], seed: int | None
    ) -> None:
        self.source = source
        self.prepare = Preparation(image_settings, seed)

    def size_of(self, index: int, iteration: int = 0) -> Size:
        """(height, width) that the network gets an image in; at test the iteration is nothing."""
        source = self.source
        return self.prepare.size_of(source.sizes[index], source.image_ids[index], iteration)

    def sizes(self, iteration: int = 0) -> list[Size]:
        """``size_of`` every image."""
        return [self.size_of(index, iteration) for index in range(len(self.source))]

    def __getitem__(self, plan: BatchPlan) -> Batch | LoadFailure:
        """The batch of a plan; a file that cannot be used gives a ``LoadFailure``."""
        images = torch.zeros(len(plan.indices), 3, *plan.canvas, dtype=torch.uint8)
        targets = []
        for place, index in zip(images, plan.indices, strict=True):
            try:
                image, target = self.source.load(index)
            except InputError as error:
                return LoadFailure(str(error))
            image, target = self.prepare(image, target, plan.iteration)
            place[:, : image.shape[1], : image.shape[2]] = image
            targets.append(target)
        return Batch(images, targets)


def batch_loader(
    dataset: BatchDataset, plans: Any, num_workers: int, pin_memory: bool
) -> DataLoader[Batch | LoadFailure]:
    """Batches in the order of ``plans`` (an iterable), read ahead by ``num_workers`` processes."""
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=plans,
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_parent,
    )


def _leave_signals_to_parent(worker: int) -> None:
    """Signals reach all processes of a group; the parent needs batches to end in good order."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device; the copy overlaps with other work when the batch is pinned."""
    if device.type == "cpu":
        return batch
    targets = [
        {
            key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in target.items()
        }
        for target in batch.targets
    ]
    return Batch(batch.images.to(device, non_blocking=True), targets)


class Normaliser:
    """uint8 images -> what the network sees: mean 0, spread 1, and exactly 0 outside each image.

    Args:
        image_settings: "mean" and "std" of the three channels, in units of 0 ... 255.
        device: of the images.
    """

    def __init__(self, image_settings: Mapping[str, Any], device: torch.device) -> None:
        self.mean = torch.tensor(image_settings["mean"], device=device).reshape(3, 1, 1)
        self.std = torch.tensor(image_settings["std"], device=device).reshape(3, 1, 1)

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """[B, 3, H, W] uint8 and the (height, width) of each image -> [B, 3, H, W] float32."""
        result = (images.float() - self.mean) / self.std
        for image, (height, width) in zip(result, sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return result
