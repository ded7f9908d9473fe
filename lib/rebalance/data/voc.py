"""Pascal VOC: its layout read into COCO JSON, and the synthetic set written in it.

The format is that of the development kit (Everingham et al., "The Pascal Visual Object Classes
Challenge", IJCV 2010, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html).

Corners. VOC counts pixels from 1 and includes both corners: a box from (1, 1) to (10, 10) covers
ten pixels each way. Ours are edges, counted from 0: it becomes x1 = 0, x2 = 10, that is
(xmin - 1, ymin - 1, xmax, ymax), width xmax - xmin + 1.

Area is that of the box, since VOC's detection annotations have no masks: COCO's small, medium and
large are then sizes of boxes, not of objects.

``difficult`` objects become ``iscrowd: 1`` and ``ignore: 1`` (``difficult: 1`` is kept as well):
they are neither trained on nor counted. ``iscrowd`` is needed because pycocotools overwrites
``ignore`` with it. VOC's own protocol differs from this in two details. It compares a detection
with a difficult object by IoU, COCO by the part of the detection that lies inside (IoF), so a small
detection inside a large difficult object is ignored here and is a false positive there. And it asks
which object overlaps most before it asks whether that one is difficult; COCO tries the others
first. Both ignore any number of detections per difficult object, and none counts as missed.
"""

import itertools
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rebalance.data.coco import validate_coco
from rebalance.data.files import link_folder, make_folder, own_folder, write_atomically
from rebalance.data.shapes import (
    CLASS_NAMES,
    Scene,
    check_drawing_options,
    draw_scenes,
    save_jpeg,
)
from rebalance.errors import InputError
from rebalance.inputs import is_inside, read_bytes

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def voc_to_coco(
    splits: Mapping[str, Sequence[str]], out_dir: str | Path, classes: Sequence[str] | None = None
) -> None:
    """Convert image sets of VOC folders to the one format; several sets of a split are merged.

    Writes ``annotations/<split>.json`` and links ``images/<folder>_<set>`` to the folders'
    ``JPEGImages``. Images are numbered from 1 in the order of the sets.

    Args:
        splits: split -> list of "FOLDER:SET", for example
            {"train": ["VOC2007:trainval", "VOC2012:trainval"], "val": ["VOC2007:test"]}, where
            FOLDER holds ``Annotations``, ``ImageSets/Main`` and ``JPEGImages``.
        out_dir: dataset folder.
        classes: names in the order of their ids from 1; the 20 of VOC by default.

    Raises:
        InputError: a folder, image set, annotation or image that is absent; an annotation that is
            not XML, lacks a field, has an unknown class or a box without extent.
    """
    class_ids = {name: number for number, name in enumerate(classes or VOC_CLASSES, start=1)}
    _check_link_names([entry for sets in splits.values() for entry in sets])
    with own_folder(out_dir) as out:
        files = {split: out / "annotations" / f"{split}.json" for split in splits}
        for file in files.values():
            file.unlink(missing_ok=True)
        contents = {}
        for split, sets in splits.items():
            coco: dict[str, Any] = {
                "info": {"description": f"Pascal VOC, {' + '.join(sets)}, as COCO JSON"},
                "images": [],
                "annotations": [],
                "categories": [{"id": number, "name": name} for name, number in class_ids.items()],
            }
            for entry in sets:
                _append_set(coco, entry, class_ids, out / "images")
            validate_coco(coco, " + ".join(sets))
            contents[split] = json.dumps(coco).encode()
        for split, content in contents.items():
            write_atomically(files[split], content)


def _parse_entry(entry: str) -> tuple[Path, str]:
    folder, _, image_set = entry.rpartition(":")
    if not folder or not image_set:
        raise InputError(f"a VOC image set is written FOLDER:SET, got {entry!r}")
    return Path(folder), image_set


def _link_name(entry: str) -> str:
    folder, image_set = _parse_entry(entry)
    return f"{folder.resolve().name}_{image_set}"


def _check_link_names(entries: Iterable[str]) -> None:
    used: dict[str, str] = {}
    for entry in entries:
        other = used.setdefault(_link_name(entry), entry)
        if other != entry:
            raise InputError(f"image sets {other!r} and {entry!r} need folders of different names")


def _append_set(
    coco: dict[str, Any], entry: str, class_ids: Mapping[str, int], images: Path
) -> None:
    folder, image_set = _parse_entry(entry)
    listing = folder / "ImageSets" / "Main" / f"{image_set}.txt"
    stems = _listed(listing)
    link = _link_name(entry)
    link_folder(images / link, folder / "JPEGImages")
    for stem in stems:
        image = folder / "JPEGImages" / f"{stem}.jpg"
        if not image.is_file():
            raise InputError(f"{image}: no such image (listed in {listing})")
        width, height, objects = read_voc_annotation(folder / "Annotations" / f"{stem}.xml")
        image_id = len(coco["images"]) + 1
        coco["images"].append(
            {"id": image_id, "file_name": f"{link}/{stem}.jpg", "width": width, "height": height}
        )
        for position, voc_object in enumerate(objects):
            if voc_object["name"] not in class_ids:
                raise InputError(
                    f"{folder / 'Annotations' / stem}.xml: object {position}: name must be one of "
                    f"{list(class_ids)}, got {voc_object['name']!r}"
                )
            x1, y1, x2, y2 = voc_object["box"]
            difficult = int(voc_object["difficult"])
            coco["annotations"].append(
                {
                    "id": len(coco["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": class_ids[voc_object["name"]],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": difficult,
                    "ignore": difficult,
                    "difficult": difficult,
                }
            )


def _listed(listing: Path) -> list[str]:
    """Names of images in an image set."""
    try:
        names = read_bytes(listing, "image set").decode().split()
    except UnicodeDecodeError as error:
        raise InputError(f"{listing}: not UTF-8: {error}") from None
    for name in names:
        if not is_inside(name) or "/" in name:
            raise InputError(f"{listing}: must hold names of images, got {name!r}")
    return names


def read_voc_annotation(path: str | Path) -> tuple[int, int, list[dict[str, Any]]]:
    """Width, height and objects of one VOC annotation file.

    Returns:
        (width, height, objects); an object has ``name``, ``box`` (x1, y1, x2, y2: edges from 0,
        pixels, clipped to the image) and ``difficult`` (absent in the file means false).

    Raises:
        InputError: no such file, not XML, a missing or wrong field, a box without extent.
    """
    content = read_bytes(path, "annotation file")
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, LookupError, ValueError) as error:  # the two of encodings unknown to it
        raise InputError(f"{path}: not valid XML: {error}") from None
    width, height = (_side(root, f"size/{side}", path) for side in ("width", "height"))
    objects = []
    for position, element in enumerate(root.findall("object")):
        where = f"{path}: object {position}"
        name = (element.findtext("name") or "").strip()
        if not name:
            raise InputError(f"{where}: missing field 'name'")
        # A few of the official files have fractions, and corners in another order of tags.
        corners = [
            _number(element, f"bndbox/{corner}", where)
            for corner in ("xmin", "ymin", "xmax", "ymax")
        ]
        x1, y1 = max(corners[0] - 1, 0.0), max(corners[1] - 1, 0.0)
        x2, y2 = min(corners[2], float(width)), min(corners[3], float(height))
        if x2 <= x1 or y2 <= y1:
            raise InputError(
                f"{where} ({name}): xmax < xmin or ymax < ymin within {width} x {height} pixels "
                f"in [xmin, ymin, xmax, ymax] = {corners}"
            )
        difficult = (element.findtext("difficult") or "0").strip()
        if difficult not in ("0", "1"):
            raise InputError(f"{where} ({name}): difficult must be 0 or 1, got {difficult!r}")
        objects.append({"name": name, "box": (x1, y1, x2, y2), "difficult": difficult == "1"})
    return width, height, objects


def _side(root: ET.Element, field: str, path: object) -> int:
    value = _number(root, field, path)
    if not (value.is_integer() and 1 <= value < 2**31):
        raise InputError(f"{path}: {field} must be a whole number of pixels, got {value:g}")
    return int(value)


def _number(element: ET.Element, field: str, where: object) -> float:
    text = element.findtext(field)
    if text is None:
        raise InputError(f"{where}: missing field {field!r}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {field} must be a number, got {text!r}")
    return value


def make_shapes_voc(
    out_dir: str | Path,
    num_train: int = 1000,
    num_val: int = 200,
    image_size: int = 96,
    seed: int = 0,
    vary_aspect: bool = False,
) -> None:
    """Write the synthetic set in VOC's layout, so that the conversion runs without a download.

    The images are those of `make_shapes` with the same arguments. ``VOC2007`` holds the first half
    of the training images as ``trainval`` and the validation images as ``test``; ``VOC2012`` holds
    the other half as ``trainval``. Hidden, tiny and crowded objects are ``difficult``.

    Args:
        out_dir: folder to make; one that was drawn in the same way is left as it is.
        num_train: training images, at least 2.
        num_val: validation images.
        image_size: longer side, pixels.
        seed: of everything random.
        vary_aspect: see `make_shapes`.

    Raises:
        InputError: a number out of its range, or ``out_dir`` holds something else.
    """
    check_drawing_options(num_train, num_val, image_size, seed)
    if num_train < 2:
        raise InputError(f"num_train must be at least 2 (two VOC folders), got {num_train}")

    def draw(folder: Path) -> None:
        train = enumerate(draw_scenes("train", num_train, image_size, seed, vary_aspect), start=1)
        val = enumerate(draw_scenes("val", num_val, image_size, seed, vary_aspect), start=1)
        half = num_train // 2
        _write_set(folder / "VOC2007", "trainval", itertools.islice(train, half), "0")
        _write_set(folder / "VOC2007", "test", val, "1")
        _write_set(folder / "VOC2012", "trainval", train, "2012_")

    options = (num_train, num_val, image_size, seed, vary_aspect)
    make_folder(out_dir, f"drawn as {options}\n", draw)


def _write_set(
    folder: Path, image_set: str, scenes: Iterable[tuple[int, Scene]], prefix: str
) -> None:
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stems = []
    for number, scene in scenes:
        stem = f"{prefix}{number:05d}"
        stems.append(stem)
        save_jpeg(scene.pixels, folder / "JPEGImages" / f"{stem}.jpg")
        tree = _annotation_tree(scene, folder.name, f"{stem}.jpg")
        tree.write(folder / "Annotations" / f"{stem}.xml", encoding="utf-8")
    listing = folder / "ImageSets" / "Main" / f"{image_set}.txt"
    listing.write_text("".join(f"{stem}\n" for stem in stems))


def _annotation_tree(scene: Scene, folder: str, file_name: str) -> ET.ElementTree:
    height, width = scene.pixels.shape[:2]
    root = ET.Element("annotation")
    ET.SubElement(root, "folder").text = folder
    ET.SubElement(root, "filename").text = file_name
    size = ET.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        ET.SubElement(size, name).text = str(value)
    ET.SubElement(root, "segmented").text = "0"
    for instance in scene.instances:
        element = ET.SubElement(root, "object")
        ET.SubElement(element, "name").text = CLASS_NAMES[instance.class_id - 1]
        ET.SubElement(element, "pose").text = "Unspecified"
        ET.SubElement(element, "truncated").text = str(int(instance.truncated))
        ET.SubElement(element, "difficult").text = str(int(instance.difficult))
        x1, y1, x2, y2 = instance.box
        # The pixels that the box touches, counted from 1.
        corners = {
            "xmin": math.floor(x1) + 1,
            "ymin": math.floor(y1) + 1,
            "xmax": math.ceil(x2),
            "ymax": math.ceil(y2),
        }
        bndbox = ET.SubElement(element, "bndbox")
        for name, value in corners.items():
            ET.SubElement(bndbox, name).text = str(value)
    ET.indent(root)
    return ET.ElementTree(root)
