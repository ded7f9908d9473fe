import json

import pytest
from PIL import Image
from pycocotools.coco import COCO
from rebalance.cli import main
from rebalance.data.coco import CocoDataset, load_coco
from rebalance.data.folder import FolderSplit, take_coco2017, take_coco_folder
from rebalance.errors import InputError


@pytest.fixture
def write(tmp_path):
    """Write a COCO folder; gives its split."""

    def write(coco, annotations, images):
        (tmp_path / images).mkdir(parents=True, exist_ok=True)
        for image in coco["images"]:
            size = (image["width"], image["height"])
            Image.new("RGB", size).save(tmp_path / images / image["file_name"])
        (tmp_path / annotations).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / annotations).write_text(json.dumps(coco))
        return FolderSplit(tmp_path / annotations, tmp_path / images)

    return write


def test_coco_tiny_becomes_the_one_format(shared_dir, tmp_path):
    tiny = shared_dir / "data" / "coco_tiny"
    arguments = ["data", "coco-folder", "--out", str(tmp_path / "coco_tiny")]
    for split in ("train", "val"):
        arguments += [f"--{split}-images", str(tiny / f"{split}2017")]
        arguments += [f"--{split}-annotations"]
        arguments += [str(tiny / "annotations" / f"instances_{split}2017.json")]
    assert main(arguments) == 0
    for split in ("train", "val"):
        path = tmp_path / "coco_tiny" / "annotations" / f"{split}.json"
        data = CocoDataset(path, tmp_path / "coco_tiny" / "images", masks=True)
        assert (len(data), data.num_classes) == (80, 80)
        original = COCO(str(tiny / "annotations" / f"instances_{split}2017.json"))
        for index in range(len(data)):
            image, target = data.load(index)
            assert image.shape[1:] == data.sizes[index]
            ids = original.getAnnIds(imgIds=[data.image_ids[index]])
            crowds = sum(record["iscrowd"] for record in original.loadAnns(ids))
            assert len(target["ignored_boxes"]) == crowds
            assert len(target["boxes"]) == len(target["masks"]) == len(ids) - crowds
        # Nothing but the file names has changed.
        taken = load_coco(path)
        for image in taken["images"]:
            image["file_name"] = image["file_name"].removeprefix(f"{split}/")
        assert taken == original.dataset


def test_what_others_leave_out_is_filled_in(write, tmp_path, coco):
    for number, annotation in enumerate(coco["annotations"]):
        annotation["id"] = number  # from 0
        del annotation["iscrowd"], annotation["area"]
    split = write(coco, "a.json", "images")
    take_coco_folder({"train": split, "val": split}, tmp_path / "out")
    taken = load_coco(tmp_path / "out" / "annotations" / "val.json")
    assert [a["id"] for a in taken["annotations"]] == [1, 2, 3]
    assert [a["area"] for a in taken["annotations"]] == [200, 20, 63]
    assert [a["iscrowd"] for a in taken["annotations"]] == [0, 0, 0]
    assert json.loads(split.annotations.read_text()) == coco, "the source is not touched"


def test_the_first_images_by_id_are_taken_with_their_annotations(write, tmp_path, coco):
    split = write(coco, "a.json", "images")
    arguments = ["data", "coco-folder", "--out", str(tmp_path / "out"), "--first", "1"]
    for name in ("train", "val"):
        arguments += [f"--{name}-annotations", str(split.annotations)]
        arguments += [f"--{name}-images", str(split.images)]
    assert main(arguments) == 0
    for name in ("train", "val"):
        taken = load_coco(tmp_path / "out" / "annotations" / f"{name}.json")
        assert [image["id"] for image in taken["images"]] == [4]
        assert [annotation["id"] for annotation in taken["annotations"]] == [3]
        assert len(taken["categories"]) == 2
        assert (tmp_path / "out" / "images" / taken["images"][0]["file_name"]).is_file()


@pytest.mark.parametrize(
    ("first", "message"),
    [(0, "first must be at least 1, got 0"), (3, r"a\.json: has 2 images, the first 3 are asked")],
)
def test_more_images_than_there_are_or_none_are_refused(write, tmp_path, coco, first, message):
    split = write(coco, "a.json", "images")
    with pytest.raises(InputError, match=message):
        take_coco_folder({"train": split, "val": split}, tmp_path / "out", first=first)
    assert not list((tmp_path / "out").rglob("*.json"))


def test_empty_boxes_are_an_error_or_left_out_on_request(write, tmp_path, coco, capsys):
    coco["annotations"][1]["bbox"] = [3, 3, 1.03, 0.0]
    splits = {"train": write(coco, "a.json", "images")}
    with pytest.raises(InputError, match=r"a\.json: annotation 2: bbox .*\(y2 <= y1\)"):
        take_coco_folder(splits, tmp_path / "out")
    assert not (tmp_path / "out" / "annotations" / "train.json").exists()
    take_coco_folder(splits, tmp_path / "out", drop_empty_boxes=True)
    assert "left out 1 boxes without extent: [2]" in capsys.readouterr().err
    taken = load_coco(tmp_path / "out" / "annotations" / "train.json")
    assert [a["id"] for a in taken["annotations"]] == [1, 3]


def test_the_official_layout_is_found(write, tmp_path, coco):
    for split in ("train", "val"):
        write(
            coco,
            f"raw/coco_annotations_trainval2017/annotations/instances_{split}2017.json",
            f"raw/coco_{split}2017/{split}2017",
        )
    annotations = tmp_path / "raw" / "coco_annotations_trainval2017" / "annotations"
    (annotations / "person_keypoints_train2017.json").write_text('{"mine": 1}')
    for _ in range(2):  # again over what is there
        take_coco2017(tmp_path / "raw", tmp_path / "coco")
    taken = tmp_path / "coco" / "annotations"
    assert json.loads((taken / "keypoints_train.json").read_text()) == {"mine": 1}
    assert not (taken / "keypoints_val.json").is_symlink()  # the archive has none
    data = CocoDataset(tmp_path / "coco/annotations/val.json", tmp_path / "coco/images")
    assert data.load(0)[0].shape == (3, 50, 20)


def test_a_folder_without_annotations_is_refused(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    arguments = ["data", "coco-folder", "--out", str(tmp_path / "out")]
    for split in ("train", "val"):
        arguments += [f"--{split}-images", str(tmp_path / "images")]
        arguments += [f"--{split}-annotations", str(tmp_path / f"{split}.json")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"rebalance data: {tmp_path}/train.json: no such annotation file\n"
    )


def test_a_missing_image_is_refused(write, tmp_path, coco):
    split = write(coco, "a.json", "images")
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg: no such image \(image 4 of .*a\.json\)"):
        take_coco_folder({"train": split}, tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such image folder"):
        take_coco_folder(
            {"train": FolderSplit(split.annotations, tmp_path / "nowhere")}, tmp_path / "out"
        )


def test_splits_with_other_categories_are_refused(write, tmp_path, coco):
    train = write(coco, "a.json", "images")
    coco["categories"][0]["name"] = "cow"
    val = write(coco, "b.json", "images")
    with pytest.raises(InputError, match=r"b\.json: the categories differ from those of .*a\.json"):
        take_coco_folder({"train": train, "val": val}, tmp_path / "out")


def test_a_real_folder_in_the_place_of_the_link_is_kept(write, tmp_path, coco):
    split = write(coco, "a.json", "images")
    (tmp_path / "out" / "images" / "train").mkdir(parents=True)
    (tmp_path / "out" / "images" / "train" / "mine").write_text("1")
    with pytest.raises(InputError, match="exists and is not a link"):
        take_coco_folder({"train": split}, tmp_path / "out")
    assert (tmp_path / "out" / "images" / "train" / "mine").exists()
