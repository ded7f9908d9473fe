"""Videos as COCO JSON: ImageNet VID in its own layout, and synthetic ones.

An image of the JSON is a frame: beside COCO's keys it has ``video_id`` and ``frame``, counted from
0. Categories are those of the detector that the videos are for.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rebalance.data.coco import load_coco
from rebalance.data.files import link_folder, own_folder, write_atomically
from rebalance.data.shapes import (
    CLASS_NAMES,
    Scene,
    check_drawing_options,
    draw_scene,
    save_jpeg,
)
from rebalance.errors import InputError

VID_CLASSES = {
    "n02691156": "airplane", "n02834778": "bicycle", "n01503061": "bird", "n02924116": "bus",
    "n02958343": "car", "n02402425": "cow", "n02084071": "dog", "n02121808": "cat",
    "n02503517": "elephant", "n02374451": "horse", "n03790512": "motorcycle", "n02411705": "sheep",
    "n04468005": "train", "n04530566": "boat", "n02391049": "zebra",
}  # fmt: skip
"""ImageNet VID's name -> COCO's, of the 15 classes that both have (thesis Table H.1)."""

SCENE = 4 / 3
"""Side of a synthetic scene, over that of the frames that pan across it."""
LEAST_SEEN = 0.3
"""Share of an object's box that is inside a frame, or it is not annotated."""
DIM_FRAMES, DIMMED = 0.3, (0.35, 0.8)
"""Share of the frames that are too dark, and by which factor: scores flicker."""
NOISE = 10.0
"""Standard deviation of the noise of a frame, of 255."""


def take_imagenet_vid(
    annotations: str | Path, images: str | Path, categories: str | Path, out_dir: str | Path
) -> None:
    """Write ``annotations/val.json`` and link ``images/val``, of videos in ImageNet VID's layout.

    Videos without any of the 15 classes are left out, as are objects of others. Corners are taken
    as edges.

    Args:
        annotations: ``ILSVRC2015/Annotations/VID/val``: a folder per video, an XML per frame.
        images: ``ILSVRC2015/Data/VID/val``: the same with JPEGs.
        categories: COCO JSON whose categories are taken.
        out_dir: dataset folder.

    Raises:
        InputError: a folder that is absent, an XML that is damaged, or categories that lack a
            class.
    """
    annotations = Path(annotations)
    if not annotations.is_dir():
        raise InputError(
            f"{annotations}: no such folder; ImageNet VID is given after registration at "
            "image-net.org: put ILSVRC2015 there"
        )
    listed = load_coco(categories)["categories"]
    ids = {category["name"]: category["id"] for category in listed}
    for name in VID_CLASSES.values():
        if name not in ids:
            raise InputError(f"{categories}: categories: has no {name!r}")
    frames: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for video_id, folder in enumerate(sorted(p for p in annotations.iterdir() if p.is_dir())):
        paths = sorted(folder.glob("*.xml"))
        found = [_read_frame(path) for path in paths]
        if not any(boxes for _, boxes in found):
            continue
        for number, (path, (size, boxes)) in enumerate(zip(paths, found, strict=True)):
            frames.append({
                "id": len(frames) + 1, "video_id": video_id, "frame": number,
                "file_name": f"val/{folder.name}/{path.stem}.JPEG", **size,
            })  # fmt: skip
            objects += [
                _annotation(len(objects) + place, len(frames), ids[name], box)
                for place, (name, box) in enumerate(boxes, start=1)
            ]
    with own_folder(out_dir) as out:
        link_folder(out / "images" / "val", images)
        _write(out, frames, objects, listed)


def _read_frame(path: Path) -> tuple[dict[str, int], list[tuple[str, list[float]]]]:
    """Size of a frame, and the objects of the 15 classes: name and xyxy."""
    try:
        root = ET.parse(path).getroot()
        size = {key: int(root.findtext(f"size/{key}", "")) for key in ("width", "height")}
        boxes = [
            (
                VID_CLASSES[str(thing.findtext("name"))],
                [float(thing.findtext(f"bndbox/{edge}", ""))
                 for edge in ("xmin", "ymin", "xmax", "ymax")],
            )
            for thing in root.iter("object")
            if thing.findtext("name") in VID_CLASSES
        ]  # fmt: skip
    except (ET.ParseError, ValueError) as error:
        raise InputError(f"{path}: is no annotation of ImageNet VID: {error}") from error
    return size, [(name, box) for name, box in boxes if box[2] > box[0] and box[3] > box[1]]


def make_shapes_videos(
    out_dir: str | Path, num_videos: int, num_frames: int, image_size: int, seed: int = 0
) -> None:
    """Write synthetic videos: a camera that pans over a drawn scene, in light that flickers.

    Args:
        out_dir: dataset folder; files of an earlier call are replaced.
        num_videos: how many.
        num_frames: of each.
        image_size: side of a frame, pixels.
        seed: of everything random; video i depends on (seed, i) only.

    Raises:
        InputError: a number out of its range.
    """
    check_drawing_options(num_videos, num_frames, image_size, seed)
    frames: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    with own_folder(out_dir) as out:
        (out / "annotations" / "val.json").unlink(missing_ok=True)
        (out / "images" / "val").mkdir(parents=True, exist_ok=True)
        for video in range(num_videos):
            for number, (pixels, boxes) in enumerate(_pan(num_frames, image_size, (seed, video))):
                name = f"val/{video:03d}_{number:03d}.jpg"
                save_jpeg(pixels, out / "images" / name)
                frames.append({
                    "id": len(frames) + 1, "video_id": video, "frame": number, "file_name": name,
                    "width": image_size, "height": image_size,
                })  # fmt: skip
                objects += [
                    _annotation(len(objects) + place, len(frames), class_id, box, crowd)
                    for place, (class_id, box, crowd) in enumerate(boxes, start=1)
                ]
        categories = [{"id": place, "name": name} for place, name in enumerate(CLASS_NAMES, 1)]
        _write(out, frames, objects, categories)


def _pan(
    num_frames: int, size: int, seed: tuple[int, int]
) -> Iterator[tuple[np.ndarray, list[tuple[int, list[float], bool]]]]:
    """Pixels uint8 [size, size, 3] and objects (class, xyxy, crowd) of each frame."""
    rng = np.random.default_rng(seed)
    side = round(SCENE * size)
    scene: Scene = draw_scene(side, side, rng)
    start, end = rng.integers(0, side - size + 1, (2, 2))
    for number in range(num_frames):
        part = number / max(num_frames - 1, 1)
        left, top = np.rint(start + part * (end - start)).astype(int)
        light = rng.uniform(*DIMMED) if rng.random() < DIM_FRAMES else 1.0
        pixels = light * scene.pixels[top : top + size, left : left + size]
        pixels = pixels + rng.normal(0, NOISE, pixels.shape)
        boxes = []
        for instance in scene.instances:
            whole = np.array(instance.box) - [left, top, left, top]
            seen = np.clip(whole, 0, size)
            sides, all_sides = (np.maximum(box[2:] - box[:2], 0) for box in (seen, whole))
            if sides.prod() >= LEAST_SEEN * all_sides.prod():
                boxes.append((instance.class_id, seen.tolist(), instance.crowd))
        yield np.clip(pixels, 0, 255).astype(np.uint8), boxes


def _annotation(
    annotation_id: int, image_id: int, category_id: int, box: list[float], crowd: bool = False
) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": int(crowd),
    }


def _write(out: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(out / "annotations" / "val.json", json.dumps(content).encode())
