import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from rebalance.cli import main
from rebalance.data.coco import decode_mask, load_coco
from rebalance.data.shapes import CLASS_NAMES, draw_scenes, make_shapes
from rebalance.errors import InputError


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, num_train=300, num_val=1, seed=0)
    return load_coco(folder / "annotations" / "train.json")


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_shapes(tmp_path / name, num_train=12, num_val=6, seed=seed)
    first, again, other = (digest(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_an_image_does_not_depend_on_how_many_there_are(shapes_dir):
    first = next(draw_scenes("train", 1, 96, seed=3))
    fifth = list(draw_scenes("train", 5, 96, seed=3))[4]
    eight = list(draw_scenes("train", 8, 96, seed=3))
    np.testing.assert_array_equal(first.pixels, eight[0].pixels)
    np.testing.assert_array_equal(fifth.pixels, eight[4].pixels)


def test_making_it_again_replaces_it(tmp_path):
    make_shapes(tmp_path / "a", num_train=4, num_val=2, seed=1)
    make_shapes(tmp_path / "b", num_train=4, num_val=2, seed=2)
    make_shapes(tmp_path / "b", num_train=4, num_val=2, seed=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_annotations_appear_last(tmp_path):
    make_shapes(tmp_path, num_train=3, num_val=2)
    (tmp_path / "images" / "val" / "000002.jpg").unlink()
    (tmp_path / "images" / "val" / "000002.jpg").mkdir()  # in the way of the last image
    with pytest.raises(IsADirectoryError):
        make_shapes(tmp_path, num_train=3, num_val=2)
    assert not (tmp_path / "annotations" / "val.json").exists()


def test_classes_have_a_long_tail(many):
    counts = Counter(a["category_id"] for a in many["annotations"] if not a["iscrowd"])
    assert set(counts) == set(range(1, len(CLASS_NAMES) + 1))
    total = sum(counts.values())
    # Zipf over 8 classes: 1 / (1 + 1/2 + ... + 1/8) = 0.368 and an eighth of it.
    assert counts[1] / total == pytest.approx(0.368, abs=0.06)
    assert counts[8] / total == pytest.approx(0.046, abs=0.02)


def test_sizes_and_aspects_vary_widely(many):
    boxes = np.array([a["bbox"] for a in many["annotations"] if not a["iscrowd"]])
    side = np.sqrt(boxes[:, 2] * boxes[:, 3])
    assert np.quantile(side, 0.02) < 12
    assert np.quantile(side, 0.98) > 48
    assert (side < 8).mean() < 0.02, "hardly any object is too small to be seen"
    aspect = np.maximum(boxes[:, 2] / boxes[:, 3], boxes[:, 3] / boxes[:, 2])
    assert (aspect > 4).sum() >= 5
    assert np.sort(aspect)[-5] > 4.5


def test_there_are_crowds_and_images_without_objects(many):
    crowds = [a for a in many["annotations"] if a["iscrowd"]]
    assert 0.04 < len(crowds) / 300 < 0.13
    assert all(isinstance(a["segmentation"], dict) for a in crowds)
    seen = {a["image_id"] for a in many["annotations"]}
    assert 0.01 < 1 - len(seen) / 300 < 0.06


def test_boxes_and_areas_are_those_of_the_masks(many):
    sizes = {image["id"]: (image["height"], image["width"]) for image in many["images"]}
    kinds = Counter()
    for annotation in many["annotations"]:
        kinds[type(annotation["segmentation"])] += 1
        mask = decode_mask(annotation["segmentation"], *sizes[annotation["image_id"]])
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.2, abs=10)
        x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask)))
        bx, by, bw, bh = annotation["bbox"]
        # pycocotools fills polygons by rules of its own, so that thin tips may be lost.
        atol = 1.0 if isinstance(annotation["segmentation"], dict) else 2.5
        np.testing.assert_allclose([x, y, x + w, y + h], [bx, by, bx + bw, by + bh], atol=atol)
        height, width = sizes[annotation["image_id"]]
        assert 0 <= bx < bx + bw <= width
        assert 0 <= by < by + bh <= height
    assert min(kinds.values()) > 100, "both polygons and run lengths occur"


def test_objects_have_the_colour_of_their_class(many, tmp_path):
    make_shapes(tmp_path, num_train=30, num_val=1, seed=0)
    hues = {}
    coco = load_coco(tmp_path / "annotations" / "train.json")
    for annotation in coco["annotations"]:
        if annotation["iscrowd"] or annotation["area"] < 150:
            continue
        image = coco["images"][annotation["image_id"] - 1]
        pixels = Image.open(tmp_path / "images" / image["file_name"]).convert("HSV")
        mask = decode_mask(annotation["segmentation"], 96, 96).astype(bool)
        hues.setdefault(annotation["category_id"], []).append(np.asarray(pixels)[mask][:, 0])
    for class_id, values in hues.items():
        turn = np.exp(2j * np.pi * np.concatenate(values) / 255).mean()
        expected = (0.00, 0.60, 0.12, 0.36, 0.50, 0.86, 0.72, 0.24)[class_id - 1]
        difference = (np.angle(turn) / (2 * np.pi) - expected + 0.5) % 1 - 0.5
        assert abs(difference) < 0.05


def test_aspects_vary_on_request(tmp_path):
    make_shapes(tmp_path, num_train=20, num_val=1, vary_aspect=True)
    coco = load_coco(tmp_path / "annotations" / "train.json")
    assert {(i["width"], i["height"]) for i in coco["images"]} == {(96, 96), (96, 72), (72, 96)}
    for image in coco["images"]:
        with Image.open(tmp_path / "images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])


def test_the_command_makes_it(tmp_path, capsys):
    arguments = ["--num-train", "3", "--num-val", "2", "--image-size", "64", "--seed", "9"]
    assert main(["data", "shapes", "--out", str(tmp_path / "a"), *arguments]) == 0
    make_shapes(tmp_path / "b", num_train=3, num_val=2, image_size=64, seed=9)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert main(["data", "shapes", "--out", str(tmp_path / "c"), "--num-val", "0"]) == 2
    assert "num_val must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(InputError, match="must be a folder, is a file"):
        make_shapes(tmp_path / "a", num_train=1, num_val=1)
    assert (tmp_path / "a").read_text() == "mine"


def test_files_have_ordinary_permissions(shapes_dir):
    mode = (shapes_dir / "annotations" / "train.json").stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    assert mode == 0o666 & ~umask
    assert json.loads((shapes_dir / "annotations" / "train.json").read_text())["images"]
