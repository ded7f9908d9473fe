"""Images with ground truth: a hand-made data set, the shapes, and real images."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from rebalance.errors import InputError
from rebalance.figures.annotated_images import FIGURES
from rebalance.figures.annotated_images import compute as annotated_images
from rebalance.figures.annotated_images.compute import (
    ambiguous_pair,
    annotated_counts,
    image_folder,
    tasks_image,
)
from rebalance.figures.style import save_bitmap

NUMBERS = {"tasks": {"keypoint_class": "person"}, "ambiguous": {"iou_above": 0.5}}
SIZE = (40, 60)  # height, width
PERSON, CUP, CAT = 1, 2, 3
OBJECTS = {
    # image: (annotation, category, x, y, width, height)
    7: [(1, PERSON, 5, 5, 20, 30), (2, CUP, 15, 10, 12, 12), (3, CAT, 35, 20, 20, 15)],
    8: [(4, CUP, 2, 2, 10, 10), (5, CUP, 20, 20, 10, 10), (6, CAT, 40, 5, 15, 15)],
    9: [(7, PERSON, 1, 1, 4, 4), (8, CUP, 30, 20, 3, 3), (9, CAT, 10, 10, 20, 20)],
}
POINTS = [0, 0, 0, 10, 10, 2, 12, 30, 1]


def polygon(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def write_data_set(folder, masks=True, keypoints=False, panoptic=False):
    """Three images of rectangles; image 9 has objects too small to be shown."""
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0]}
                   for i in OBJECTS],
        "categories": [{"id": c, "name": name}
                       for c, name in ((PERSON, "person"), (CUP, "cup"), (CAT, "cat"))],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box,
             "area": box[2] * box[3], "iscrowd": 0}
            | ({"segmentation": polygon(*box)} if masks else {})
            for image, objects in OBJECTS.items() for number, category, *box in objects
        ],
    }  # fmt: skip
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    path = folder / "annotations" / "train.json"
    path.write_text(json.dumps(coco))
    for i in OBJECTS:
        Image.new("RGB", SIZE[::-1], (90, 120, 150)).save(folder / "images" / f"{i}.png")
    if keypoints:
        persons = [
            a | {"keypoints": POINTS, "num_keypoints": 2}
            for a in coco["annotations"]
            if a["id"] == 1
        ]
        skeleton = {"id": PERSON, "name": "person", "skeleton": [[1, 2], [2, 3]]}
        (folder / "annotations" / "keypoints_train.json").write_text(
            json.dumps(coco | {"annotations": persons, "categories": [skeleton]})
        )
    if panoptic:
        numbers = np.full(SIZE, 300)  # two bytes: 44 + 256
        numbers[5:35, 5:25] = 7
        pixels = np.stack([numbers % 256, numbers // 256 % 256, numbers // 256**2], axis=2)
        (folder / "annotations" / "panoptic_train").mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(
            folder / "annotations" / "panoptic_train" / "7.png"
        )
        (folder / "annotations" / "panoptic_train.json").write_text(json.dumps({
            "annotations": [{"image_id": 7, "file_name": "7.png", "segments_info": [
                {"id": 300, "category_id": 9}, {"id": 7, "category_id": PERSON}]}],
            "categories": [{"id": PERSON, "name": "person", "isthing": 1},
                           {"id": 9, "name": "sky", "isthing": 0}],
        }))  # fmt: skip
    return {"train": str(path)}


def failing(what, annotations):
    return [c.name for c in FIGURES[what].checks(annotations, NUMBERS[what]) if c.holds is False]


def test_the_image_with_most_classes_of_objects_that_can_be_seen_is_shown(tmp_path):
    image = tasks_image(write_data_set(tmp_path / "a"))
    # 7 and 9 have three classes, 8 has two; the objects of 9 are too small.
    assert image.image_id == 7
    assert [instance.name for instance in image.instances] == ["person", "cup", "cat"]
    assert image.instances[0].box == (5, 5, 25, 35)
    assert image.instances[0].mask.sum() == 20 * 30
    assert image.pixels.shape == (*SIZE, 3)


def test_what_is_not_annotated_is_said(tmp_path):
    plain = write_data_set(tmp_path / "a", masks=False)
    assert list(annotated_counts(tasks_image(plain)).values()) == [3, None, None, None]
    assert failing("tasks", plain) == []
    first = FIGURES["tasks"].checks(plain, NUMBERS["tasks"])[0]
    assert (first.name, first.holds) == ("the image is annotated for all four tasks", None)
    shown = FIGURES["tasks"].table(plain).set_index("what")["shown"]
    assert shown["keypoint detection"] == "not annotated in this data set"
    assert shown["object detection"] == "3 boxes"
    save_bitmap(FIGURES["tasks"].draw(plain), tmp_path / "plain.png", 40)


def test_an_image_with_all_four_annotations_is_found_and_drawn(tmp_path):
    full = write_data_set(tmp_path / "a", keypoints=True, panoptic=True)
    image = tasks_image(full)
    assert list(annotated_counts(image).values()) == [3, 1, 3, 2]
    assert all(check.holds for check in FIGURES["tasks"].checks(full, NUMBERS["tasks"]))
    person = image.instances[0]
    assert person.keypoints.tolist() == [[0, 0, 0], [10, 10, 2], [12, 30, 1]]
    sky, thing = image.segments
    assert (sky.name, sky.thing, thing.name, thing.thing) == ("sky", False, "person", True)
    assert thing.mask.sum() == 600
    assert sky.mask.sum() == 40 * 60 - 600
    fig = FIGURES["tasks"].draw(full)
    lines = fig.axes[1].lines
    # The first keypoint is not labelled: neither it nor its bone is drawn.
    assert [line.get_xydata().tolist() for line in lines] == [[[10, 10], [12, 30]]] * 2


def test_a_mask_that_leaves_its_box_is_noticed(tmp_path):
    annotations = write_data_set(tmp_path / "a")
    path = tmp_path / "a" / "annotations" / "train.json"
    coco = json.loads(path.read_text())
    coco["annotations"][0]["segmentation"] = polygon(5, 5, 28, 30)  # 8 pixels too wide
    path.write_text(json.dumps(coco))
    claims = {c.name: c for c in FIGURES["tasks"].checks(annotations, NUMBERS["tasks"])}
    claim = claims["the masks lie in their boxes, to two pixels"]
    assert not claim.holds
    assert claim.measured == "at most 8.0 pixels outside"


def test_shares_and_ious_are_those_of_counted_pixels(tmp_path):
    """The summed-area table and the search against masks and areas counted one by one."""
    image, covered, missed = ambiguous_pair(write_data_set(tmp_path / "a"))
    assert image.image_id == 7
    assert {covered.of.name, covered.other.name} == {"person", "cup"}
    for positive in (covered, missed):
        x1, y1, x2, y2 = positive.box
        inside = np.zeros(SIZE, dtype=bool)
        inside[y1:y2, x1:x2] = True
        own = positive.of.mask
        assert positive.own_share == pytest.approx((inside & own).sum() / inside.sum())
        other = positive.other.mask & ~own
        assert positive.other_share == pytest.approx((inside & other).sum() / inside.sum())
        # Objects are whole pixels, so their masks are their boxes.
        assert positive.iou == pytest.approx((inside & own).sum() / (inside | own).sum())
        assert positive.iou > 0.5


def test_no_box_of_a_random_search_is_more_ambiguous(tmp_path):
    _, covered, _ = ambiguous_pair(write_data_set(tmp_path / "a"))
    rng = np.random.default_rng(0)
    x1, y1, x2, y2 = covered.of.box
    found = []
    for corners in rng.uniform(-0.5, 0.5, size=(3000, 4)):
        box = np.round([x1, y1, x2, y2] + corners * ([x2 - x1, y2 - y1] * 2)).astype(int)
        box = np.clip(box, 0, [SIZE[1], SIZE[0]] * 2)
        if (box[2:] <= box[:2]).any():
            continue
        inside = np.zeros(SIZE, dtype=bool)
        inside[box[1] : box[3], box[0] : box[2]] = True
        own = covered.of.mask
        if (inside & own).sum() / (inside | own).sum() >= annotated_images.SEARCHED_IOU:
            found.append((inside & covered.other.mask & ~own).sum() / inside.sum())
    assert len(found) > 50
    assert covered.other_share >= max(found) - 0.03  # the lattice has steps of 1/16 of a side


def test_images_and_pairs_that_are_not_there_are_errors_that_say_so(tmp_path):
    annotations = write_data_set(tmp_path / "a", masks=False)
    with pytest.raises(InputError, match="no object with a segmentation covers another"):
        ambiguous_pair(annotations)
    with pytest.raises(InputError, match=r"b/images: no such image folder"):
        image_folder(tmp_path / "b" / "annotations" / "train.json")
    os.unlink(tmp_path / "a" / "images" / "7.png")
    with pytest.raises(InputError, match=r"7.png: no such image file"):
        tasks_image(annotations)
    Image.new("RGB", (3, 5)).save(tmp_path / "a" / "images" / "7.png")
    with pytest.raises(InputError, match=r"3 x 5 pixels, but .* says 60 x 40 \(image 7\)"):
        tasks_image(annotations)


@pytest.mark.parametrize("data_set", ["shapes", "coco_tiny"])
@pytest.mark.parametrize("what", FIGURES)
def test_figures_of_the_data_sets_at_hand(data_set, what, request, tmp_path):
    annotations = request.getfixturevalue(data_set)
    assert failing(what, annotations) == []
    assert len(FIGURES[what].table(annotations)) > 1
    first = FIGURES[what].draw(annotations)
    annotated_images._load_split.cache_clear()
    annotated_images._ambiguous_pair.cache_clear()
    for name, fig in (("a", first), ("b", FIGURES[what].draw(annotations))):
        save_bitmap(fig, tmp_path / f"{name}.png", 60)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
