"""The one data format: COCO JSON beside an image folder, validated when it is read.

``<root>/<dataset>/annotations/{train,val}.json`` and ``<root>/<dataset>/images/``; ``file_name`` is
relative to ``images/``. The format is that of Lin et al., "Microsoft COCO" (ECCV 2014),
https://cocodataset.org/#format-data, with ``area`` and ``iscrowd`` always present and one addition:
``ignore: 1`` marks an object that neither trains nor counts (Pascal VOC's ``difficult``).
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.utils.data import Dataset

from rebalance.errors import InputError
from rebalance.inputs import check_is_file, is_inside, read_json
from rebalance.rle import MAX_PIXELS, SegmentationError, compressed_masks

_IMAGE_FIELDS = ("id", "file_name", "width", "height")
_CATEGORY_FIELDS = ("id", "name")
_ANNOTATION_FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")


def load_coco(path: str | Path) -> dict[str, Any]:
    """Read and validate a COCO JSON file.

    Raises:
        InputError: no such file, not JSON, or what `validate_coco` refuses.
    """
    coco = read_json(path, "annotation file")
    validate_coco(coco, path)
    return coco


def validate_coco(coco: Any, source: str | Path) -> None:
    """Check everything that training and evaluation rely on; images may be without objects.

    Args:
        coco: the parsed JSON.
        source: the file it came from, for the messages.

    Raises:
        InputError: a missing section or key, a value of the wrong kind, a duplicate id or file
            name, an unknown image or category id, a box without extent (x2 <= x1 or y2 <= y1) or
            outside its image. The message names file, record, its id and the field.
    """
    if not isinstance(coco, Mapping):
        raise InputError(f"{source}: must hold an object, got {type(coco).__name__}")
    for section in ("images", "annotations", "categories"):
        if not isinstance(coco.get(section), list):
            raise InputError(f"{source}: {section!r} must be a list, got {_kind(coco, section)}")
    if not coco["categories"]:
        raise InputError(f"{source}: 'categories' is empty")
    images = _index_by_id(coco["images"], "image", _IMAGE_FIELDS, source)
    categories = _index_by_id(coco["categories"], "category", _CATEGORY_FIELDS, source)
    annotations = _index_by_id(coco["annotations"], "annotation", _ANNOTATION_FIELDS, source)
    file_names: set[str] = set()
    for image in images.values():
        _check_image(image, file_names, source)
    for category in categories.values():
        if not isinstance(category["name"], str):
            raise _refused(source, "category", category, "name", "must be a string")
    for annotation in annotations.values():
        _check_annotation(annotation, images, categories, source)


def _kind(record: Mapping[str, Any], key: str) -> str:
    return type(record[key]).__name__ if key in record else "nothing"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(
    source: str | Path, kind: str, record: Mapping[str, Any], field: str, allowed: str
) -> InputError:
    got = record[field]
    return InputError(f"{source}: {kind} {record['id']}: {field} {allowed}, got {got!r}")


def _index_by_id(
    records: list[Any], kind: str, fields: Iterable[str], source: str | Path
) -> dict[int, dict[str, Any]]:
    by_id: dict[int, dict[str, Any]] = {}
    for position, record in enumerate(records):
        where = f"{source}: {kind} number {position}"
        if not isinstance(record, dict):
            raise InputError(f"{where}: must be an object, got {type(record).__name__}")
        for field in fields:
            if field not in record:
                raise InputError(f"{where} (id {record.get('id')}): missing key {field!r}")
        if not _is_int(record["id"]):
            raise InputError(f"{where}: id must be an integer, got {record['id']!r}")
        if record["id"] in by_id:
            raise InputError(f"{where}: id {record['id']} is used twice")
        by_id[record["id"]] = record
    return by_id


def _check_image(image: dict[str, Any], file_names: set[str], source: str | Path) -> None:
    name = image["file_name"]
    if not is_inside(name):
        allowed = "must be a name and stay inside the image folder"
        raise _refused(source, "image", image, "file_name", allowed)
    if name in file_names:
        raise _refused(source, "image", image, "file_name", "must be used once")
    file_names.add(name)
    for field in ("width", "height"):
        if not _is_int(image[field]) or image[field] < 1:
            raise _refused(source, "image", image, field, "must be a positive integer")
    if image["height"] > MAX_PIXELS // image["width"]:
        allowed = f"must give at most {MAX_PIXELS} pixels with width {image['width']}"
        raise _refused(source, "image", image, "height", allowed)


def _check_annotation(
    annotation: dict[str, Any],
    images: Mapping[int, dict[str, Any]],
    categories: Mapping[int, dict[str, Any]],
    source: str | Path,
) -> None:
    def refused(field: str, allowed: str) -> InputError:
        return _refused(source, "annotation", annotation, field, allowed)

    if annotation["id"] < 1:
        # pycocotools stores the id of the matched object and reads 0 as "no match".
        raise refused("id", "must be at least 1")
    if not _is_int(annotation["image_id"]) or annotation["image_id"] not in images:
        raise refused("image_id", "must be the id of one of the images")
    if not _is_int(annotation["category_id"]) or annotation["category_id"] not in categories:
        raise refused("category_id", f"must be one of {_shortened(sorted(categories))}")
    for field in ("iscrowd", "ignore"):
        if annotation.get(field, 0) not in (0, 1):
            raise refused(field, "must be 0 or 1")
    if not _is_number(annotation["area"]) or annotation["area"] < 0:
        raise refused("area", "must be a number of square pixels, 0 or more")
    bbox = annotation["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise refused("bbox", "must be four finite numbers [x, y, width, height]")
    x, y, width, height = bbox
    if width <= 0 or height <= 0:
        side = "x2 <= x1" if width <= 0 else "y2 <= y1"
        raise refused("bbox", f"[x, y, width, height] must have an extent ({side})")
    image = images[annotation["image_id"]]
    if x >= image["width"] or y >= image["height"] or x + width <= 0 or y + height <= 0:
        size = f"{image['width']} x {image['height']}"
        raise refused("bbox", f"must overlap image {image['id']} of {size} pixels")


def _shortened(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:12]))
    return f"[{shown}, ... {values[-1]}]" if len(values) > 12 else f"[{shown}]"


def read_image(path: str | Path) -> Tensor:
    """A JPEG or PNG file as uint8 RGB [3, H, W]; EXIF rotation is not applied, as in COCO and VOC.

    Gray values of 16 bits are brought to 8.

    Raises:
        InputError: the file is absent, cannot be decoded to its last pixel, or its values have no
            known range (32-bit numbers).
    """
    check_is_file(path, "image file")
    try:
        with Image.open(path) as image:
            if image.mode in ("I", "F"):
                raise InputError(
                    f"{path}: the image has 32-bit values of unknown range; 8 or 16 bits are needed"
                )
            if image.mode.startswith("I;16"):
                # Pillow would cut off at 255.
                gray = (np.array(image) >> 8).astype(np.uint8)
                pixels = np.repeat(gray[..., None], 3, axis=2)
            else:
                pixels = np.array(image.convert("RGB"))
    # Pillow reports a damaged file by any of these, depending on the format and on where it breaks.
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: the image cannot be decoded: {error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO segmentation (polygons, compressed or uncompressed RLE) as uint8 [height, width]."""
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    return coco_mask.decode(rle)


class CocoDataset(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Images and their objects, in the order of the image ids.

    Labels run from 1 to ``num_classes`` in the order of the category ids; 0 is background. Boxes
    are xyxy in pixels, clipped to the image (COCO's own reach up to a pixel beyond it). Crowd
    regions (``iscrowd``) and ignored objects (``ignore``) are apart, in ``ignored_boxes``.

    Args:
        annotations: COCO JSON file.
        images: folder that ``file_name`` is relative to.
        masks: also give instance masks. They are checked at once and kept compressed: all of
            train2017 takes about 0.2 GB and a minute.

    Attributes:
        num_classes: number of categories.
        class_ids: category id of label 1, 2, ...
        class_names: name of label 1, 2, ...
        image_ids: image id of each index.
        sizes: (height, width) of each index, pixels.

    Raises:
        InputError: what `load_coco` refuses, no image folder, or, with ``masks``, an object
            without a segmentation of its image's size.
    """

    def __init__(self, annotations: str | Path, images: str | Path, *, masks: bool = False):
        self.annotations = Path(annotations)
        self.images = Path(images)
        self.masks = masks
        coco = load_coco(self.annotations)
        if not self.images.is_dir():
            raise InputError(f"{self.images}: no such image folder (images of {annotations})")
        categories = sorted(coco["categories"], key=lambda category: category["id"])
        self.class_ids: list[int] = [category["id"] for category in categories]
        self.class_names: list[str] = [category["name"] for category in categories]
        self.num_classes = len(categories)
        records = sorted(coco["images"], key=lambda image: image["id"])
        self.image_ids: list[int] = [image["id"] for image in records]
        self.sizes: list[tuple[int, int]] = [(image["height"], image["width"]) for image in records]
        self._files: list[str] = [image["file_name"] for image in records]
        self._gather(coco["annotations"])

    def _gather(self, annotations: list[dict[str, Any]]) -> None:
        # Flat arrays, not one object per annotation: workers share their pages after a fork.
        index_of = {image_id: index for index, image_id in enumerate(self.image_ids)}
        label_of = {class_id: label for label, class_id in enumerate(self.class_ids, start=1)}
        annotations = sorted(annotations, key=lambda a: (index_of[a["image_id"]], a["id"]))
        counts = np.bincount(
            np.array([index_of[a["image_id"]] for a in annotations], dtype=np.int64),
            minlength=len(self.image_ids),
        )
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        xywh = np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(-1, 4)
        heights, widths = np.array(self.sizes, dtype=np.float64).reshape(-1, 2).repeat(counts, 0).T
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        limits = np.stack([widths, heights, widths, heights], axis=1)
        self._boxes = np.clip(xyxy, 0, limits).astype(np.float32)
        empty = np.flatnonzero((self._boxes[:, 2:] <= self._boxes[:, :2]).any(axis=1))
        if empty.size:
            annotation = annotations[empty[0]]
            raise InputError(
                f"{self.annotations}: annotation {annotation['id']}: bbox {annotation['bbox']} has "
                "no extent within its image (x2 <= x1 or y2 <= y1 in single precision)"
            )
        self._labels = np.array([label_of[a["category_id"]] for a in annotations], dtype=np.int64)
        self._ignored = np.array(
            [bool(a["iscrowd"] or a.get("ignore", 0)) for a in annotations], dtype=bool
        )
        if self.masks:
            self._gather_masks(annotations)

    def _gather_masks(self, annotations: list[dict[str, Any]]) -> None:
        """Compressed masks of the objects, one after the other; the ignored ones have none."""
        kept = [a for a, ignored in zip(annotations, self._ignored, strict=True) if not ignored]
        for annotation in kept:
            if "segmentation" not in annotation:
                raise InputError(
                    f"{self.annotations}: annotation {annotation['id']}: missing key "
                    "'segmentation', needed for masks"
                )
        size_of = dict(zip(self.image_ids, self.sizes, strict=True))
        try:
            masks = compressed_masks(
                [annotation["segmentation"] for annotation in kept],
                [size_of[annotation["image_id"]] for annotation in kept],
            )
        except SegmentationError as error:
            raise InputError(
                f"{self.annotations}: annotation {kept[error.index]['id']}: {error}"
            ) from error
        lengths = np.zeros(len(annotations), dtype=np.int64)
        lengths[~self._ignored] = [len(mask["counts"]) for mask in masks]
        self._mask_ends = np.cumsum(lengths)
        self._mask_bytes = np.frombuffer(b"".join(mask["counts"] for mask in masks), np.uint8)

    def _mask(self, row: int, height: int, width: int) -> np.ndarray:
        """Mask of an object that is not ignored, uint8 [height, width]."""
        first = self._mask_ends[row - 1] if row else 0
        counts = self._mask_bytes[first : self._mask_ends[row]].tobytes()
        return coco_mask.decode({"size": [height, width], "counts": counts})

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """The same as `load`."""
        return self.load(index)

    def target(self, index: int) -> dict[str, Any]:
        """The objects of one image, without reading its pixels.

        Returns:
            ``boxes`` [G, 4] float32 xyxy, ``labels`` [G] int64 in 1..C, ``ignored_boxes`` [K, 4],
            ``image_id`` int; with ``masks=True`` also ``masks`` [G, H, W] uint8.
        """
        rows = np.arange(self._starts[index], self._starts[index + 1])
        ignored = self._ignored[rows]
        kept = rows[~ignored]
        target: dict[str, Any] = {
            "boxes": torch.from_numpy(self._boxes[kept]),
            "labels": torch.from_numpy(self._labels[kept]),
            "ignored_boxes": torch.from_numpy(self._boxes[rows[ignored]]),
            "image_id": self.image_ids[index],
        }
        if self.masks:
            height, width = self.sizes[index]
            stack = np.zeros((len(kept), height, width), dtype=np.uint8)
            for position, row in enumerate(kept):
                stack[position] = self._mask(row, height, width)
            target["masks"] = torch.from_numpy(stack)
        return target

    def load(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        """One image, uint8 [3, H, W], and its `target`.

        Raises:
            InputError: the image file is absent, damaged, or not of the annotated size.
        """
        path = self.images / self._files[index]
        image = read_image(path)
        if tuple(image.shape[1:]) != self.sizes[index]:
            height, width = self.sizes[index]
            raise InputError(
                f"{path}: the image has {image.shape[2]} x {image.shape[1]} pixels, but "
                f"{self.annotations} says {width} x {height} (image {self.image_ids[index]})"
            )
        return image, self.target(index)
