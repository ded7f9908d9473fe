"""What happens to an image and its objects on the way to the network, in training and at test.

Everything drawn is a function of (seed, iteration, image id), and the size an image will have does
not depend on its pixels, so that batches are planned before any file is read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from rebalance.config.options import image as options_of
from rebalance.config.parse import parse
from rebalance.detectors.canvas import CANVAS_MULTIPLE, Size
from rebalance.engine.batches import resized_size
from rebalance.engine.seeds import keyed_rng, seed_of

Target = dict[str, Any]
BOX_FIELDS = ("boxes", "ignored_boxes")
EXPAND_PROBABILITY, MAX_EXPANSION = 0.5, 4.0
MIN_CROP = 0.3
CROP_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # 1: the image is left whole


@dataclass(frozen=True)
class KeepRatio:
    """The shorter side becomes ``min_size``, or less if the longer one would exceed ``max_size``.

    Attributes:
        min_size: pixels; of a pair [low, high] each image draws a whole number, ends included.
        max_size: pixels.
    """

    min_size: int | Sequence[int]
    max_size: int

    canvas_step = CANVAS_MULTIPLE

    def __call__(self, size: Size, rng: Callable[[], torch.Generator]) -> Size:
        """The size that an image of ``size`` (height, width) gets."""
        short = self.min_size
        if not isinstance(short, int):
            low, high = short
            short = int(torch.randint(low, high + 1, (), generator=rng()))
        return resized_size(size, short, self.max_size)


@dataclass(frozen=True)
class Square:
    """Both sides become ``size`` pixels, whatever the image's ratio.

    There is nothing to pad: detectors of a fixed input (SSD300, YOLACT at 550) count its pixels.
    """

    size: int

    canvas_step = 1

    def __call__(self, size: Size, rng: Callable[[], torch.Generator]) -> Size:
        """The size that an image of ``size`` (height, width) gets."""
        return self.size, self.size


class Window(NamedTuple):
    """A part of the plane, whole pixels of the image, which it may exceed on any side."""

    top: int
    left: int
    height: int
    width: int


class Preparation:
    """Augments (in training), resizes and flips (in training) images with their objects.

    Args:
        settings: of a run's images, see ``rebalance.config.options.image.Image``; ``mean`` is the
            colour around an image that is expanded.
        seed: of the run; None: as at test.

    Raises:
        InputError: settings that are unknown, not allowed, or do not go together.
    """

    def __init__(self, settings: Mapping[str, Any], seed: int | None) -> None:
        image = parse(options_of.Image, settings, "image")
        self.seed = seed
        self.flip_probability, self.augment = 0.0, None
        if seed is None:
            self.resize = image.test.resize.bind()()
            return
        self.resize = image.train.resize.bind()()
        self.flip_probability = image.train.horizontal_flip
        if image.train.augment is not None:
            fill = [round(value) for value in image.mean]
            self.augment = partial(AUGMENTATIONS[image.train.augment], fill=fill)

    def size_of(self, size: Size, image_id: int, iteration: int = 0) -> Size:
        """Size (height, width) that an image of ``size`` has for the network."""
        return self.resize(size, partial(self._rng, iteration, image_id, "size"))

    def __call__(
        self, image: Tensor, target: Mapping[str, Any], iteration: int = 0
    ) -> tuple[Tensor, Target]:
        """An image and its objects as the network gets them.

        Args:
            image: [3, H, W] uint8.
            target: what ``CocoDataset.load`` returns.
            iteration: of the training.

        Returns:
            [3, h, w] uint8; the target with "image_size" (h, w), its boxes and masks moved along.
        """
        image_id = target["image_id"]
        size = self.size_of((image.shape[1], image.shape[2]), image_id, iteration)
        if self.augment is not None:
            with _drawing_from(self.seed, iteration, image_id, "augment"):
                image, target = self.augment(image, target)
        return resize_and_flip(image, target, size, self._flips(iteration, image_id))

    def _flips(self, iteration: int, image_id: int) -> bool:
        if self.flip_probability == 0:
            return False
        rng = self._rng(iteration, image_id, "flip")
        return bool(torch.rand((), generator=rng) < self.flip_probability)

    def _rng(self, iteration: int, image_id: int, purpose: str) -> torch.Generator:
        assert self.seed is not None, "nothing is drawn at test"
        return keyed_rng(self.seed, iteration, image_id, purpose)


def resize_and_flip(
    image: Tensor, target: Mapping[str, Any], size: Size, flip: bool
) -> tuple[Tensor, Target]:
    """Resize and flip an image with its boxes and masks; masks by nearest neighbour, as published.

    Args:
        image: [3, H, W] uint8.
        target: what ``CocoDataset.load`` returns.
        size: (height, width) to resize to.
        flip: mirror left and right.
    """
    old = (image.shape[1], image.shape[2])
    moved: dict[str, Any] = {
        field: tv_tensors.BoundingBoxes(target[field], format="XYXY", canvas_size=old)
        for field in BOX_FIELDS
    }
    if "masks" in target:
        moved["masks"] = tv_tensors.Mask(target["masks"])
    if size != old:
        image = functional.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
        moved = {field: functional.resize(value, list(size)) for field, value in moved.items()}
    if flip:
        image = functional.horizontal_flip(image)
        moved = {field: functional.horizontal_flip(value) for field, value in moved.items()}
    plain = {field: value.as_subclass(Tensor) for field, value in moved.items()}
    return image, {**target, **plain, "image_size": size}


def ssd_augmentation(
    image: Tensor, target: Mapping[str, Any], fill: Sequence[int]
) -> tuple[Tensor, Target]:
    """Photometric distortion, expansion and crop (Liu et al., SSD, ECCV 2016, sections 2.2, 3.6).

    Draws from torch's global generator of the CPU, as the transforms of torchvision do. A crop
    needs the IoU drawn with one object whose centre lies in it (torchvision); the published
    mmdetection asks it of all objects.

    Args:
        image: [3, H, W] uint8.
        target: what ``CocoDataset.load`` returns.
        fill: colour around an expanded image, three of 0 ... 255.
    """
    image = _distort(image)
    size = (image.shape[1], image.shape[2])
    return cut(image, target, _ssd_window(size, target["boxes"]), fill)


AUGMENTATIONS = {"ssd": ssd_augmentation}

_distort = v2.RandomPhotometricDistort()
_expand = v2.RandomZoomOut(side_range=(1.0, MAX_EXPANSION))
_crop = v2.RandomIoUCrop(min_scale=MIN_CROP, sampler_options=list(CROP_IOUS))


def _ssd_window(size: Size, boxes: Tensor) -> Window:
    """Where to cut an image of ``size`` (height, width): expanded half of the time, then cropped.

    The two become one window, since an image expanded fourfold has sixteen times the pixels.
    """
    top, left = 0, 0
    if torch.rand(()) < EXPAND_PROBABILITY:
        placed = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size)
        padding = _expand.make_params([placed])["padding"]
        left, top = -padding[0], -padding[1]
        size = (size[0] + padding[1] + padding[3], size[1] + padding[0] + padding[2])
    offset = boxes.new_tensor([left, top, left, top])
    placed = tv_tensors.BoundingBoxes(boxes - offset, format="XYXY", canvas_size=size)
    crop = _crop.make_params([placed])
    if not crop:
        return Window(top, left, *size)
    return Window(top + crop["top"], left + crop["left"], crop["height"], crop["width"])


def cut(
    image: Tensor, target: Mapping[str, Any], window: Window, fill: Sequence[int]
) -> tuple[Tensor, Target]:
    """What a window shows of an image and its objects.

    Objects whose centre it leaves out are dropped, the boxes of the others are clipped. Of ignored
    regions all that is inside stays.

    Args:
        image: [3, H, W] uint8.
        target: what ``CocoDataset.load`` returns.
        window: overlaps the image.
        fill: colour outside the image, three of 0 ... 255.
    """
    offset = target["boxes"].new_tensor([window.left, window.top, window.left, window.top])
    corner = offset.new_tensor([window.width, window.height])
    limits = corner.repeat(2)
    boxes = target["boxes"] - offset
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = ((centers > 0) & (centers < corner)).all(dim=1)
    ignored = (target["ignored_boxes"] - offset).clamp(min=0).minimum(limits)
    result = {
        **target,
        "boxes": boxes[kept].clamp(min=0).minimum(limits),
        "labels": target["labels"][kept],
        "ignored_boxes": ignored[(ignored[:, 2:] > ignored[:, :2]).all(dim=1)],
    }
    if "masks" in target:
        result["masks"] = _cut_pixels(target["masks"][kept], window, [0])
    return _cut_pixels(image, window, fill), result


def _cut_pixels(pixels: Tensor, window: Window, fill: Sequence[int]) -> Tensor:
    """[N, H, W] -> [N, height, width]; ``fill`` has one value, or one for each of N."""
    height, width = pixels.shape[-2:]
    bottom, right = window.top + window.height, window.left + window.width
    inside = pixels[..., max(window.top, 0) : bottom, max(window.left, 0) : right]
    beyond = [-window.left, -window.top, right - width, bottom - height]
    return functional.pad(inside, [max(side, 0) for side in beyond], fill=list(fill))


@contextmanager
def _drawing_from(*key: Any) -> Iterator[None]:
    """torch's global generator of the CPU is seeded by a key, and afterwards what it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the generators of the GPUs, too.
        torch.default_generator.manual_seed(seed_of(*key))
        yield
