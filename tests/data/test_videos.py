"""Videos: ImageNet VID's own layout, and drawn ones."""

import json

import numpy as np
import pytest
from PIL import Image
from rebalance.data.coco import load_coco
from rebalance.data.videos import VID_CLASSES, make_shapes_videos, take_imagenet_vid
from rebalance.errors import InputError

XML = """<annotation><folder>{video}</folder><filename>000000</filename>
<size><width>64</width><height>48</height></size>{objects}</annotation>"""
OBJECT = """<object><trackid>0</trackid><name>{name}</name><bndbox><xmax>{x2}</xmax><xmin>2</xmin>
<ymax>30</ymax><ymin>10</ymin></bndbox><occluded>0</occluded></object>"""


@pytest.fixture
def layout(tmp_path):
    """Two videos, the second without any of the 15 classes, and the categories of a detector."""
    bus, fox = "n02924116", "n02118333"
    videos = {"a": [[(bus, 22), (fox, 9)], [(bus, 24)], []], "b": [[(fox, 9)]]}
    for video, frames in videos.items():
        for number, things in enumerate(frames):
            objects = "".join(OBJECT.format(name=name, x2=x2) for name, x2 in things)
            for part, suffix in (("Annotations", "xml"), ("Data", "JPEG")):
                path = tmp_path / part / video / f"{number:06d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                if suffix == "xml":
                    path.write_text(XML.format(video=video, objects=objects))
                else:
                    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(path, format="JPEG")
    categories = [{"id": 10 + place, "name": name} for place, name in
                  enumerate(["person", *VID_CLASSES.values()])]  # fmt: skip
    content = {"images": [], "annotations": [], "categories": categories}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return tmp_path


def take(layout):
    take_imagenet_vid(layout / "Annotations", layout / "Data", layout / "coco.json", layout / "out")
    return load_coco(layout / "out" / "annotations" / "val.json")


def test_videos_with_classes_of_coco_become_frames_of_its_categories(layout):
    coco = take(layout)
    assert [(i["video_id"], i["frame"], i["file_name"]) for i in coco["images"]] == [
        (0, 0, "val/a/000000.JPEG"), (0, 1, "val/a/000001.JPEG"), (0, 2, "val/a/000002.JPEG"),
    ]  # fmt: skip
    assert all((layout / "out" / "images" / i["file_name"]).is_file() for i in coco["images"])
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found = [(a["image_id"], names[a["category_id"]], a["bbox"]) for a in coco["annotations"]]
    assert found == [(1, "bus", [2, 10, 20, 20]), (2, "bus", [2, 10, 22, 20])]
    assert len(coco["categories"]) == 16


def test_what_is_not_there_is_one_sentence(layout):
    with pytest.raises(InputError, match=r"nowhere: no such folder; ImageNet VID is given after"):
        take_imagenet_vid(layout / "nowhere", layout, layout / "coco.json", layout / "out")
    (layout / "Annotations/a/000001.xml").write_text("<annotation>")
    with pytest.raises(InputError, match=r"000001.xml: is no annotation of ImageNet VID"):
        take(layout)


def test_a_camera_pans_over_a_scene(tmp_path):
    make_shapes_videos(tmp_path, num_videos=2, num_frames=5, image_size=64, seed=1)
    coco = load_coco(tmp_path / "annotations" / "val.json")
    assert [(i["video_id"], i["frame"]) for i in coco["images"]] == [
        (video, frame) for video in range(2) for frame in range(5)
    ]
    assert len({a["image_id"] for a in coco["annotations"]}) >= 5
    first = (tmp_path / "annotations" / "val.json").read_bytes()
    make_shapes_videos(tmp_path, num_videos=2, num_frames=5, image_size=64, seed=1)
    assert (tmp_path / "annotations" / "val.json").read_bytes() == first
