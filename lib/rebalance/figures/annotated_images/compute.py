"""Single images of a data set with their ground truth (thesis Figures 1.1 and 3.19).

Which image is shown follows from a rule, so that the same data set gives the same picture. Beside
``annotations/<split>.json`` a data set may have COCO's files for two more tasks:
``keypoints_<split>.json`` (person keypoints), and ``panoptic_<split>.json`` with the folder of PNGs
``panoptic_<split>/``. What it does not have is said, not made up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rebalance.boxes import paired_iou
from rebalance.data.coco import decode_mask, load_coco, read_image
from rebalance.errors import InputError
from rebalance.figures.checks import Check, printed_claim
from rebalance.inputs import read_json

Annotations = Mapping[str, str]
"""Split -> path of its COCO JSON."""
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]

SPLIT = "train"
TASKS = ("object detection", "keypoint detection", "instance segmentation", "panoptic segmentation")


class Instance(NamedTuple):
    """An annotated object that is neither crowd nor ignored.

    Attributes:
        annotation_id: in the annotation file.
        name: of its class.
        box: xyxy, pixels.
        mask: [H, W], or None where the file has no segmentation.
        keypoints: [K, 3] x, y, visibility (0 is not labelled), or None.
        skeleton: pairs of keypoints that are joined, counted from 1.
    """

    annotation_id: int
    name: str
    box: Box
    mask: Mask | None
    keypoints: NDArray[np.float64] | None
    skeleton: Sequence[Sequence[int]]


class Segment(NamedTuple):
    """A panoptic segment: stuff, or one thing."""

    name: str
    thing: bool
    mask: Mask


class AnnotatedImage(NamedTuple):
    """An image and its ground truth; ``segments`` is None without a panoptic annotation."""

    image_id: int
    file_name: str
    pixels: Pixels
    instances: list[Instance]
    segments: list[Segment] | None


# --- reading ------------------------------------------------------------------------------------


def image_folder(annotations: str | Path) -> Path:
    """The images of ``<dataset>/annotations/<split>.json``: ``<dataset>/images``."""
    folder = Path(annotations).absolute().parent.parent / "images"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such image folder (images of {annotations})")
    return folder


def _beside(annotations: str, kind: str) -> Path:
    """``<kind>_<split>.json`` beside ``<split>.json``."""
    path = Path(annotations)
    return path.with_name(f"{kind}_{path.name}")


class _AnnotatedSplit:
    """The annotations of one split by image, with those of its further tasks."""

    def __init__(self, annotations: str) -> None:
        self.path = annotations
        coco = load_coco(annotations)
        self.images = {image["id"]: image for image in coco["images"]}
        self.categories = {category["id"]: category for category in coco["categories"]}
        self.objects: dict[int, list[dict[str, Any]]] = {}
        for annotation in sorted(coco["annotations"], key=lambda a: a["id"]):
            if not annotation["iscrowd"] and not annotation.get("ignore", 0):
                self.objects.setdefault(annotation["image_id"], []).append(annotation)
        self.keypoints: dict[int, dict[str, Any]] = {}
        self.skeletons = {c["id"]: c.get("skeleton", []) for c in coco["categories"]}
        labelled = coco
        if _beside(annotations, "keypoints").is_file():
            labelled = load_coco(_beside(annotations, "keypoints"))
            self.skeletons |= {c["id"]: c.get("skeleton", []) for c in labelled["categories"]}
        self.keypoints = {
            a["id"]: a["keypoints"] for a in labelled["annotations"] if any(a.get("keypoints", []))
        }
        self.panoptic: dict[int, dict[str, Any]] = {}
        self.segment_categories: dict[int, dict[str, Any]] = {}
        panoptic = _beside(annotations, "panoptic")
        if panoptic.is_file():
            content = read_json(panoptic)
            self.panoptic = {entry["image_id"]: entry for entry in content["annotations"]}
            self.segment_categories = {entry["id"]: entry for entry in content["categories"]}

    def share(self, annotation: Mapping[str, Any]) -> float:
        """Share of the image that the object's box takes."""
        image = self.images[annotation["image_id"]]
        _, _, width, height = annotation["bbox"]
        return float(width * height / (image["width"] * image["height"]))

    def load(self, image_id: int) -> AnnotatedImage:
        """The image with all that is known of it."""
        image = self.images[image_id]
        pixels = read_image(image_folder(self.path) / image["file_name"]).permute(1, 2, 0).numpy()
        if pixels.shape[:2] != (image["height"], image["width"]):
            raise InputError(
                f"{image_folder(self.path) / image['file_name']}: the image has {pixels.shape[1]} "
                f"x {pixels.shape[0]} pixels, but {self.path} says {image['width']} x "
                f"{image['height']} (image {image_id})"
            )
        instances = [self.instance(annotation) for annotation in self.objects[image_id]]
        return AnnotatedImage(
            image_id, image["file_name"], pixels, instances, self._segments(image_id)
        )

    def mask(self, annotation: Mapping[str, Any]) -> Mask | None:
        """The object's mask; None without a segmentation."""
        image = self.images[annotation["image_id"]]
        if not annotation.get("segmentation"):
            return None
        return decode_mask(annotation["segmentation"], image["height"], image["width"]).astype(bool)

    def instance(self, annotation: Mapping[str, Any]) -> Instance:
        """All that is known of one object."""
        x, y, width, height = annotation["bbox"]
        points = self.keypoints.get(annotation["id"])
        category = self.categories[annotation["category_id"]]
        return Instance(
            annotation["id"],
            category["name"],
            (x, y, x + width, y + height),
            self.mask(annotation),
            None if points is None else np.array(points, dtype=float).reshape(-1, 3),
            self.skeletons[category["id"]],
        )

    def _segments(self, image_id: int) -> list[Segment] | None:
        if image_id not in self.panoptic:
            return None
        entry = self.panoptic[image_id]
        folder = _beside(self.path, "panoptic").with_suffix("")
        colours = read_image(folder / entry["file_name"]).long()
        numbers = (colours[0] + 256 * colours[1] + 256**2 * colours[2]).numpy()
        return [
            Segment(
                self.segment_categories[part["category_id"]]["name"],
                bool(self.segment_categories[part["category_id"]]["isthing"]),
                numbers == part["id"],
            )
            for part in entry["segments_info"]
        ]


@cache
def _load_split(annotations: str) -> _AnnotatedSplit:
    return _AnnotatedSplit(annotations)


# --- Figure 1.1: four tasks ---------------------------------------------------------------------

OBJECTS = (3, 8)
LEAST_SHARE = 0.01


def tasks_image(annotations: Annotations) -> AnnotatedImage:
    """The image with annotations for most tasks; then most classes, fewest objects, lowest id.

    Only images with 3 to 8 objects, each at least 1% of the image, so that all can be seen.

    Raises:
        InputError: no such image, no image folder, a damaged image.
    """
    split = _load_split(annotations[SPLIT])
    low, high = OBJECTS
    best = None
    for image_id, objects in sorted(split.objects.items()):
        if not low <= len(objects) <= high or min(map(split.share, objects)) < LEAST_SHARE:
            continue
        tasks = any(a["id"] in split.keypoints for a in objects) + (image_id in split.panoptic)
        classes = len({a["category_id"] for a in objects})
        key = (-tasks, -classes, len(objects), image_id)
        best = key if best is None else min(best, key)
    if best is None:
        raise InputError(
            f"{annotations[SPLIT]}: no image has {low} to {high} objects of at least "
            f"{LEAST_SHARE:.0%} of its area each"
        )
    return split.load(best[-1])


def annotated_counts(image: AnnotatedImage) -> dict[str, int | None]:
    """Task -> number of objects or segments annotated for it; None where it is not annotated."""
    masks = sum(instance.mask is not None for instance in image.instances)
    points = sum(instance.keypoints is not None for instance in image.instances)
    return dict(zip(TASKS, (
        len(image.instances), points or None, masks or None,
        None if image.segments is None else len(image.segments),
    ), strict=True))  # fmt: skip


def tasks_table(annotations: Annotations) -> pd.DataFrame:
    """task, shown: what the image has for it, in words."""
    image = tasks_image(annotations)
    units = ("boxes", "objects with keypoints", "masks", "segments of stuff and things")
    lines = [{"what": "image", "shown": f"{image.image_id} ({image.file_name})"}]
    for unit, (task, count) in zip(units, annotated_counts(image).items(), strict=True):
        shown = "not annotated in this data set" if count is None else f"{count} {unit}"
        if task == TASKS[-1] and count is None and annotated_counts(image)[TASKS[2]]:
            shown += ": things from the masks, no stuff"
        lines.append({"what": task, "shown": shown})
    return pd.DataFrame(lines)


def tasks_checks(annotations: Annotations, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 1.1: one image for four tasks, as far as the data set goes."""
    image = tasks_image(annotations)
    counts = annotated_counts(image)
    missing = [task for task, count in counts.items() if count is None]
    found = [
        printed_claim(
            "the image is annotated for all four tasks", None if missing else all(counts.values()),
            "not for " + " and ".join(missing) if missing
            else ", ".join(f"{task}: {count}" for task, count in counts.items()),
            "the data set has no such annotations" if missing else "",
        ),
    ]  # fmt: skip
    overhangs = [
        _overhang(instance.mask, instance.box)
        for instance in image.instances
        if instance.mask is not None
    ]
    if overhangs:
        found.append(printed_claim(
            "the masks lie in their boxes, to two pixels", max(overhangs) <= 2,
            f"at most {max(overhangs):.1f} pixels outside",
        ))  # fmt: skip
    if counts["keypoint detection"] is not None:
        classes = {i.name for i in image.instances if i.keypoints is not None}
        found.append(printed_claim(
            f"keypoints are those of the class {numbers['keypoint_class']}",
            classes == {numbers["keypoint_class"]}, ", ".join(sorted(classes)),
        ))  # fmt: skip
    return found


def _overhang(mask: Mask, box: Box) -> float:
    """How far a mask reaches out of its box, pixels."""
    ys, xs = np.nonzero(mask)
    x1, y1, x2, y2 = box
    return float(max(x1 - xs.min(), y1 - ys.min(), xs.max() + 1 - x2, ys.max() + 1 - y2, 0))


# --- Figure 3.19: ambiguous positives -----------------------------------------------------------

SEARCHED_IOU = 0.52
"""The IoU that a shown positive needs at least: above the threshold beyond doubt."""
MOST_IMAGES, MOST_PAIRS = 500, 12
"""Images whose masks are decoded, and pairs for which boxes are searched: COCO has 10^5 images."""
LEAST_PART = 0.02
STEPS = np.linspace(-0.5, 0.5, 17)


class Positive(NamedTuple):
    """A box that counts as a positive of an object.

    Attributes:
        of: the object that it is assigned to.
        other: the object that is in its way.
        box: xyxy, whole pixels.
        iou: with the box of its own object.
        own_share, other_share: of its pixels, on its own object and on the other only.
    """

    of: Instance
    other: Instance
    box: tuple[int, int, int, int]
    iou: float
    own_share: float
    other_share: float


class AmbiguousPair(NamedTuple):
    """An image and two positives: one mostly on the other object, one that misses its own."""

    image: AnnotatedImage
    covered: Positive
    missed: Positive


@cache
def _ambiguous_pair(annotations: str) -> AmbiguousPair:
    split = _load_split(annotations)
    best: tuple[float, int, Positive] | None = None
    for _, first, second in sorted(_covering_pairs(split), key=lambda pair: -pair[0])[:MOST_PAIRS]:
        hidden, front = split.instance(first), split.instance(second)
        positive = _search(hidden, front, lambda own, other, iou: (other, -own, iou))
        if best is None or positive.other_share > best[0]:
            best = (positive.other_share, first["image_id"], positive)
    if best is None:
        raise InputError(
            f"{annotations}: no object with a segmentation covers another one of another class"
        )
    _, image_id, covered = best
    missed = _search(covered.other, covered.of, lambda own, other, iou: (-own, other, iou))
    return AmbiguousPair(split.load(image_id), covered, missed)


def ambiguous_pair(annotations: Annotations) -> AmbiguousPair:
    """The positive that another object covers most, and its counterpart.

    Of two objects of different classes, the mask of one covers much of the box of the other. Boxes
    whose IoU with the covered object is above 0.5 are searched for the one with most pixels on the
    covering object; then those of the covering object for the one with fewest on it.

    Raises:
        InputError: no two such objects, no image folder, a damaged image.
    """
    return _ambiguous_pair(annotations[SPLIT])


def _covering_pairs(
    split: _AnnotatedSplit,
) -> Iterator[tuple[float, dict[str, Any], dict[str, Any]]]:
    """Share of an object's box that lies on the mask of another, the object, the other."""
    images = 0
    for _, objects in sorted(split.objects.items()):
        pairs = [
            (first, second)
            for first in objects
            for second in objects
            if first["category_id"] != second["category_id"]
            and min(split.share(first), split.share(second)) >= LEAST_PART
            and _overlaps(first["bbox"], second["bbox"])
        ]
        if not pairs:
            continue
        masks = {a["id"]: split.mask(a) for pair in pairs for a in pair}
        for first, second in pairs:
            own, other = masks[first["id"]], masks[second["id"]]
            if own is not None and other is not None and own.any():
                x, y, width, height = (round(value) for value in first["bbox"])
                part = (other & ~own)[y : y + height, x : x + width]
                yield float(part.mean()), first, second
        images += 1
        if images == MOST_IMAGES:
            return


def _overlaps(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two xywh boxes share an area."""
    return all(
        first[k] < second[k] + second[k + 2] and second[k] < first[k] + first[k + 2] for k in (0, 1)
    )


def _search(own: Instance, other: Instance, preference: Callable[..., tuple[Any, ...]]) -> Positive:
    """Of a lattice of positives of ``own`` the one that ``preference`` puts highest."""
    assert own.mask is not None
    assert other.mask is not None
    height, width = own.mask.shape
    x1, y1, x2, y2 = own.box
    grids = np.meshgrid(
        np.clip(np.round(x1 + STEPS * (x2 - x1)), 0, width),
        np.clip(np.round(y1 + STEPS * (y2 - y1)), 0, height),
        np.clip(np.round(x2 + STEPS * (x2 - x1)), 0, width),
        np.clip(np.round(y2 + STEPS * (y2 - y1)), 0, height),
        indexing="ij",
    )
    boxes = np.unique(np.stack([grid.ravel() for grid in grids], axis=1), axis=0).astype(int)
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]
    truth = torch.tensor(own.box, dtype=torch.float64)
    ious = paired_iou(torch.from_numpy(boxes).double(), truth).numpy()
    boxes, ious = boxes[ious >= SEARCHED_IOU], ious[ious >= SEARCHED_IOU]
    own_shares = _share_on(own.mask, boxes)
    other_shares = _share_on(other.mask & ~own.mask, boxes)
    keys = preference(own_shares, other_shares, ious)
    best = int(np.lexsort(keys[::-1])[-1])
    found = boxes[best].tolist()
    return Positive(own, other, (found[0], found[1], found[2], found[3]), float(ious[best]),
                    float(own_shares[best]), float(other_shares[best]))  # fmt: skip


def _share_on(mask: Mask, boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N] share of the pixels of each box that are on the mask, by its summed-area table."""
    table = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    x1, y1, x2, y2 = boxes.T
    inside = table[y2, x2] - table[y1, x2] - table[y2, x1] + table[y1, x1]
    return np.asarray(inside / ((x2 - x1) * (y2 - y1)))


def ambiguous_table(annotations: Annotations) -> pd.DataFrame:
    """positive of, IoU, and what its pixels lie on."""
    image, *positives = ambiguous_pair(annotations)
    return pd.DataFrame([
        {
            "image": f"{image.image_id} ({image.file_name})",
            "positive of": positive.of.name,
            "IoU with it": round(positive.iou, 3),
            "pixels on it": f"{positive.own_share:.1%}",
            "pixels on the other": f"{positive.other_share:.1%} ({positive.other.name})",
            "on neither": f"{1 - positive.own_share - positive.other_share:.1%}",
        }
        for positive in positives
    ])  # fmt: skip


def ambiguous_checks(annotations: Annotations, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.19: both boxes are positives, and neither shows its object."""
    _, covered, missed = ambiguous_pair(annotations)
    return [
        printed_claim(
            "both boxes are positives", min(covered.iou, missed.iou) > numbers["iou_above"],
            f"IoU {covered.iou:.3f} ({covered.of.name}) and {missed.iou:.3f} ({missed.of.name})",
        ),
        printed_claim(
            f"most of the positive of the {covered.of.name} lies on the {covered.other.name}",
            covered.other_share > 0.5,
            f"{covered.other_share:.1%}, {covered.own_share:.1%} on the {covered.of.name}",
        ),
        printed_claim(
            f"the positive of the {missed.of.name} has most of its pixels elsewhere",
            missed.own_share < 0.5, f"{missed.own_share:.1%} on the {missed.of.name}",
        ),
    ]  # fmt: skip
