"""From image files to batches on the device."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from rebalance.data.coco import CocoDataset
from rebalance.engine.batches import BatchPlan, Size, resized_size
from rebalance.engine.seeds import keyed_rng
from rebalance.errors import InputError

BOX_FIELDS = ("boxes", "ignored_boxes")


class Batch(NamedTuple):
    """Images of one iteration (of one rank).

    Attributes:
        images: [B, 3, H, W] uint8, each in the upper left corner of the canvas, zero around it.
        targets: per image "boxes", "labels", "ignored_boxes", "image_id", "image_size" (h, w).
    """

    images: Tensor
    targets: list[dict[str, Any]]


class LoadFailure(NamedTuple):
    """What is wrong with an input file; a value, so that it crosses worker processes and ranks."""

    message: str


class BatchDataset(Dataset[Batch | LoadFailure]):
    """Batches by plan: reads, flips, resizes and pads.

    Args:
        source: the images.
        image_settings: "min_size", "max_size", "horizontal_flip" (a probability).
        seed: of the run; None: no flips (prediction).
    """

    def __init__(
        self, source: CocoDataset, image_settings: Mapping[str, Any], seed: int | None
    ) -> None:
        self.source = source
        self.flip_probability = float(image_settings["horizontal_flip"])
        self.seed = seed
        self.sizes = [
            resized_size(size, image_settings["min_size"], image_settings["max_size"])
            for size in source.sizes
        ]

    def __getitem__(self, plan: BatchPlan) -> Batch | LoadFailure:
        """The batch of a plan; a file that cannot be used gives a ``LoadFailure``."""
        images = torch.zeros(len(plan.indices), 3, *plan.canvas, dtype=torch.uint8)
        targets = []
        for place, index in zip(images, plan.indices, strict=True):
            try:
                image, target = self.source.load(index)
            except InputError as error:
                return LoadFailure(str(error))
            flip = self._flips(plan.iteration, target["image_id"])
            image, target = transform(image, target, self.sizes[index], flip)
            place[:, : image.shape[1], : image.shape[2]] = image
            targets.append(target)
        return Batch(images, targets)

    def _flips(self, iteration: int, image_id: int) -> bool:
        if self.seed is None or self.flip_probability == 0:
            return False
        rng = keyed_rng(self.seed, iteration, image_id, "flip")
        return bool(torch.rand((), generator=rng) < self.flip_probability)


def transform(
    image: Tensor, target: Mapping[str, Any], size: Size, flip: bool
) -> tuple[Tensor, dict[str, Any]]:
    """Resize and flip an image with its boxes.

    Args:
        image: [3, H, W] uint8.
        target: what ``CocoDataset.load`` returns.
        size: (height, width) to resize to.
        flip: mirror left and right.
    """
    old = (image.shape[1], image.shape[2])
    result = dict(target, image_size=size)
    boxes = {
        field: tv_tensors.BoundingBoxes(target[field], format="XYXY", canvas_size=old)
        for field in BOX_FIELDS
    }
    if size != old:
        image = functional.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
        boxes = {field: functional.resize(box, list(size)) for field, box in boxes.items()}
    if flip:
        image = functional.horizontal_flip(image)
        boxes = {field: functional.horizontal_flip(box) for field, box in boxes.items()}
    result.update({field: box.as_subclass(Tensor) for field, box in boxes.items()})
    return image, result


def batch_loader(
    dataset: BatchDataset, plans: Any, num_workers: int, pin_memory: bool
) -> DataLoader[Batch | LoadFailure]:
    """Batches in the order of ``plans`` (an iterable), read ahead by ``num_workers`` processes."""
    return DataLoader(
        dataset, batch_size=None, sampler=plans, num_workers=num_workers, pin_memory=pin_memory
    )


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
