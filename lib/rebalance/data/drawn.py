"""Stand-ins for the results of tasks that no detector of the suite does: keypoints and panoptic.

Both are made from the objects of a data set with masks, at any scale. The results are the ground
truth, spoilt by errors of a known size: part of the objects is missed, every one found lies beside
its ground truth, and others are invented. They show that an evaluation runs and sees those errors,
nothing about any detector.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from rebalance.data.coco import load_coco
from rebalance.data.files import own_folder, write_atomically
from rebalance.errors import InputError
from rebalance.inputs import read_json
from rebalance.metrics.panoptic import VOID
from rebalance.rle import compressed_masks

TASKS = ("keypoints", "panoptic")
STUFF = ("sky", "ground")
HORIZON = (0.35, 0.65)
"""Where the ground begins, as a share of the height."""
PERSON = np.array([
    [0.50, 0.08], [0.55, 0.06], [0.45, 0.06], [0.60, 0.09], [0.40, 0.09], [0.68, 0.25],
    [0.32, 0.25], [0.76, 0.40], [0.24, 0.40], [0.80, 0.54], [0.20, 0.54], [0.60, 0.55],
    [0.40, 0.55], [0.61, 0.75], [0.39, 0.75], [0.62, 0.96], [0.38, 0.96],
])  # fmt: skip
"""[17, 2] xy: where COCO's keypoints are drawn, as shares of an object's box."""
VISIBLE = 2
INVENTED_SIDE = 0.15
"""Side of an invented segment, as a share of the image's."""


@dataclass(frozen=True)
class Errors:
    """What is wrong with drawn results.

    Attributes:
        shift: standard deviation of the way from the ground truth, on either axis, pixels.
        missed: share of the ground truths that is not found, in [0, 1).
        invented: false positives as a share of the ground truths, in [0, 1).
    """

    shift: float
    missed: float
    invented: float

    def __post_init__(self) -> None:
        """Refuse what is out of its range."""
        if self.shift < 0:
            raise InputError(f"shift must be at least 0, got {self.shift}")
        for name in ("missed", "invented"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}")


def draw_truth(task: str, annotations: str | Path, out: str | Path) -> None:
    """Make the ground truth of a task from a data set with masks.

    Args:
        task: "keypoints": every object but crowds is a person with 17 keypoints. "panoptic": the
            objects are things, on sky and ground; crowds are void.
        annotations: COCO JSON of the data set.
        out: JSON to write; panoptic PNGs go to the folder of its name without suffix.

    Raises:
        InputError: an unknown task, or annotations that are at fault.
    """
    coco = load_coco(annotations)
    if task == "keypoints":
        write_atomically(out, json.dumps(_keypoint_truth(coco)).encode())
    elif task == "panoptic":
        _write_panoptic(Path(out), coco["images"], _panoptic_truth(coco), _categories(coco))
    else:
        raise InputError(f"task must be one of {TASKS}, got {task!r}")


def draw_results(task: str, truth: str | Path, errors: Errors, seed: int, out: str | Path) -> None:
    """Spoil a ground truth that ``draw_truth`` made.

    Args:
        task: as there.
        truth: what it wrote.
        errors: how far.
        seed: of everything random; image i depends on (seed, i) only.
        out: COCO results, or panoptic JSON beside the folder of its name with PNGs.

    Raises:
        InputError: an unknown task.
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {TASKS}, got {task!r}")
    content = read_json(Path(truth), "ground truth")
    if task == "keypoints":
        results = list(_keypoint_results(content, errors, seed))
        write_atomically(out, json.dumps(results).encode())
        return
    spoil = partial(_spoil, Path(truth), content, errors, seed)
    pictures = (spoil(entry) for entry in content["annotations"])
    _write_panoptic(Path(out), content["images"], pictures, content["categories"])


def _keypoint_truth(coco: Mapping[str, Any]) -> dict[str, Any]:
    people = []
    for annotation in coco["annotations"]:
        if annotation["iscrowd"]:
            continue
        x, y, width, height = annotation["bbox"]
        points = PERSON * [width, height] + [x, y]
        people.append({
            **{key: annotation[key] for key in ("id", "image_id", "bbox", "area")},
            "category_id": 1,
            "iscrowd": 0,
            "num_keypoints": len(points),
            "keypoints": np.c_[points, np.full(len(points), VISIBLE)].ravel().tolist(),
        })  # fmt: skip
    return {
        "images": coco["images"],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }


def _keypoint_results(
    truth: Mapping[str, Any], errors: Errors, seed: int
) -> Iterator[dict[str, Any]]:
    """True ones score higher, on average, and the better the smaller their shift."""
    people: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for person in truth["annotations"]:
        people[person["image_id"]].append(person)
    for image in truth["images"]:
        rng = np.random.default_rng([seed, image["id"]])
        for person in people[image["id"]]:
            points = np.array(person["keypoints"]).reshape(-1, 3)
            moved = points[:, :2] + rng.normal(0, errors.shift, (len(points), 2))
            missed, invented = rng.random(2) < (errors.missed, errors.invented)
            score = float(rng.uniform(0.5, 1))
            if not missed:
                yield _person(image["id"], moved, score)
            if invented:
                away = rng.uniform(0, 1, (len(points), 2)) * [image["width"], image["height"]]
                yield _person(image["id"], away, 0.75 * score)


def _person(image_id: int, points: NDArray[np.float64], score: float) -> dict[str, Any]:
    flat = np.c_[points, np.ones(len(points))].ravel().round(3).tolist()
    return {"image_id": image_id, "category_id": 1, "keypoints": flat, "score": score}


Segment = dict[str, Any]
Picture = tuple[int, NDArray[np.int64], list[Segment]]
"""Image id, segment id of every pixel [H, W], the segments."""


def _categories(coco: Mapping[str, Any]) -> list[dict[str, Any]]:
    things = [{**category, "isthing": 1} for category in coco["categories"]]
    last = max(category["id"] for category in things)
    stuff = [
        {"id": last + place, "name": name, "isthing": 0}
        for place, name in enumerate(STUFF, start=1)
    ]
    return things + stuff


def _panoptic_truth(coco: Mapping[str, Any]) -> Iterator[Picture]:
    objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in coco["images"]}
    for annotation in coco["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    sky, ground = (category["id"] for category in _categories(coco)[-len(STUFF) :])
    for image in coco["images"]:
        size = (image["height"], image["width"])
        horizon = round(np.random.default_rng(image["id"]).uniform(*HORIZON) * size[0])
        pixels = np.full(size, 1, dtype=np.int64)
        pixels[horizon:] = 2
        classes = {1: sky, 2: ground}
        own = objects[image["id"]]
        masks = compressed_masks([one["segmentation"] for one in own], [size] * len(own))
        for number, (one, mask) in enumerate(zip(own, masks, strict=True), start=3):
            pixels[coco_mask.decode(mask).astype(bool)] = VOID if one["iscrowd"] else number
            classes[number] = one["category_id"]
        yield image["id"], pixels, _segments(pixels, classes)


def _segments(pixels: NDArray[np.int64], classes: Mapping[int, int]) -> list[Segment]:
    """Those that are in the picture."""
    return [
        {"id": int(number), "category_id": classes[int(number)], "iscrowd": 0}
        for number in np.unique(pixels)
        if number != VOID
    ]


def _spoil(
    path: Path, truth: Mapping[str, Any], errors: Errors, seed: int, entry: Mapping[str, Any]
) -> Picture:
    """One picture with its errors: what is missed becomes void, what is invented lies on top."""
    with Image.open(path.with_suffix("") / entry["file_name"]) as image:
        pixels = np.asarray(image, dtype=np.int64) @ np.array([1, 1 << 8, 1 << 16])
    rng = np.random.default_rng([seed, entry["image_id"]])
    things = {category["id"] for category in truth["categories"] if category["isthing"]}
    classes = {segment["id"]: segment["category_id"] for segment in entry["segments_info"]}
    found = pixels.copy()
    for number, category in classes.items():
        mask, missed = pixels == number, rng.random() < errors.missed
        across, down = np.rint(rng.normal(0, errors.shift, 2)).astype(int)
        if missed:
            found[mask] = VOID
        elif category in things:
            rows, columns = np.nonzero(mask)
            rows, columns = rows + down, columns + across
            inside = (rows >= 0) & (rows < mask.shape[0])
            inside &= (columns >= 0) & (columns < mask.shape[1])
            found[mask] = VOID
            found[rows[inside], columns[inside]] = number
    new = max(classes, default=0)
    for _ in range(int((rng.random(len(classes)) < errors.invented).sum())):
        new += 1
        classes[new] = int(rng.choice(sorted(things)))
        side = max(1, round(INVENTED_SIDE * min(pixels.shape)))
        top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape)
        found[top : top + side, left : left + side] = new
    return entry["image_id"], found, _segments(found, classes)


def _write_panoptic(
    out: Path, images: list[Any], pictures: Iterator[Picture], categories: list[dict[str, Any]]
) -> None:
    """The JSON is written last, so its presence means that the PNGs are complete."""
    out.unlink(missing_ok=True)
    with own_folder(out.with_suffix("")) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for image_id, pixels, segments in pictures:
            name = f"{image_id:012d}.png"
            colours = np.stack([pixels >> shift & 255 for shift in (0, 8, 16)], axis=-1)
            Image.fromarray(colours.astype(np.uint8)).save(folder / name)
            entries.append({"image_id": image_id, "file_name": name, "segments_info": segments})
    content = {"images": images, "annotations": entries, "categories": categories}
    write_atomically(out, json.dumps(content).encode())
