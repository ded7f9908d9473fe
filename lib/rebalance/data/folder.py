"""Any folder in COCO layout, the official COCO 2017 among them, taken into the one format."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rebalance.data.coco import validate_coco
from rebalance.data.download import extract
from rebalance.data.files import link_folder, own_folder, write_atomically
from rebalance.errors import InputError
from rebalance.inputs import read_json


@dataclass(frozen=True)
class FolderSplit:
    """An annotation file in COCO format and the folder that its file names are relative to."""

    annotations: Path
    images: Path


def take_coco_folder(
    splits: dict[str, FolderSplit],
    out_dir: str | Path,
    drop_empty_boxes: bool = False,
    first: int | None = None,
) -> None:
    """Write ``annotations/<split>.json`` and link ``images/<split>`` to the image folders.

    File names get the split in front; missing ``area`` (then that of the box) and ``iscrowd`` (0)
    are filled in; annotation ids that start at 0 are raised by 1. All else stays as it is, and is
    validated.

    Args:
        splits: split -> annotation file and image folder; all splits have the same categories.
        out_dir: dataset folder.
        drop_empty_boxes: leave out boxes without extent and say how many, instead of an error.
            COCO's train2017 has two of them (images 200365 and 550395).
        first: take only this many images of each split, those with the smallest ids, and their
            annotations; None takes all.

    Raises:
        InputError: what `validate_coco` refuses, a missing image, categories that differ, or
            ``first`` is below 1 or more than a split has.
    """
    if first is not None and first < 1:
        raise InputError(f"first must be at least 1, got {first}")
    with own_folder(out_dir) as out:
        files = {split: out / "annotations" / f"{split}.json" for split in splits}
        for file in files.values():
            file.unlink(missing_ok=True)
        contents = {}
        categories: list[Any] | None = None
        reference = next(iter(splits.values())).annotations
        for split, source in splits.items():
            coco = read_json(source.annotations, "annotation file")
            _complete(coco, drop_empty_boxes, source.annotations)
            validate_coco(coco, source.annotations)
            found = sorted((category["id"], category["name"]) for category in coco["categories"])
            if categories is not None and found != categories:
                raise InputError(
                    f"{source.annotations}: the categories differ from those of {reference}"
                )
            categories = found
            if first is not None:
                _keep_first(coco, first, source.annotations)
            link_folder(out / "images" / split, source.images)
            for image in coco["images"]:
                if not (source.images / image["file_name"]).is_file():
                    raise InputError(
                        f"{source.images / image['file_name']}: no such image "
                        f"(image {image['id']} of {source.annotations})"
                    )
                image["file_name"] = f"{split}/{image['file_name']}"
            contents[split] = json.dumps(coco).encode()
        for split, content in contents.items():
            write_atomically(files[split], content)


def take_coco2017(raw: str | Path, out_dir: str | Path) -> None:
    """`take_coco_folder` for the official archives, each unpacked into a folder of its name.

    COCO has person keypoints in files of their own, which one figure shows: they are linked as
    ``annotations/keypoints_<split>.json``.

    Args:
        raw: folder with ``coco_train2017/train2017``, ``coco_val2017/val2017`` and
            ``coco_annotations_trainval2017/annotations``.
        out_dir: dataset folder.

    Raises:
        InputError: see `take_coco_folder`.
    """
    raw = Path(raw)
    annotations = raw / "coco_annotations_trainval2017" / "annotations"
    splits = {
        split: FolderSplit(
            annotations / f"instances_{split}2017.json",
            raw / f"coco_{split}2017" / f"{split}2017",
        )
        for split in ("train", "val")
    }
    take_coco_folder(splits, out_dir, drop_empty_boxes=True)
    for split in splits:
        link = Path(out_dir) / "annotations" / f"keypoints_{split}.json"
        link.unlink(missing_ok=True)
        keypoints = annotations / f"person_keypoints_{split}2017.json"
        if keypoints.is_file():
            link.symlink_to(keypoints.resolve())


def take_coco_panoptic(raw: str | Path, out: str | Path) -> None:
    """Unpack the PNGs inside COCO's panoptic archive and link them beside the JSON of val2017.

    Args:
        raw: the unpacked archive, with ``annotations/panoptic_val2017.{json,zip}``.
        out: JSON to link; the PNGs are linked as the folder of its name without suffix.

    Raises:
        InputError: an archive that is absent or damaged.
    """
    annotations, out = Path(raw) / "annotations", Path(out)
    pictures = annotations / "panoptic_val2017"
    if not pictures.is_dir():
        extract(annotations / "panoptic_val2017.zip", annotations / "unpacked")
        (annotations / "unpacked" / "panoptic_val2017").rename(pictures)
    link_folder(out.with_suffix(""), pictures)
    out.unlink(missing_ok=True)
    out.symlink_to((annotations / "panoptic_val2017.json").resolve())


def take_coco_testdev(images: str | Path, info: str | Path, out_dir: str | Path) -> None:
    """Write ``annotations/testdev.json`` and link ``images/test``: COCO's test-dev has no objects.

    Args:
        images: the unpacked archive of the images, with ``test2017``.
        info: the unpacked archive with ``annotations/image_info_test-dev2017.json``.
        out_dir: folder of the data set.

    Raises:
        InputError: a file that is absent, or not of this form.
    """
    source, out = Path(info) / "annotations" / "image_info_test-dev2017.json", Path(out_dir)
    coco = read_json(source, "list of images")
    coco["annotations"] = []
    for image in coco["images"]:
        image["file_name"] = f"test/{image['file_name']}"
    validate_coco(coco, source)
    link_folder(out / "images" / "test", Path(images) / "test2017")
    write_atomically(out / "annotations" / "testdev.json", json.dumps(coco).encode())


def take_results(placed: str | Path, out: str | Path, panoptic: bool = False) -> None:
    """Link a results file that the user placed, and the PNGs of panoptic results beside it.

    Args:
        placed: where it must be; PNGs in ``<its name without suffix>_segments/``.
        out: link to make; the PNGs are linked as the folder of its name without suffix.
        panoptic: whether there are PNGs.

    Raises:
        InputError: there is no such file or folder. The message says what to do.
    """
    placed, out = Path(placed), Path(out)
    if not placed.is_file():
        raise InputError(
            f"{placed}: no such file; these results are published nowhere with a checksum: put "
            "them there in COCO's format"
        )
    if panoptic:
        link_folder(out.with_suffix(""), placed.with_name(f"{placed.stem}_segments"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    out.symlink_to(placed.resolve())


def _complete(coco: Any, drop_empty_boxes: bool, source: Path) -> None:
    """Fill in what is optional elsewhere; records of a wrong form are left to the validation."""
    if not isinstance(coco, dict) or not isinstance(coco.get("annotations"), list):
        return
    records = [record for record in coco["annotations"] if isinstance(record, dict)]
    boxes = [record for record in records if _is_box(record.get("bbox"))]
    if drop_empty_boxes:
        empty = [record for record in boxes if record["bbox"][2] <= 0 or record["bbox"][3] <= 0]
        if empty:
            ids = [record.get("id") for record in empty]
            print(f"{source}: left out {len(empty)} boxes without extent: {ids}", file=sys.stderr)
            dropped = {id(record) for record in empty}
            coco["annotations"] = [a for a in coco["annotations"] if id(a) not in dropped]
    for record in boxes:
        record.setdefault("area", record["bbox"][2] * record["bbox"][3])
        record.setdefault("iscrowd", 0)
    if any(record.get("id") == 0 for record in records):
        for record in records:
            if isinstance(record.get("id"), int):
                record["id"] += 1


def _keep_first(coco: dict[str, Any], count: int, source: Path) -> None:
    """Leave the ``count`` images with the smallest ids, and what is annotated in them."""
    images = sorted(coco["images"], key=lambda image: image["id"])
    if count > len(images):
        raise InputError(f"{source}: has {len(images)} images, the first {count} are asked for")
    kept = {image["id"] for image in images[:count]}
    for key, name in (("images", "id"), ("annotations", "image_id")):
        coco[key] = [record for record in coco[key] if record[name] in kept]


def _is_box(bbox: Any) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(isinstance(value, int | float) for value in bbox)
    )
