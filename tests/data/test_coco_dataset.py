import copy
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from rebalance.data.coco import CocoDataset, load_coco, read_image
from rebalance.errors import InputError


@pytest.fixture
def on_disk(tmp_path):
    """Write a COCO JSON with grey images of the right size; gives the dataset's arguments."""

    def write(coco, name="train.json"):
        (tmp_path / "images").mkdir(exist_ok=True)
        for image in coco["images"]:
            size = (image["width"], image["height"])
            Image.new("RGB", size, (90, 90, 90)).save(tmp_path / "images" / image["file_name"])
        (tmp_path / name).write_text(json.dumps(coco))
        return tmp_path / name, tmp_path / "images"

    return write


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_gray_values_of_16_bits_are_brought_to_8(tmp_path, mode):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    dtype = {"I;16": "<u2", "I;16B": ">u2"}[mode]
    image = Image.frombytes(mode, (5, 1), values.astype(dtype).tobytes())
    image.save(tmp_path / "a.tif" if mode == "I;16B" else tmp_path / "a.png")
    read = read_image(next(tmp_path.iterdir()))
    assert read.tolist() == [[[0, 0, 1, 128, 255]]] * 3


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_known_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.full((4, 4), 0.5).astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: the image has 32-bit values"):
        read_image(tmp_path / "a.tif")


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: must be a file, is a pipe or a device"):
        read_image(tmp_path / "a.png")


def test_labels_follow_the_category_ids_and_indices_the_image_ids(on_disk, coco):
    data = CocoDataset(*on_disk(coco))
    assert (data.num_classes, data.class_ids, data.class_names) == (2, [3, 9], ["dog", "cat"])
    assert data.image_ids == [4, 7]
    assert data.sizes == [(50, 20), (30, 40)]
    image, target = data.load(1)
    assert image.shape == (3, 30, 40)
    assert image.dtype == torch.uint8
    assert target["image_id"] == 7
    torch.testing.assert_close(target["boxes"], torch.tensor([[1.0, 2, 11, 22]]))
    assert target["labels"].tolist() == [2]
    torch.testing.assert_close(target["ignored_boxes"], torch.tensor([[0.5, 0, 5.5, 4]]))


def test_boxes_are_clipped_to_the_image(on_disk, coco):
    _, target = CocoDataset(*on_disk(coco)).load(0)
    torch.testing.assert_close(target["boxes"], torch.tensor([[15.0, 40, 20, 50]]))


def test_an_ignored_object_is_no_target(on_disk, coco):
    coco["annotations"][0]["ignore"] = 1
    _, target = CocoDataset(*on_disk(coco)).load(1)
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    assert target["ignored_boxes"].shape == (2, 4)


def test_no_objects_at_all_are_fine(on_disk, coco):
    coco["annotations"] = []
    data = CocoDataset(*on_disk(coco), masks=False)
    for index in range(2):
        _, target = data[index]
        assert target["boxes"].shape == (0, 4)
        assert target["boxes"].dtype == torch.float32
        assert target["labels"].dtype == torch.int64


def test_masks_agree_with_pycocotools(shapes_dir):
    annotations = shapes_dir / "annotations" / "train.json"
    data = CocoDataset(annotations, shapes_dir / "images", masks=True)
    oracle = COCO(str(annotations))
    for index, image_id in enumerate(data.image_ids):
        target = data.target(index)
        ids = oracle.getAnnIds(imgIds=[image_id], iscrowd=False)
        records = sorted(oracle.loadAnns(ids), key=lambda record: record["id"])
        assert len(target["masks"]) == len(records)
        for mask, box, label, record in zip(
            target["masks"], target["boxes"], target["labels"], records, strict=True
        ):
            np.testing.assert_array_equal(mask.numpy(), oracle.annToMask(record))
            x, y, w, h = record["bbox"]
            np.testing.assert_allclose(box.numpy(), [x, y, x + w, y + h])
            assert data.class_ids[label - 1] == record["category_id"]


def broken(change):
    def build(coco):
        coco = copy.deepcopy(coco)
        change(coco)
        return coco

    return build


BAD = {
    "x2 <= x1": (
        broken(lambda c: c["annotations"][2].update(bbox=[15, 40, 0, 12])),
        r"annotation 3: bbox .* \(x2 <= x1\), got \[15, 40, 0, 12\]",
    ),
    "y2 <= y1": (
        broken(lambda c: c["annotations"][0].update(bbox=[15, 40, 3, -2])),
        r"annotation 1: bbox .* \(y2 <= y1\)",
    ),
    "unknown category": (
        broken(lambda c: c["annotations"][1].update(category_id=5)),
        r"annotation 2: category_id must be one of \[3, 9\], got 5",
    ),
    "unknown image": (
        broken(lambda c: c["annotations"][1].update(image_id=5)),
        "annotation 2: image_id must be the id of one of the images, got 5",
    ),
    "box of text": (
        broken(lambda c: c["annotations"][0].update(bbox=["1", 2, 3, 4])),
        "annotation 1: bbox must be four finite numbers",
    ),
    "box of three": (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, 3])), "bbox"),
    "box outside": (
        broken(lambda c: c["annotations"][2].update(bbox=[20, 1, 5, 5])),
        "annotation 3: bbox must overlap image 4 of 20 x 50 pixels",
    ),
    "missing box": (
        broken(lambda c: c["annotations"][2].pop("bbox")),
        r"annotation number 2 \(id 3\): missing key 'bbox'",
    ),
    "missing area": (broken(lambda c: c["annotations"][0].pop("area")), "missing key 'area'"),
    "missing width": (
        broken(lambda c: c["images"][1].pop("width")),
        r"image number 1 \(id 4\): missing key 'width'",
    ),
    "zero height": (
        broken(lambda c: c["images"][1].update(height=0)),
        "image 4: height must be a positive integer, got 0",
    ),
    "missing annotations": (
        broken(lambda c: c.pop("annotations")),
        "'annotations' must be a list, got nothing",
    ),
    "annotations as dict": (broken(lambda c: c.update(annotations={})), "must be a list, got dict"),
    "no categories": (broken(lambda c: c.update(categories=[])), "'categories' is empty"),
    "same image id": (
        broken(lambda c: c["images"][1].update(id=7)),
        "image number 1: id 7 is used twice",
    ),
    "same annotation id": (
        broken(lambda c: c["annotations"][2].update(id=1)),
        "annotation number 2: id 1 is used twice",
    ),
    "annotation id 0": (
        broken(lambda c: c["annotations"][2].update(id=0)),
        "id must be at least 1",
    ),
    "same file": (broken(lambda c: c["images"][1].update(file_name="a.jpg")), "must be used once"),
    "file outside": (
        broken(lambda c: c["images"][1].update(file_name="../a.jpg")),
        "image 4: file_name must be a name and stay inside the image folder, got '../a.jpg'",
    ),
    "absolute file": (broken(lambda c: c["images"][1].update(file_name="/a.jpg")), "stay inside"),
    "crowd of 2": (
        broken(lambda c: c["annotations"][0].update(iscrowd=2)),
        "annotation 1: iscrowd must be 0 or 1, got 2",
    ),
    "negative area": (broken(lambda c: c["annotations"][0].update(area=-1)), "area must be"),
    "nan box": (
        broken(lambda c: c["annotations"][0].update(bbox=[float("nan"), 1, 2, 2])),
        "finite numbers",
    ),
    "record as list": (broken(lambda c: c["annotations"].append([1])), "number 3: must be an obj"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_annotation_file_is_refused_by_name_and_field(tmp_path, coco, build, message):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(build(coco)))
    with pytest.raises(InputError, match=message) as error:
        load_coco(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [', "not valid JSON: .*line 1"),
        (b"\xff\xfe\x00junk", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"[]", "must hold an object, got list"),
    ],
)
def test_what_is_not_coco_json_is_refused(tmp_path, content, message):
    (tmp_path / "train.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_coco(tmp_path / "train.json")


def test_missing_files_are_named(tmp_path, on_disk, coco):
    with pytest.raises(InputError, match=r"annotations/train\.json: no such annotation file"):
        CocoDataset(tmp_path / "annotations" / "train.json", tmp_path)
    annotations, images = on_disk(coco)
    with pytest.raises(InputError, match="nowhere: no such image folder"):
        CocoDataset(annotations, tmp_path / "nowhere")
    (images / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"a\.jpg: no such image file"):
        CocoDataset(annotations, images).load(1)


def test_a_box_that_vanishes_in_single_precision_is_refused(on_disk, coco):
    coco["annotations"][0]["bbox"] = [30.0, 2, 1e-9, 5]
    with pytest.raises(InputError, match=r"annotation 1: bbox .* no extent"):
        CocoDataset(*on_disk(coco))


def test_an_image_of_another_size_is_refused(on_disk, coco):
    annotations, images = on_disk(coco)
    Image.new("RGB", (41, 30)).save(images / "a.jpg")
    message = r"a\.jpg: the image has 41 x 30 pixels, but .*train\.json says 40 x 30 \(image 7\)"
    with pytest.raises(InputError, match=message):
        CocoDataset(annotations, images).load(1)


def test_masks_need_segmentations(on_disk, coco):
    with pytest.raises(InputError, match="annotation 3: missing key 'segmentation'"):
        CocoDataset(*on_disk(coco), masks=True)


SQUARE = [[2, 2, 10, 2, 10, 20, 2, 20]]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(
            [[2, 2, 10, 20]],
            r"segmentation must be .* of three points and more, .*, got \[\[2, 2, 10, 20\]\]",
            id="two points",
        ),
        pytest.param([*SQUARE, [1, 2, 3, 4, 5]], "segmentation must be", id="odd"),
        pytest.param([], r"segmentation must be .*, got \[\]", id="no polygon"),
        pytest.param([[1, 2, 3, 4, 5, float("nan")]], "segmentation must be", id="nan"),
        pytest.param([[0, 0, 1e9, 0, 1e9, 1e9]], "segmentation must be", id="out of all bounds"),
        pytest.param([[1, 2, 3, 4, 5, "6"]], "segmentation must be", id="text"),
        pytest.param([SQUARE], "segmentation must be", id="nested too deep"),
        pytest.param("abc", "segmentation must be .*, got 'abc'", id="a string"),
        pytest.param(
            {"size": [40, 30], "counts": [0, 1200]},
            r"segmentation\.size must be \[30, 40\], .*, got \[40, 30\]",
            id="height and width exchanged",
        ),
        pytest.param(
            {"size": [30, 40], "counts": [0, 1199]},
            r"segmentation\.counts must be .* that sum to 30 x 40, got \[0, 1199\]",
            id="a pixel short",
        ),
        pytest.param(
            {"size": [30, 40], "counts": "abc"},
            r"segmentation\.counts must sum to 30 x 40 = 1200, got",
            id="compressed runs of another size",
        ),
        pytest.param({"counts": [0, 1200]}, r"segmentation\.size must be", id="without a size"),
    ],
)
def test_a_bad_segmentation_is_refused_at_once_by_file_and_annotation(
    on_disk, coco, segmentation, message
):
    for annotation in coco["annotations"]:
        annotation["segmentation"] = SQUARE
    coco["annotations"][0]["segmentation"] = segmentation
    annotations, images = on_disk(coco)
    CocoDataset(annotations, images)  # boxes do not need it
    with pytest.raises(InputError, match=f"annotation 1: {message}") as error:
        CocoDataset(annotations, images, masks=True)
    assert str(error.value).startswith(f"{annotations}: ")
    assert "\n" not in str(error.value)


def test_ignored_objects_need_no_segmentation(on_disk, coco):
    for annotation in coco["annotations"]:
        annotation["segmentation"] = SQUARE
    coco["annotations"][1].pop("segmentation")
    assert coco["annotations"][1]["iscrowd"] == 1
    data = CocoDataset(*on_disk(coco), masks=True)
    for index, size in enumerate(data.sizes):
        target = data.target(index)
        assert target["masks"].shape == (1, *size)
        assert target["masks"].sum() == 8 * 18


@pytest.mark.parametrize("kind", ["cut", "no image", "empty", "no header"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_damaged_image_is_refused_by_name(tmp_path, kind, suffix):
    path = tmp_path / f"damaged.{suffix}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "no image": b"<html>404</html>",
            "empty": b"",
            "no header": bytes(100) + content[100:],
        }[kind]
    )
    with pytest.raises(InputError, match=rf"damaged\.{suffix}: the image cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_every_colour_mode_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode in ("L", "CMYK") else "image.png")
    picture = Image.new("RGB", (8, 6), (200, 200, 200))
    picture = picture.quantize(2) if mode == "P" else picture.convert(mode)
    picture.save(path)
    assert Image.open(path).mode == mode
    image = read_image(path)
    assert image.shape == (3, 6, 8)
    assert (image.int() - 200).abs().max() <= 8
