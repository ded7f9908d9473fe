import json

import pytest
from PIL import Image
from rebalance.data.mask_check import check_masks
from rebalance.errors import InputError


@pytest.fixture
def folder(tmp_path, coco):
    """A folder of one's own: each object with the triangle of its box's corners, no ``area``."""
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + width, y, x, y + height]]
        del annotation["area"]
    for image in coco["images"]:
        size = (image["width"], image["height"])
        Image.new("RGB", size).save(tmp_path / image["file_name"])

    def check(first=None):
        (tmp_path / "mine.json").write_text(json.dumps(coco))
        check_masks(
            {"train": tmp_path / "mine.json"}, {"train": tmp_path}, first, tmp_path / "record"
        )

    return check


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(None, "missing key 'segmentation', needed for masks", id="boxes only"),
        pytest.param([], "segmentation must be an RLE .* got \\[\\]", id="as exported, empty"),
        pytest.param([[2, 2, 10, 20]], "segmentation must be .* three points", id="two points"),
        pytest.param({"size": [9, 9], "counts": [0, 81]}, r"segmentation.size must", id="size"),
    ],
)
def test_an_object_without_a_mask_is_refused_by_the_file_that_the_user_has(
    folder, coco, tmp_path, segmentation, message
):
    coco["annotations"][0].pop("segmentation")
    if segmentation is not None:
        coco["annotations"][0]["segmentation"] = segmentation
    with pytest.raises(InputError, match=rf"^{tmp_path}/mine.json: annotation 1: {message}"):
        folder()
    assert not (tmp_path / "record").exists()


def test_images_that_are_not_taken_need_no_masks(folder, coco):
    for annotation in coco["annotations"]:
        if annotation["id"] != 3:  # the one of the first image
            del annotation["segmentation"]
    folder(first=1)
    with pytest.raises(InputError, match="missing key 'segmentation'"):
        folder()


def test_files_are_read_again_only_when_they_change(folder, coco, tmp_path):
    folder()
    kept = (tmp_path / "record").read_text()
    arguments = ({"train": tmp_path / "mine.json"}, {"train": tmp_path / "none"}, None)
    # The images are asked for only where the annotations are read.
    check_masks(*arguments, tmp_path / "record")
    del coco["annotations"][0]["segmentation"]
    with pytest.raises(InputError, match="annotation 1: missing key 'segmentation'"):
        folder()
    assert (tmp_path / "record").read_text() == kept
