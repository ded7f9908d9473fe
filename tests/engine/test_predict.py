"""Prediction: COCO results in the pixels of the image files, from files that cannot run code."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from rebalance.cli import main
from rebalance.engine.predict import coco_results, predict
from rebalance.engine.train import train
from rebalance.errors import InputError


@pytest.fixture
def trained(run, tmp_path):
    run["variants"]["all"] = {"test": {"score_threshold": 0.0}}
    run["schedule"]["iterations"] = 2
    train(run, tmp_path / "run", threads=1)
    return tmp_path / "run"


def test_results_are_xywh_in_the_pixels_of_the_file_by_hand():
    detection = {
        "boxes": torch.tensor([[10.0, 20, 30, 50]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([2]),
    }
    assert coco_results(detection, 7, [11, 44], size=(60, 40), original=(30, 80)) == [
        {"image_id": 7, "category_id": 44, "bbox": [20.0, 10.0, 40.0, 15.0], "score": 0.5}
    ]


SQUARE_MASKS = {
    # The box covers the pixels 2 ... 5 by 1 ... 3 of a file of 10 x 6 that the network saw doubled.
    "probabilities over the box": {"mask_probabilities": torch.full((1, 28, 28), 0.9)},
    "probabilities over the image": {
        "canvas_mask_probabilities": torch.zeros(1, 6, 10).index_put(
            (torch.tensor(0), torch.arange(1, 4)[:, None], torch.arange(2, 6)), torch.tensor(0.9)
        )
    },
    "bitmaps": {
        "masks": torch.zeros(1, 6, 10, dtype=torch.bool).index_put(
            (torch.tensor(0), torch.arange(1, 4)[:, None], torch.arange(2, 6)), torch.tensor(True)
        )
    },
}


@pytest.mark.parametrize("masks", SQUARE_MASKS.values(), ids=SQUARE_MASKS.keys())
def test_masks_are_run_lengths_in_the_size_of_the_file_by_hand(masks):
    detection = {
        "boxes": torch.tensor([[4.0, 2, 12, 8]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
        "mask_scores": torch.tensor([0.25]),
    }
    sizes = {"size": (12, 20), "original": (6, 10)}
    (result,) = coco_results({**detection, **masks}, 7, [11], **sizes)
    assert result["bbox"] == [2, 1, 4, 3]
    assert (result["score"], result["mask_score"]) == (0.5, 0.25)
    assert result["segmentation"]["size"] == [6, 10]
    expected = np.zeros((6, 10), np.uint8)
    expected[1:4, 2:6] = 1
    np.testing.assert_array_equal(coco_mask.decode(result["segmentation"]), expected)
    assert json.loads(json.dumps(result)) == result
    given = {**detection, "masks": [result["segmentation"]]}
    assert coco_results(given, 7, [11], **sizes) == [result]


def test_the_mask_threshold_decides_which_pixels_belong_to_an_object():
    detection = {
        "boxes": torch.tensor([[4.0, 2, 12, 8]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([1]),
        "mask_probabilities": torch.full((1, 28, 28), 0.4),
    }
    areas = []
    for threshold in (0.5, 0.3):
        (result,) = coco_results(detection, 7, [11], (12, 20), (6, 10), threshold)
        areas.append(int(coco_mask.area(result["segmentation"])))
    assert areas == [0, 12]


def test_no_detections_with_masks_are_an_empty_list():
    detection = {
        "boxes": torch.zeros(0, 4),
        "scores": torch.zeros(0),
        "labels": torch.zeros(0, dtype=torch.int64),
        "mask_probabilities": torch.zeros(0, 28, 28),
    }
    assert coco_results(detection, 7, [11], (12, 20), (6, 10)) == []


def test_zero_detections_are_an_empty_list(trained, tmp_path):
    predict(trained, tmp_path / "none.json", test_settings={"score_threshold": 0.999})
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_detections_are_valid_coco_results(run, trained, tmp_path):
    out = tmp_path / "detections.json"
    command = ["predict", "--run-dir", str(trained), "--variant", "all", "--out", str(out)]
    assert main(command) == 0
    truth = COCO(run["dataset"]["val"]["annotations"])
    found = truth.loadRes(str(out))
    assert len(found.anns) > 0
    for result in found.anns.values():
        image = truth.imgs[result["image_id"]]
        x, y, width, height = result["bbox"]
        assert width > 0
        assert height > 0
        assert -0.01 <= x <= x + width <= image["width"] + 0.01
        assert -0.01 <= y <= y + height <= image["height"] + 0.01
    per_image = [len(found.getAnnIds(imgIds=[image])) for image in truth.imgs]
    assert max(per_image) <= 50
    assert main([*command, "--settings", '{"max_detections": 3}']) == 0
    assert len(json.loads(out.read_text())) == 3 * len(truth.imgs)


def test_the_same_detections_twice(trained, tmp_path):
    for name in ("one", "two"):
        predict(trained, tmp_path / name, variant="all", threads=1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_detections_of_an_image_do_not_depend_on_the_others(run, trained, tmp_path):
    predict(trained, tmp_path / "all.json", variant="all", threads=1)
    coco = json.loads(Path(run["dataset"]["val"]["annotations"]).read_text())
    coco["images"] = coco["images"][2:3]
    image_id = coco["images"][0]["id"]
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] == image_id]
    (tmp_path / "one.json").write_text(json.dumps(coco))
    settings = yaml.safe_load((trained / "run.yaml").read_text())
    settings["dataset"]["val"]["annotations"] = str(tmp_path / "one.json")
    (trained / "run.yaml").write_text(yaml.safe_dump(settings))
    predict(trained, tmp_path / "alone.json", variant="all", threads=1)
    alone = json.loads((tmp_path / "alone.json").read_text())
    among = [r for r in json.loads((tmp_path / "all.json").read_text())
             if r["image_id"] == image_id]  # fmt: skip
    assert len(alone) == len(among) == 50
    scores = [torch.tensor([r["score"] for r in results]) for results in (alone, among)]
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-6)


def test_bad_input_is_named(trained, tmp_path, capsys):
    out = tmp_path / "detections.json"
    with pytest.raises(InputError, match=r"variants are \['all', 'default'\], got 'best'"):
        predict(trained, out, variant="best")
    with pytest.raises(InputError, match="split must be one of"):
        predict(trained, out, split="test")
    with pytest.raises(InputError, match=r"run.yaml: no such file"):
        predict(tmp_path / "nowhere", out)
    weights = (trained / "model.safetensors").read_bytes()
    (trained / "model.safetensors").write_bytes(weights[:-8])
    command = ["predict", "--run-dir", str(trained), "--out", str(out)]
    assert main(command) == 2
    assert "model.safetensors: cannot be read" in capsys.readouterr().err
    (trained / "run.yaml").write_text("!!python/object/apply:os.system ['true']")
    assert main(command) == 2
    assert "not valid YAML" in capsys.readouterr().err
    assert not out.exists()


def test_a_model_of_another_network_is_refused(run, trained, tmp_path):
    settings = yaml.safe_load((trained / "run.yaml").read_text())
    settings["backbone"]["widths"] = [16, 8, 8, 8]
    (trained / "run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match=r"model.safetensors: does not fit run.yaml"):
        predict(trained, tmp_path / "detections.json")


def test_other_categories_than_those_trained_on_are_refused(run, trained, tmp_path):
    coco = json.loads(Path(run["dataset"]["val"]["annotations"]).read_text())
    coco["categories"].append({"id": 99, "name": "more"})
    (tmp_path / "more.json").write_text(json.dumps(coco))
    settings = yaml.safe_load((trained / "run.yaml").read_text())
    settings["dataset"]["val"]["annotations"] = str(tmp_path / "more.json")
    (trained / "run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match="the model was trained on"):
        predict(trained, tmp_path / "detections.json")


def test_the_command_line_of_train_says_what_it_needs(capsys, tmp_path):
    assert main(["train", "--out", str(tmp_path)]) == 2
    assert "needs a run's name and --scale, or --run-file" in capsys.readouterr().err
    (tmp_path / "list.yaml").write_text("[1, 2]")
    assert main(["train", "--run-file", str(tmp_path / "list.yaml"), "--out", str(tmp_path)]) == 2
    assert "must be a mapping" in capsys.readouterr().err


def test_other_images_are_predicted_into_what_the_server_takes(run, trained, tmp_path):
    """The validation images without their objects give the same detections, in one JSON."""
    val = run["dataset"]["val"]
    content = json.loads(Path(val["annotations"]).read_text())
    (tmp_path / "testdev.json").write_text(json.dumps(content | {"annotations": []}))
    out = tmp_path / "detections_test-dev2017_a_results.zip"
    images = {"annotations": str(tmp_path / "testdev.json"), "images": val["images"]}
    predict(trained, out, variant="all", images=images)
    predict(trained, tmp_path / "val.json", variant="all")
    with zipfile.ZipFile(out) as archive:
        (name,) = archive.namelist()
        assert name == "detections_test-dev2017_a_results.json"
        assert archive.read(name) == (tmp_path / "val.json").read_bytes()


def test_other_images_need_both_annotations_and_folder(trained, tmp_path, capsys):
    arguments = ["--run-dir", str(trained), "--images", str(tmp_path), "--out", str(tmp_path / "o")]
    assert main(["predict", *arguments]) == 2
    assert "--annotations and --images go together" in capsys.readouterr().err
