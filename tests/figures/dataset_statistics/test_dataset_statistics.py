"""Statistics of a hand-made data set whose every count is known."""

import json

import numpy as np
import pytest
from PIL import Image
from rebalance.figures.dataset_statistics import FIGURES
from rebalance.figures.dataset_statistics.compute import (
    anchors_per_label,
    class_counts,
    contrasting_images,
    load_objects,
    per_image_counts,
    statistics_table,
)
from rebalance.figures.style import save_bitmap

BOXES = {
    # image: (category, x, y, width, height, crowd)
    1: [(1, 0, 0, 50, 40, 0), (1, 10, 10, 20, 20, 0), (2, 60, 50, 40, 50, 0)],
    2: [(2, 0, 0, 100, 100, 0), (2, 5, 5, 30, 30, 0), (1, 40, 40, 60, 20, 0)],
    3: [(1, 20, 20, 40, 60, 0), (3, 0, 0, 100, 100, 1)],
}


@pytest.fixture
def objects(tmp_path):
    annotations = [
        {"id": 10 * image + k, "image_id": image, "category_id": category,
         "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
        for image, boxes in BOXES.items()
        for k, (category, x, y, w, h, crowd) in enumerate(boxes)
    ]  # fmt: skip
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 100} for i in BOXES],
        "categories": [{"id": c, "name": name} for c, name in ((1, "cup"), (2, "cat"), (3, "car"))],
        "annotations": annotations,
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(coco))
    return load_objects({"train": str(path)})


def test_crowds_are_left_out_and_scales_are_relative(objects):
    assert len(objects) == 7
    first = objects.iloc[0]
    assert (first["width"], first["height"], first["area"]) == pytest.approx((0.25, 0.4, 0.1))
    assert (first["x"], first["y"]) == pytest.approx((0.125, 0.2))


def test_counts_of_classes_and_images(objects):
    assert class_counts(objects).to_dict() == {"cup": 4, "cat": 3}
    assert per_image_counts(objects).to_dict("list") == {"objects": [3, 3, 1], "classes": [2, 2, 1]}
    table = statistics_table(objects).set_index("quantity")["value"]
    assert table["images with objects"] == 3
    assert table["objects in an image, mean"] == pytest.approx(7 / 3)


def test_contrasting_images_have_opposite_orders(objects):
    assert contrasting_images(objects) == (1, 2, "cup", "cat")


def test_no_contrast_is_an_error_that_says_so(objects):
    with pytest.raises(ValueError, match="no pair of classes"):
        contrasting_images(objects[objects["image_id"] != 2])


def test_anchors_per_image_are_those_of_retinanet(objects):
    # 200 x 100 is scaled by 6.665 to 1333 x 666, on a canvas of 1344 x 672: 9 anchors per cell.
    cells = sum((-(-1344 // stride)) * (-(-672 // stride)) for stride in (8, 16, 32, 64, 128))
    background, foreground = anchors_per_label(objects)
    assert background + foreground.sum() <= 9 * cells
    assert background > 0.97 * 9 * cells
    assert (foreground > 0).all()
    assert set(foreground.index) == {"cup", "cat"}


@pytest.mark.parametrize("what", FIGURES)
def test_what_the_figures_show_holds(objects, what):
    if what == "scales":
        assert all(claim.holds for claim in FIGURES[what].checks(objects)[:3])
    else:
        assert all(claim.holds for claim in FIGURES[what].checks(objects))


@pytest.mark.parametrize("data_set", ["shapes", "coco_tiny"])
@pytest.mark.parametrize("what", FIGURES)
def test_claims_hold_on_the_data_sets_at_hand(data_set, what, request, tmp_path):
    objects = load_objects(request.getfixturevalue(data_set))
    failed = [claim for claim in FIGURES[what].checks(objects) if not claim.holds]
    assert not failed
    save_bitmap(FIGURES[what].draw(objects), tmp_path / "figure.png", 60)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "figure.png")))) > 10  # drawn upon
