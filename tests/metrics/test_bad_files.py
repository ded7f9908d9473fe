"""Files at fault: one message with file, record and field; exit code 2; nothing written."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from rebalance.cli import main
from rebalance.metrics import evaluate
from rebalance.metrics.masks import read_masks

OBJECTS = [(1, 1, 0, 0, 10, 10), (2, 2, 0, 0, 10, 10)]
FOUND = [(1, 1, 0, 0, 10, 10, 0.9), (2, 2, 0, 0, 10, 10, 0.8)]


@pytest.fixture
def run(tmp_path, capsys):
    """Evaluate the given files; exit code and stderr. Nothing but the two files may be there."""

    def evaluate_files(ground_truth, results, *more):
        for name, content in (("gt", ground_truth), ("dt", results)):
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{name}.json").write_text(text)
        paths = ["--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]
        out = ["--out", f"{tmp_path}/m/metrics.json", "--per-class", f"{tmp_path}/m/classes.csv"]
        code = main(["evaluate", *paths, *out, *more])
        written = sorted(path.name for path in tmp_path.rglob("*"))
        assert code == 0 or written == ["dt.json", "gt.json"]
        return code, capsys.readouterr().err

    return evaluate_files


def set_in(records, index, **fields):
    records[index].update(fields)


RESULT_FAULTS = {
    "unknown image": (
        lambda dt: set_in(dt, 1, image_id=99),
        "dt.json: results[1].image_id: got 99, must be an id listed in the images of",
    ),
    "unknown category": (
        lambda dt: set_in(dt, 1, category_id=3),
        "dt.json: results[1].category_id: got 3, must be an id listed in the categories of",
    ),
    "nan score": (
        lambda dt: set_in(dt, 1, score=math.nan),
        "dt.json: results[1].score: got nan, must be a finite number",
    ),
    "infinite score": (
        lambda dt: set_in(dt, 0, score=math.inf),
        "dt.json: results[0].score: got inf, must be a finite number",
    ),
    "score in quotes": (
        lambda dt: set_in(dt, 1, score="0.8"),
        "dt.json: results[1].score: got '0.8', must be a finite number",
    ),
    "no score": (lambda dt: dt[1].pop("score"), "dt.json: results[1].score: is missing (has ["),
    "negative width": (
        lambda dt: set_in(dt, 1, bbox=[0, 0, -1, 5]),
        "dt.json: results[1].bbox: got [0, 0, -1, 5], must be finite [x, y, width, height] with",
    ),
    "nan in a box": (
        lambda dt: set_in(dt, 1, bbox=[0, math.nan, 1, 5]),
        "dt.json: results[1].bbox: got [0, nan, 1, 5], must be finite",
    ),
    "three numbers": (
        lambda dt: set_in(dt, 1, bbox=[0, 0, 1]),
        "dt.json: results[1].bbox: got [0, 0, 1], must be four finite numbers",
    ),
    "box of text": (
        lambda dt: set_in(dt, 0, bbox="0 0 1 1"),
        "dt.json: results[0].bbox: got '0 0 1 1', must be four finite numbers",
    ),
    "fractional id": (
        lambda dt: set_in(dt, 1, image_id=1.5),
        "dt.json: results[1].image_id: got 1.5, must be an integer",
    ),
    "huge id": (
        lambda dt: set_in(dt, 1, image_id=2**70),
        "dt.json: results[1].image_id: got 1180591620717411303424, must be an integer",
    ),
    "null": (lambda dt: dt.append(None), "dt.json: results[2]: got None, must be an object"),
}

GROUND_TRUTH_FAULTS = {
    "no categories": (lambda gt: gt.pop("categories"), "gt.json: categories must be a list"),
    "empty categories": (
        lambda gt: gt.update(categories=[]),
        "gt.json: categories must not be empty",
    ),
    "no images": (lambda gt: gt.pop("images"), "gt.json: images must be a list, got NoneType"),
    "unknown category": (
        lambda gt: set_in(gt["annotations"], 1, category_id=9),
        "gt.json: annotations[1].category_id: got 9, must be an id listed in categories",
    ),
    "unknown image": (
        lambda gt: set_in(gt["annotations"], 0, image_id=9),
        "gt.json: annotations[0].image_id: got 9, must be an id listed in images",
    ),
    "id twice": (
        lambda gt: set_in(gt["annotations"], 1, id=1),
        "gt.json: annotations[1].id: got 1, must be used by one record only",
    ),
    "image twice": (
        lambda gt: gt["images"].append({"id": 1}),
        "gt.json: images[3].id: got 1, must be used by one record only",
    ),
    "no area": (
        lambda gt: gt["annotations"][1].pop("area"),
        "gt.json: annotations[1].area: is missing",
    ),
    "negative height": (
        lambda gt: set_in(gt["annotations"], 1, bbox=[0, 0, 4, -4]),
        "gt.json: annotations[1].bbox: got [0, 0, 4, -4]",
    ),
}


@pytest.mark.parametrize("fault", RESULT_FAULTS)
def test_bad_results(make_scene, run, fault):
    spoil, message = RESULT_FAULTS[fault]
    ground_truth, results = make_scene(OBJECTS, FOUND)
    spoil(results)
    code, error = run(ground_truth, results)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("fault", GROUND_TRUTH_FAULTS)
def test_bad_ground_truth(make_scene, run, fault):
    spoil, message = GROUND_TRUTH_FAULTS[fault]
    ground_truth, results = make_scene(OBJECTS, FOUND)
    spoil(ground_truth)
    code, error = run(ground_truth, results)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("ground_truth", "results", "message"),
    [
        ("{", "[]", "gt.json: not valid JSON"),
        (None, "[", "dt.json: not valid JSON"),
        (None, "", "dt.json: not valid JSON"),
        ([], "[]", "gt.json: must be an object with images, annotations and categories"),
        (None, {"annotations": []}, "dt.json: must be a list of results, got dict"),
    ],
)
def test_not_the_right_kind_of_file(make_scene, run, ground_truth, results, message):
    if ground_truth is None:
        ground_truth, _ = make_scene(OBJECTS, FOUND)
    code, error = run(ground_truth, results)
    assert (code, error.count("\n")) == (2, 1)
    assert message in error


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["evaluate", "--gt", f"{tmp_path}/gt.json", "--dt", f"{tmp_path}/dt.json"]) == 2
    assert "gt.json: no such file" in capsys.readouterr().err


def test_good_files_are_written_whole(make_scene, run, tmp_path):
    assert run(*make_scene(OBJECTS, FOUND), "--ious", "0.6", "0.9")[0] == 0
    metrics = json.loads((tmp_path / "m/metrics.json").read_text())
    assert metrics["AP60"] == pytest.approx(1)
    assert metrics["APM"] is None
    assert [row["name"] for row in metrics["per_class"]] == ["class 1", "class 2"]
    header, first, _ = (tmp_path / "m/classes.csv").read_text().splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["APM"] == ""


# Masks and keypoints


def square_rle(size=200):
    mask = np.zeros((size, size), np.uint8, order="F")
    mask[:10, :10] = 1
    rle = coco_mask.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(
            square_rle(100),
            "results[1].segmentation.size: got [100, 100], must be [200, 200], the height",
            id="size of another image",
        ),
        pytest.param(
            {**square_rle(100), "size": [200, 200]},
            "results[1].segmentation.counts: got runs that sum to 10000, must sum to 200 x 200",
            id="runs of another size",
        ),
        pytest.param(
            {"size": [200, 200], "counts": [0, 500]},
            "results[1].segmentation.counts: got [0, 500], must be a compressed string or run",
            id="uncompressed runs of another size",
        ),
        pytest.param(
            {"size": [200, 200], "counts": "not an rle"},
            "results[1].segmentation.counts: got no valid runs",
            id="garbage",
        ),
        pytest.param(
            {"size": [200, 200], "counts": ""},
            "results[1].segmentation.counts: got no valid runs",
            id="nothing",
        ),
        pytest.param(
            [[0, 0, 5, 5]], "results[1].segmentation: got [[0, 0, 5, 5]]", id="a line, no polygon"
        ),
        pytest.param(
            [[-1e6, 0, 1e6, 9] * 150],
            "must have edges of at most 163216 pixels in all in 200 x 200",
            id="edges of 6e8 pixels",
        ),
    ],
)
def test_bad_masks(make_scene, run, segmentation, message):
    ground_truth, results = make_scene(OBJECTS, FOUND)
    for record in (*ground_truth["annotations"], *results):
        record["segmentation"] = square_rle()
    results[1]["segmentation"] = segmentation
    code, error = run(ground_truth, results, "--iou-type", "segm")
    assert (code, error.count("\n")) == (2, 1)
    assert message in error


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@given(
    st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=4),
    st.booleans(),
)
def test_every_encoded_mask_is_accepted_and_kept(pixels, compressed):
    masks = [np.frombuffer(p, np.uint8).reshape(8, 8) % 2 for p in pixels]
    encoded = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    if compressed:
        rles = [{"size": [8, 8], "counts": rle["counts"].decode()} for rle in encoded]
    else:
        rles = [{"size": [8, 8], "counts": runs_of(mask)} for mask in masks]
    read = read_masks("masks", [{"segmentation": rle} for rle in rles], np.full((len(rles), 2), 8))
    for mask, rle in zip(masks, read, strict=True):
        np.testing.assert_array_equal(coco_mask.decode([rle])[:, :, 0], mask)


def runs_of(mask):
    flat = np.r_[0, mask.flatten(order="F")]
    return np.diff(np.r_[0, np.flatnonzero(np.diff(flat)), len(flat) - 1]).tolist()


def test_masks_beside_boxes_need_a_mask_in_every_result(make_scene, run, tmp_path):
    ground_truth, results = make_scene(OBJECTS, FOUND)
    for record in (*ground_truth["annotations"], *results):
        record["segmentation"] = square_rle()
    code, _ = run(ground_truth, results, "--with-masks")
    metrics = json.loads((tmp_path / "m/metrics.json").read_text())
    assert code == 0
    assert {"AP", "oLRP", "mask_AP", "mask_APS", "mask_oLRP"} <= set(metrics)
    header = (tmp_path / "m/classes.csv").read_text().splitlines()[0].split(",")
    assert header.count("mask_oLRP") == header.count("name") == 1
    for file in (tmp_path / "m").iterdir():
        file.unlink()
    (tmp_path / "m").rmdir()
    code, error = run(ground_truth, results, "--with-masks", "--iou-type", "segm")
    assert (code, error.count("\n")) == (2, 1)
    assert "--with-masks: is for boxes, got --iou-type segm" in error
    results[1].pop("segmentation")
    code, error = run(ground_truth, results, "--with-masks")
    assert (code, error.count("\n")) == (2, 1)
    assert "dt.json: results[1].segmentation: is missing" in error


def test_keypoints_of_another_number(make_scene, run):
    ground_truth, results = make_scene(OBJECTS, FOUND)
    for record in (*ground_truth["annotations"], *results):
        record["keypoints"] = [1, 2, 2] * 17
    too_few = copy.deepcopy(results)
    too_few[1]["keypoints"] = [1, 2, 2] * 16
    code, error = run(ground_truth, too_few, "--iou-type", "keypoints")
    assert (code, error.count("\n")) == (2, 1)
    assert "results[1].keypoints: got [1, 2, 2" in error
    assert "must be 51 finite numbers" in error
    for record in (*ground_truth["annotations"], *results):
        record["keypoints"] = [1, 2, 2] * 5
    code, error = run(ground_truth, results, "--iou-type", "keypoints")
    assert code == 2
    assert "sigmas must be 5 positive numbers, one per keypoint, got 17" in error
    metrics = evaluate(ground_truth, results, "keypoints", sigmas=[0.05] * 5)
    assert metrics["AP50"] == pytest.approx(1)
