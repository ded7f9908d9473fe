import json
import math
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rebalance.cli import main
from rebalance.data.coco import CocoDataset, load_coco, read_image
from rebalance.data.shapes import CLASS_NAMES, draw_scenes
from rebalance.data.voc import make_shapes_voc, read_voc_annotation, voc_to_coco
from rebalance.errors import InputError


@pytest.fixture(scope="module")
def devkit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc") / "VOCdevkit"
    make_shapes_voc(folder, num_train=41, num_val=20, seed=3)
    return folder


def convert(devkit, out):
    splits = {
        "train": [f"{devkit}/VOC2007:trainval", f"{devkit}/VOC2012:trainval"],
        "val": [f"{devkit}/VOC2007:test"],
    }
    voc_to_coco(splits, out, CLASS_NAMES)
    return out


def annotation(tmp_path, objects, width=500, height=375):
    path = tmp_path / "000001.xml"
    path.write_text(
        f"<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{objects}</annotation>"
    )
    return path


def voc_object(name="cat", corners=(8, 12, 352, 498), difficult="<difficult>0</difficult>"):
    tags = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, corners, strict=True))
    return f"<object><name>{name}</name>{difficult}<bndbox>{box}</bndbox></object>"


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        pytest.param((1, 1, 10, 20), (0, 0, 10, 20), id="10 x 20 pixels from the first"),
        pytest.param((48, 240, 195, 371), (47, 239, 195, 371), id="148 x 132 pixels"),
        pytest.param((500, 375, 500, 375), (499, 374, 500, 375), id="the last pixel alone"),
        pytest.param((0, 0, 510, 380), (0, 0, 500, 375), id="clipped to the image"),
        pytest.param((45.7, 2, 46, 4), (44.7, 1, 46, 4), id="fractions, as in a few of 2011's"),
    ],
)
def test_corners_become_edges_counted_from_zero(tmp_path, corners, expected):
    path = annotation(tmp_path, voc_object(corners=corners))
    width, height, [found] = read_voc_annotation(path)
    assert (width, height) == (500, 375)
    assert found["box"] == pytest.approx(expected)


def test_parts_and_the_absence_of_difficult_are_understood(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    text = voc_object(difficult=part) + voc_object("dog", difficult="<difficult>1</difficult>")
    _, _, objects = read_voc_annotation(annotation(tmp_path, text))
    assert [(o["name"], o["difficult"]) for o in objects] == [("cat", False), ("dog", True)]
    assert objects[0]["box"] == (7, 11, 352, 375)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc_object(corners=(20, 12, 19, 98)), r"object 0 \(cat\): xmax < xmin .*\[20.0, 12.0"),
        (voc_object(corners=(501, 12, 520, 98)), r"within 500 x 375 pixels"),
        (voc_object(corners=("a", 12, 520, 98)), "bndbox/xmin must be a number, got 'a'"),
        (voc_object(name=""), "object 0: missing field 'name'"),
        ("<object><name>cat</name></object>", "object 0: missing field 'bndbox/xmin'"),
        (voc_object(difficult="<difficult>yes</difficult>"), "difficult must be 0 or 1, got 'yes'"),
        ("<object>", "not valid XML"),
    ],
)
def test_a_bad_annotation_is_refused_by_file_and_field(tmp_path, text, message):
    path = annotation(tmp_path, text)
    with pytest.raises(InputError, match=message) as error:
        read_voc_annotation(path)
    assert str(error.value).startswith(str(path))


def test_the_layout_is_that_of_voc(devkit):
    from torchvision.datasets import VOCDetection

    found = VOCDetection(devkit.parent, year="2012", image_set="trainval")
    assert len(found) == 21  # 41 training images, 20 of them in VOC2007
    image, target = found[0]
    assert image.size == (96, 96)
    assert target["annotation"]["filename"] == "2012_00021.jpg"
    test = (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").read_text().split()
    assert len(test) == 20


def test_there_are_difficult_objects_but_not_too_many(devkit):
    flags = [
        element.findtext("difficult")
        for path in devkit.glob("*/Annotations/*.xml")
        for element in ET.parse(path).getroot().iter("object")
    ]
    assert 0.03 < flags.count("1") / len(flags) < 0.35


def test_the_round_trip_keeps_every_object(devkit, tmp_path):
    out = convert(devkit, tmp_path / "voc")
    data = CocoDataset(out / "annotations" / "train.json", out / "images")
    scenes = list(draw_scenes("train", 41, 96, seed=3))
    assert len(data) == 41
    for index, scene in enumerate(scenes):
        image, target = data.load(index)
        difference = np.abs(image.permute(1, 2, 0).numpy().astype(int) - scene.pixels).mean()
        assert difference < 3  # JPEG
        kept = [i for i in scene.instances if not i.difficult]
        ignored = [i for i in scene.instances if i.difficult]
        assert target["labels"].tolist() == [i.class_id for i in kept]
        for boxes, instances in ((target["boxes"], kept), (target["ignored_boxes"], ignored)):
            assert len(boxes) == len(instances)
            for box, instance in zip(boxes.tolist(), instances, strict=True):
                x1, y1, x2, y2 = instance.box  # VOC can only say whole pixels
                assert box == [math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)]


def test_sets_are_merged_and_images_linked(devkit, tmp_path):
    out = convert(devkit, tmp_path / "voc")
    train = load_coco(out / "annotations" / "train.json")
    folders = [image["file_name"].split("/")[0] for image in train["images"]]
    assert folders == ["VOC2007_trainval"] * 20 + ["VOC2012_trainval"] * 21
    assert [image["id"] for image in train["images"]] == list(range(1, 42))
    link = out / "images" / "VOC2007_test"
    assert link.is_symlink()
    assert not str(link.readlink()).startswith("/")
    for image in train["images"]:
        assert read_image(out / "images" / image["file_name"]).shape == (3, 96, 96)
    before = (out / "annotations" / "train.json").read_bytes()
    convert(devkit, out)  # again, over itself
    assert (out / "annotations" / "train.json").read_bytes() == before


def test_difficult_objects_do_not_count_in_pycocotools(devkit, tmp_path):
    out = convert(devkit, tmp_path / "voc")
    oracle = COCO(str(out / "annotations" / "val.json"))
    records = oracle.loadAnns(oracle.getAnnIds())
    assert any(record["difficult"] for record in records)
    assert all(r["iscrowd"] == r["ignore"] == r["difficult"] for r in records)
    # Easy objects are found; difficult ones are found twice with a higher score. Both are ignored.
    detections = []
    for record in records:
        score = 0.9 if record["difficult"] else 0.5
        keys = {key: record[key] for key in ("image_id", "category_id", "bbox")}
        detections += [{**keys, "score": score}] * (2 if record["difficult"] else 1)
    evaluation = COCOeval(oracle, oracle.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda kit: (kit / "VOC2007/Annotations/000003.xml").unlink(),
            r"000003\.xml: no such ann",
        ),
        (
            lambda kit: (kit / "VOC2007/JPEGImages/000003.jpg").unlink(),
            r"000003\.jpg: no such image",
        ),
        (
            lambda kit: (kit / "VOC2007/ImageSets/Main/test.txt").unlink(),
            r"test\.txt: no such imag",
        ),
        (lambda kit: shutil.rmtree(kit / "VOC2012/JPEGImages"), "JPEGImages: no such image folder"),
    ],
)
def test_a_damaged_devkit_leaves_no_annotations(devkit, tmp_path, damage, message):
    kit = tmp_path / "VOCdevkit"
    shutil.copytree(devkit, kit)
    out = convert(kit, tmp_path / "voc")
    damage(kit)
    with pytest.raises(InputError, match=message):
        convert(kit, out)
    assert not (out / "annotations" / "val.json").exists()


def test_an_unknown_class_is_refused(devkit, tmp_path):
    with pytest.raises(InputError, match=r"\.xml: object \d+: name must be one of \['aeroplane'"):
        voc_to_coco({"val": [f"{devkit}/VOC2007:test"]}, tmp_path / "voc")


def test_two_folders_of_one_name_are_refused(devkit, tmp_path):
    shutil.copytree(devkit, tmp_path / "kit")
    entries = [f"{devkit}/VOC2007:trainval", f"{tmp_path}/kit/VOC2007:trainval"]
    with pytest.raises(InputError, match="need folders of different names"):
        voc_to_coco({"train": entries}, tmp_path / "voc", CLASS_NAMES)


def test_the_commands_do_the_whole_way(tmp_path, capsys):
    kit = tmp_path / "kit"
    numbers = ["--num-train", "4", "--num-val", "2", "--seed", "1"]
    assert main(["data", "shapes-voc", "--out", str(kit), *numbers]) == 0
    sets = ["--train", f"{kit}/VOC2007:trainval", f"{kit}/VOC2012:trainval"]
    sets += ["--val", f"{kit}/VOC2007:test", "--out", str(tmp_path / "voc")]
    assert main(["data", "voc", *sets, "--classes", *CLASS_NAMES]) == 0
    assert len(json.loads((tmp_path / "voc/annotations/train.json").read_text())["images"]) == 4
    capsys.readouterr()
    assert main(["data", "shapes-voc", "--out", str(kit), *numbers]) == 0, "it is left as it is"
    capsys.readouterr()
    assert main(["data", "shapes-voc", "--out", str(kit), *numbers[:-1], "2"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert (
        main(["data", "voc", "--train", "kit", "--val", "kit", "--out", str(tmp_path / "v")]) == 2
    )
    assert "FOLDER:SET, got 'kit'" in capsys.readouterr().err
