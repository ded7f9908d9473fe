"""COCO ground truth and results files as arrays, checked on the way in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError
from rebalance.inputs import read_json
from rebalance.metrics.keypoints import keypoint_boxes, read_keypoints
from rebalance.metrics.masks import mask_areas, mask_boxes, read_masks
from rebalance.metrics.records import (
    Record,
    box_column,
    flag_column,
    integer_column,
    number_column,
    positions_of,
    refuse,
    unique_ids,
)
from rebalance.rle import MAX_PIXELS

IOU_TYPES = ("bbox", "segm", "keypoints")
AREAS_OF = ("boxes", "masks")
Source = str | Path


@dataclass(frozen=True)
class GroundTruth:
    """Annotated objects, sorted by (class, image), file order within.

    Attributes:
        name: the file, for messages.
        image_ids: int64 [I], ascending.
        class_ids: int64 [K], ascending; every array over classes is in this order.
        class_names: K names.
        ids: int64 [G], the annotations' ids.
        images: int64 [G], position in ``image_ids``.
        classes: int64 [G], position in ``class_ids``.
        boxes: float64 [G, 4] xyxy pixels.
        box_areas: float64 [G] px^2, width times height.
        areas: float64 [G] px^2, the annotation's ``area``: decides small, medium, large.
        crowd: bool [G]; a crowd region takes any number of detections, and they are ignored.
        ignored: bool [G]; crowd regions, objects marked ``ignore``, and, for keypoints, objects
            without a labelled keypoint. They are no false negatives and make no true positives.
        image_sizes: int64 [I, 2] height, width in pixels (segm only).
        masks: G run-length masks (segm only).
        keypoints: float64 [G, P, 3] x, y, visibility (keypoints only).
    """

    name: str
    image_ids: NDArray[np.int64]
    class_ids: NDArray[np.int64]
    class_names: list[str]
    ids: NDArray[np.int64]
    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    box_areas: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    image_sizes: NDArray[np.int64] | None = None
    masks: list[Record] | None = None
    keypoints: NDArray[np.float64] | None = None

    @property
    def groups(self) -> NDArray[np.int64]:
        """int64 [G], ascending: one number per (class, image)."""
        return self.classes * len(self.image_ids) + self.images


@dataclass(frozen=True)
class Detections:
    """Detections sorted by (class, image, falling score); equal scores keep the file's order.

    Attributes:
        name: the file, for messages.
        records: int64 [D], position in the file.
        images, classes, boxes, box_areas, areas, masks, keypoints: as in :class:`GroundTruth`.
        scores: float64 [D].
        ranks: int64 [D], 0 for the highest score of its class in its image.
    """

    name: str
    records: NDArray[np.int64]
    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]
    boxes: NDArray[np.float64]
    box_areas: NDArray[np.float64]
    areas: NDArray[np.float64]
    groups: NDArray[np.int64]
    masks: list[Record] | None = None
    keypoints: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """D."""
        return len(self.scores)


def load_ground_truth(source: Source | Record, iou_type: str = "bbox") -> GroundTruth:
    """Ground truth from a COCO instances (or person keypoints) file or its content.

    Raises:
        InputError: names the file, the record's index and the field.
    """
    name, content = _open(source, "ground truth")
    if not isinstance(content, dict):
        raise InputError(f"{name}: must be an object with images, annotations and categories")
    images, annotations, categories = (
        _list_of_records(name, content, key) for key in ("images", "annotations", "categories")
    )
    image_ids = unique_ids(f"{name}: images", images)
    image_order = np.argsort(image_ids)
    image_ids = image_ids[image_order]
    class_ids = unique_ids(f"{name}: categories", categories)
    class_order = np.argsort(class_ids)
    class_ids = class_ids[class_order]
    names = [str(category.get("name", category["id"])) for category in categories]

    label = f"{name}: annotations"
    ids = unique_ids(label, annotations)
    image = positions_of(
        label, "image_id", integer_column(label, annotations, "image_id"), image_ids, "images"
    )
    category = positions_of(
        label,
        "category_id",
        integer_column(label, annotations, "category_id"),
        class_ids,
        "categories",
    )
    order = np.lexsort((image, category))
    xywh = box_column(label, annotations)
    crowd = flag_column(annotations, "iscrowd")
    ignored = crowd | flag_column(annotations, "ignore")
    image_sizes, masks, keypoints = None, None, None
    if iou_type == "segm":
        image_sizes = _image_sizes(name, images)[image_order]
        masks = read_masks(label, annotations, image_sizes[image])
        masks = [masks[index] for index in order]
    if iou_type == "keypoints":
        keypoints = read_keypoints(label, annotations)
        ignored |= (keypoints[:, :, 2] > 0).sum(axis=1) == 0
        keypoints = keypoints[order]
    return GroundTruth(
        name=name,
        image_ids=image_ids,
        class_ids=class_ids,
        class_names=[names[index] for index in class_order],
        ids=ids[order],
        images=image[order],
        classes=category[order],
        boxes=_xyxy(xywh)[order],
        box_areas=(xywh[:, 2] * xywh[:, 3])[order],
        areas=number_column(label, annotations, "area")[order],
        crowd=crowd[order],
        ignored=ignored[order],
        image_sizes=image_sizes,
        masks=masks,
        keypoints=keypoints,
    )


def load_detections(
    source: Source | Sequence[Record],
    ground_truth: GroundTruth,
    iou_type: str = "bbox",
    max_dets: int | None = None,
    areas_of: str = "boxes",
) -> Detections:
    """Detections from a COCO results file (a list of records) or its content; none is a value.

    Of each class in each image only the ``max_dets`` with the highest scores are kept. For segm a
    ``mask_score`` is taken in place of ``score`` where results have one (Mask Scoring R-CNN).
    The area of a detection, which decides small, medium, large, is that of its ``bbox`` if it has
    one, else of its mask, else of the box around its keypoints, as in pycocotools;
    ``areas_of="masks"`` takes the mask's area in any case (segm only), as mmdetection does.

    Raises:
        InputError: names the file, the record's index and the field.
    """
    if areas_of not in AREAS_OF:
        raise InputError(f"areas_of must be one of {AREAS_OF}, got {areas_of!r}")
    name, records = _open(source, "detections")
    if not isinstance(records, list):
        raise InputError(f"{name}: must be a list of results, got {type(records).__name__}")
    label = f"{name}: results"
    image = positions_of(
        label,
        "image_id",
        integer_column(label, records, "image_id"),
        ground_truth.image_ids,
        f"the images of {ground_truth.name}",
    )
    category = positions_of(
        label,
        "category_id",
        integer_column(label, records, "category_id"),
        ground_truth.class_ids,
        f"the categories of {ground_truth.name}",
    )
    has_own = iou_type == "segm" and bool(records) and "mask_score" in records[0]
    scores = number_column(label, records, "mask_score" if has_own else "score")
    order = np.lexsort((-scores, image, category))
    groups = (category * len(ground_truth.image_ids) + image)[order]
    ranks = _rank_in_group(groups)
    if max_dets is not None:
        kept = ranks < max_dets
        order, groups, ranks = order[kept], groups[kept], ranks[kept]
    xywh, masks, keypoints = _detected_shapes(label, records, ground_truth, image, iou_type)
    areas = xywh[:, 2] * xywh[:, 3]
    if masks is not None and (areas_of == "masks" or not _have_boxes(records)):
        areas = mask_areas(masks)
    return Detections(
        name=name,
        records=order,
        images=image[order],
        classes=category[order],
        scores=scores[order],
        ranks=ranks,
        boxes=_xyxy(xywh)[order],
        box_areas=(xywh[:, 2] * xywh[:, 3])[order],
        areas=areas[order],
        groups=groups,
        masks=None if masks is None else [masks[index] for index in order],
        keypoints=None if keypoints is None else keypoints[order],
    )


def _detected_shapes(
    label: str,
    records: list[Record],
    ground_truth: GroundTruth,
    images: NDArray[np.int64],
    iou_type: str,
) -> tuple[NDArray[np.float64], list[Record] | None, NDArray[np.float64] | None]:
    """Boxes (xywh [D, 4]), masks and keypoints of the records, what the IoU type has of them."""
    if iou_type == "bbox":
        return box_column(label, records), None, None
    if iou_type == "segm":
        assert ground_truth.image_sizes is not None
        masks = read_masks(label, records, ground_truth.image_sizes[images])
        xywh = box_column(label, records) if _have_boxes(records) else mask_boxes(masks)
        return xywh, masks, None
    assert ground_truth.keypoints is not None
    num_keypoints = ground_truth.keypoints.shape[1] if len(ground_truth.keypoints) else None
    keypoints = read_keypoints(label, records, num_keypoints)
    xywh = box_column(label, records) if _have_boxes(records) else keypoint_boxes(keypoints)
    return xywh, None, keypoints


def _open(source: Any, default_name: str) -> tuple[str, Any]:
    """Name and content of a path, or of content given directly."""
    if isinstance(source, Source):
        return str(source), read_json(source)
    return default_name, source


def _list_of_records(name: str, content: Record, key: str) -> list[Record]:
    records = content.get(key)
    if not isinstance(records, list):
        raise InputError(f"{name}: {key} must be a list, got {type(records).__name__}")
    if key == "categories" and not records:
        raise InputError(f"{name}: categories must not be empty")
    return records


def _image_sizes(name: str, images: list[Record]) -> NDArray[np.int64]:
    label = f"{name}: images"
    height, width = (integer_column(label, images, side) for side in ("height", "width"))
    for name, side, other in (("height", height, width), ("width", width, height)):
        bad = (side < 1) | (side > MAX_PIXELS // np.maximum(other, 1))
        if bad.any():
            index = int(bad.argmax())
            allowed = f"at least 1, and at most {MAX_PIXELS} pixels with the other side"
            raise refuse(label, index, name, int(side[index]), allowed)
    return np.stack([height, width], axis=1)


def _have_boxes(records: list[Record]) -> bool:
    """Whether results of masks or keypoints carry boxes of their own (the first one decides)."""
    return bool(records) and bool(records[0].get("bbox"))


def _xyxy(xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _rank_in_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [D]: 0, 1, 2 ... within each run of equal numbers."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(groups) else groups
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
