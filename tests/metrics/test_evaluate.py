"""AP, AR and LRP against the published code (golden data) and against pycocotools."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.metrics import (
    Evaluation,
    Weights,
    evaluate,
    evaluate_boxes_and_masks,
    load_detections,
    load_ground_truth,
)
from rebalance.metrics.lrp import optimal_lrp

BOX_KEYS = ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]
KEYPOINT_KEYS = ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
LRP_KEYS = {
    "olrp": "oLRP",
    "olrp_loc": "oLRP_Loc",
    "olrp_fp": "oLRP_FP",
    "olrp_fn": "oLRP_FN",
    "lrp_opt_thr": "threshold",
}
GOLDEN_CASES = range(7)


def defined(values):
    """The golden files' -1 and null (undefined) as nan."""
    array = np.array(values, dtype=float)
    return np.where(array == -1, np.nan, array)


def assert_equal(ours, expected, tolerance=1e-9):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_summary_equals_the_published_code(golden_lrp, case):
    golden = golden_lrp(case)
    official = golden["official"]
    metrics = evaluate(golden["gt"], golden["results"], golden["iouType"])
    suffixes = {"_s": "S", "_m": "M", "_l": "L"}
    for name, expected in zip(official["stats_names"], defined(official["stats"]), strict=True):
        if name.startswith("oLRP"):
            name = "oLRP" + suffixes.get(name[4:], name[4:])
        elif name[-1] in "sml":
            name = name[:-1] + name[-1].upper()
        assert_equal(metrics[name], expected)


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_classes_equal_the_published_code(golden_lrp, case):
    golden = golden_lrp(case)
    official = golden["official"]
    rows = evaluate(golden["gt"], golden["results"], golden["iouType"])["per_class"]
    expected = official["per_class"]
    assert [row["category_id"] for row in rows] == official["cat_ids"]
    assert_equal([row["AP"] for row in rows], defined(expected["ap"]))
    assert_equal([row["AP50"] for row in rows], defined(expected["ap50"]))
    assert_equal([row["oLRP"] for row in rows], defined(expected["olrp"]))
    assert [row["N_GT"] for row in rows] == expected["n_gt"]
    unique = [unique is not False for unique in expected["optimum_is_unique"]]
    assert sum(unique) > 0
    for theirs, ours in LRP_KEYS.items():
        values = np.array([row[ours] for row in rows])
        assert_equal(values[unique], defined(expected[theirs])[unique])


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_areas_and_numbers_of_detections_equal_the_published_code(golden_lrp, case):
    golden = golden_lrp(case)
    official, iou_type = golden["official"], golden["iouType"]
    ground_truth = load_ground_truth(golden["gt"], iou_type)
    detections = load_detections(
        golden["results"], ground_truth, iou_type, official["max_dets"][-1]
    )
    evaluation = Evaluation(ground_truth, detections, iou_type)
    olrp = defined(official["full"]["olrp"])
    for k in range(evaluation.num_classes):
        for a, area in enumerate(evaluation.areas):
            for m, count in enumerate(official["max_dets"]):
                matches = evaluation.class_matches(k, 0.5, area, count)
                ours = optimal_lrp(matches.s_lrp()).olrp
                assert_equal(ours, olrp[k, a, m])


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_equal_scores_can_be_kept_together(golden_lrp, case):
    golden = golden_lrp(case)
    metrics = evaluate(
        golden["gt"], golden["results"], golden["iouType"], operating_points="scores"
    )
    expected = golden["official"]["variant_distinct_score_operating_points"]["olrp"]
    assert_equal([row["oLRP"] for row in metrics["per_class"]], defined(expected))


def test_keeping_equal_scores_together_changes_a_class_by_up_to_a_fifth(golden_lrp):
    golden = golden_lrp(1)
    both = [
        [
            row["oLRP"]
            for row in evaluate(golden["gt"], golden["results"], operating_points=p)["per_class"]
        ]
        for p in ("detections", "scores")
    ]
    difference = np.subtract(both[1], both[0])
    assert np.nanmin(difference) >= 0
    assert 0.1 < np.nanmax(difference) < 0.25


def pycocotools_stats(ground_truth, results, iou_type):
    """The numbers pycocotools prints, undefined as nan; it cannot read an empty list itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(ground_truth)
        truth.createIndex()
        if results:
            detected = truth.loadRes(copy.deepcopy(results))
        else:
            detected = COCO()
            detected.dataset = {**copy.deepcopy(ground_truth), "annotations": []}
            detected.createIndex()
        evaluation = COCOeval(truth, detected, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return defined(evaluation.stats)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_images=st.integers(1, 5),
    num_classes=st.integers(1, 4),
    max_objects=st.integers(0, 15),
    max_detections=st.sampled_from([0, 1, 5, 40, 300]),
    score_steps=st.sampled_from([1, 4, 1000]),
)
def test_boxes_equal_pycocotools(
    random_scene, seed, num_images, num_classes, max_objects, max_detections, score_steps
):
    ground_truth, results = random_scene(
        seed, num_images, num_classes, max_objects, max_detections, score_steps
    )
    metrics = evaluate(ground_truth, results)
    expected = pycocotools_stats(ground_truth, results, "bbox")
    assert_equal([metrics[key] for key in BOX_KEYS], expected, 1e-12)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    max_detections=st.sampled_from([0, 5, 30]),
    polygons=st.booleans(),
    with_boxes=st.booleans(),
)
def test_masks_equal_pycocotools(random_scene, seed, max_detections, polygons, with_boxes):
    ground_truth, results = random_scene(seed, 2, 2, 6, max_detections)
    rng = np.random.default_rng(seed)
    for annotation in ground_truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        x, y = max(x, 0), max(y, 0)
        if polygons and not annotation["iscrowd"]:
            annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        else:
            annotation["segmentation"] = random_rle(rng, x, y, w, h)
    for result in results:
        x, y, w, h = result["bbox"] if with_boxes else result.pop("bbox")
        result["segmentation"] = random_rle(rng, max(x, 0), max(y, 0), w, h)
    metrics = evaluate(ground_truth, results, "segm")
    expected = pycocotools_stats(ground_truth, results, "segm")
    assert_equal([metrics[key] for key in BOX_KEYS], expected, 1e-12)


def with_masks(scene, seed):
    """The scene with a mask for every object and detection."""
    rng = np.random.default_rng(seed)
    for record in (*scene[0]["annotations"], *scene[1]):
        x, y, w, h = record["bbox"]
        record["segmentation"] = random_rle(rng, max(x, 0), max(y, 0), w, h)
    return scene


def without(records, *keys):
    return [{key: value for key, value in r.items() if key not in keys} for r in records]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), max_detections=st.sampled_from([0, 5, 30]))
def test_boxes_and_masks_of_one_file_equal_pycocotools_for_each(random_scene, seed, max_detections):
    """Without boxes, pycocotools takes the areas of the masks: what mmdetection gives it."""
    ground_truth, results = with_masks(random_scene(seed, 2, 2, 6, max_detections), seed)
    metrics = evaluate_boxes_and_masks(ground_truth, results, ious=[0.9])
    boxes = pycocotools_stats(ground_truth, results, "bbox")
    masks = pycocotools_stats(ground_truth, without(results, "bbox"), "segm")
    assert_equal([metrics[key] for key in BOX_KEYS], boxes, 1e-12)
    assert_equal([metrics[f"mask_{key}"] for key in BOX_KEYS], masks, 1e-12)
    alone = evaluate(ground_truth, without(results, "bbox"), "segm", ious=[0.9])
    assert_equal([metrics[f"mask_{key}"] for key in ("oLRP", "oLRP_Loc", "AP90")],
                 [alone[key] for key in ("oLRP", "oLRP_Loc", "AP90")])  # fmt: skip
    for row, expected in zip(metrics["per_class"], alone["per_class"], strict=True):
        assert row["category_id"] == expected["category_id"]
        assert_equal([row["mask_AP"], row["mask_oLRP"], row["mask_N_TP"]],
                     [expected["AP"], expected["oLRP"], expected["N_TP"]])  # fmt: skip


def test_masks_may_be_ranked_by_scores_of_their_own(make_scene):
    # By box scores the hit comes first: AP 1. By mask scores the false positive does: AP 1/2.
    objects = [(1, 1, 0, 0, 10, 10)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 50, 50, 10, 10, 0.8)]
    ground_truth, results = with_masks(make_scene(objects, found, 1), 0)
    ground_truth["annotations"][0]["segmentation"] = results[0]["segmentation"]
    assert evaluate_boxes_and_masks(ground_truth, results)["mask_AP"] == pytest.approx(1)
    for result, score in zip(results, (0.2, 0.7), strict=True):
        result["mask_score"] = score
    metrics = evaluate_boxes_and_masks(ground_truth, results)
    assert (metrics["AP"], metrics["mask_AP"]) == pytest.approx((1, 1 / 2))
    assert metrics["per_class"][0]["mask_threshold"] == 0.2


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), limit=st.integers(1, 6))
def test_the_number_of_masks_per_image_is_limited_for_lrp_too(random_scene, seed, limit):
    """As if the file held only the highest scores of each class in each image."""
    ground_truth, results = with_masks(random_scene(seed, 2, 2, 6, 30, score_steps=1000), seed)
    ranked = sorted(range(len(results)), key=lambda n: -results[n]["score"])
    places: dict[tuple[int, int], int] = {}
    kept = []
    for n in ranked:
        key = (results[n]["image_id"], results[n]["category_id"])
        places[key] = places.get(key, 0) + 1
        if places[key] <= limit:
            kept.append(n)
    limited = evaluate(ground_truth, results, "segm", max_dets=(limit,))
    expected = evaluate(ground_truth, [results[n] for n in sorted(kept)], "segm")
    for key in ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "aLRP", "AP"):
        assert_equal(limited[key], expected[key])


def test_areas_are_of_boxes_or_of_masks(make_scene):
    with pytest.raises(InputError, match="areas_of must be one of"):
        evaluate(*make_scene([], []), areas_of="outlines")


def random_rle(rng, x, y, w, h):
    """A box with holes, 200 x 200, compressed."""
    mask = np.zeros((200, 200), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    mask &= (rng.random(mask.shape) < 0.95).astype(np.uint8)
    rle = coco_mask.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), max_detections=st.sampled_from([0, 5, 40]))
def test_keypoints_equal_pycocotools(random_scene, seed, max_detections):
    ground_truth, results = random_scene(seed, 3, 1, 6, max_detections)
    rng = np.random.default_rng(seed)
    for annotation in ground_truth["annotations"]:
        points = random_keypoints(rng, annotation["bbox"])
        visible = rng.integers(0, 3, 17) * int(rng.random() < 0.8)
        annotation["keypoints"] = np.c_[points, visible].ravel().tolist()
        annotation["num_keypoints"] = int((visible > 0).sum())
    objects = ground_truth["annotations"]
    for result in results:
        del result["bbox"]
        points = rng.random((17, 2)) * 100
        if objects and rng.random() < 0.8:
            source = objects[rng.integers(len(objects))]
            result["image_id"] = source["image_id"]
            points = np.reshape(source["keypoints"], (17, 3))[:, :2] + rng.normal(0, 2, (17, 2))
        result["keypoints"] = np.c_[points, np.ones(17)].ravel().tolist()
    metrics = evaluate(ground_truth, results, "keypoints")
    expected = pycocotools_stats(ground_truth, results, "keypoints")
    assert_equal([metrics[key] for key in KEYPOINT_KEYS], expected, 1e-12)


def random_keypoints(rng, box):
    x, y, w, h = box
    return np.array([x, y]) + rng.random((17, 2)) * [w, h]


def test_any_threshold_can_be_asked_for(make_scene):
    # One object of 10 x 10; the detection has 7 x 10 of it: IoU .7.
    scene = make_scene([(1, 1, 0, 0, 10, 10)], [(1, 1, 0, 0, 7, 10, 0.9)], 1)
    metrics = evaluate(*scene, ious=[0.6, 0.69, 0.7, 0.71, 0.875])
    expected = {"AP60": 1, "AP69": 1, "AP70": 1, "AP71": 0, "AP87.5": 0}
    assert {key: metrics[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        pytest.param(0.5, ((1 - 0.8) / 0.5 + 1) / 2, id="iou .8 is a match, one miss"),
        pytest.param(0.6, ((1 - 0.8) / 0.4 + 1) / 2, id="the error counts more"),
        pytest.param(0.9, 1.0, id="no match left"),
        pytest.param(0.3, ((1 - 0.8) / 0.7 + 1) / 2, id="below any threshold of AP"),
    ],
)
def test_tau_decides_what_a_true_positive_is(make_scene, tau, expected):
    scene = make_scene(
        [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10)], [(1, 1, 0, 0, 8, 10, 0.9)], 1
    )
    metrics = evaluate(*scene, tau=tau)
    assert metrics["oLRP"] == pytest.approx(expected, abs=1e-12)
    assert metrics["AP50"] == pytest.approx(51 / 101)


def test_giou_can_take_the_place_of_iou(make_scene):
    # Boxes (0,0,10,10) and (5,0,10,10): IoU 50/150, hull 150 = union, GIoU/2 + 1/2 = 2/3.
    scene = make_scene([(1, 1, 0, 0, 10, 10)], [(1, 1, 5, 0, 10, 10, 0.9)], 1)
    metrics = evaluate(*scene, quality="giou")
    assert metrics["AP50"] == 0
    assert metrics["oLRP"] == pytest.approx((1 - 2 / 3) / 0.5)
    assert metrics["oLRP_Loc"] == pytest.approx(1 - 2 / 3)
    own = evaluate(*scene, quality=lambda boxes, others: np.full(len(boxes), 0.75))
    assert own["oLRP"] == pytest.approx(0.5)


def test_a_quality_outside_of_0_and_1_is_refused(make_scene):
    scene = make_scene([(1, 1, 0, 0, 10, 10)], [(1, 1, 5, 0, 10, 10, 0.9)], 1)
    with pytest.raises(InputError, match=r"in \[0, 1\]"):
        evaluate(*scene, quality=lambda boxes, others: np.full(len(boxes), 1.5))


def test_finding_nothing_is_a_result(make_scene):
    metrics = evaluate(*make_scene([(1, 1, 0, 0, 10, 10)], []))
    assert {metrics[key] for key in ("AP", "AR100", "APS")} == {0}
    assert metrics["oLRP"] == metrics["oLRP_FN"] == metrics["aLRP"] == 1
    assert np.isnan([metrics["oLRP_Loc"], metrics["oLRP_FP"], metrics["APL"]]).all()
    with_objects, without = metrics["per_class"]
    assert (with_objects["N_TP"], with_objects["N_FP"], with_objects["N_FN"]) == (0, 0, 1)
    assert np.isnan([without["AP"], without["oLRP"], without["threshold"]]).all()


def test_finding_no_masks_is_a_result(make_scene):
    metrics = evaluate_boxes_and_masks(*with_masks(make_scene([(1, 1, 0, 0, 10, 10)], []), 0))
    assert metrics["AP"] == metrics["mask_AP"] == metrics["mask_AR100"] == 0
    assert metrics["mask_oLRP"] == metrics["mask_oLRP_FN"] == 1
    assert np.isnan(metrics["mask_oLRP_Loc"])


def test_a_class_without_ground_truth_is_left_out_of_the_means(make_scene):
    objects = [(1, 1, 0, 0, 10, 10)]
    hit = (1, 1, 0, 0, 10, 10, 0.9)
    metrics = evaluate(*make_scene(objects, [hit, (1, 2, 0, 0, 10, 10, 0.9)]))
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["oLRP"] == 0


@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
def test_no_ground_truth_at_all_is_a_result(make_scene, iou_type):
    ground_truth, results = make_scene([], [(1, 1, 0, 0, 10, 10, 0.9)])
    results[0]["segmentation"] = random_rle(np.random.default_rng(0), 0, 0, 9, 9)
    results[0]["keypoints"] = [1, 2, 2] * 17
    metrics = evaluate(ground_truth, results, iou_type)
    assert np.isnan([metrics["AP"], metrics["oLRP"], metrics["aLRP"]]).all()


@pytest.mark.parametrize("flag", ["iscrowd", "ignore"])
def test_what_matches_an_ignored_object_counts_neither_way(make_scene, flag):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 40, 40)]
    found = [(1, 1, 0, 0, 10, 10, 0.5), (1, 1, 50, 50, 40, 30, 0.9)]
    ground_truth, results = make_scene(objects, found, 1)
    ground_truth["annotations"][1][flag] = 1
    metrics = evaluate(ground_truth, results)
    assert metrics["per_class"][0]["N_GT"] == 1
    assert metrics["AP50"] == pytest.approx(1)
    assert metrics["oLRP"] == 0


def test_a_crowd_takes_many_detections_and_another_ignored_object_one(make_scene):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 40, 40)]
    twice = [(1, 1, 50, 50, 40, 30, 0.9), (1, 1, 50, 50, 40, 35, 0.8)]
    found = [*twice, (1, 1, 0, 0, 10, 10, 0.5)]
    false_positives = {}
    for flag in ("iscrowd", "ignore"):
        ground_truth, results = make_scene(objects, found, 1)
        ground_truth["annotations"][1][flag] = 1
        false_positives[flag] = evaluate(ground_truth, results)["per_class"][0]["N_FP"]
    assert false_positives == {"iscrowd": 0, "ignore": 1}


def test_weights_change_the_optimal_threshold(make_scene):
    # A hit of IoU 1 at .9, a false positive at .8, a hit at .7: LRP 1/2 and then 1/3.
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 90, 0, 9, 9, 0.8), (1, 1, 50, 50, 10, 10, 0.7)]
    scene = make_scene(objects, found, 1)
    plain = evaluate(*scene)["per_class"][0]
    assert (plain["oLRP"], plain["threshold"]) == (pytest.approx(1 / 3), 0.7)
    careful = evaluate(*scene, weights=Weights(fp=8))["per_class"][0]
    assert (careful["oLRP"], careful["threshold"]) == (pytest.approx(1 / 2), 0.9)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        pytest.param(0.95, (1, np.nan, np.nan, 1), id="nothing left: two misses"),
        pytest.param(0.9, (1 / 2, 0, 0, 1 / 2), id="one hit, one miss"),
        pytest.param(0.8, (2 / 3, 0, 1 / 2, 1 / 2), id="equal to the score: still kept"),
        pytest.param(0.0, (1 / 3, 0, 1 / 3, 0), id="all: two hits, one false positive"),
    ],
)
def test_lrp_at_a_given_threshold(make_scene, threshold, expected):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 90, 0, 9, 9, 0.8), (1, 1, 50, 50, 10, 10, 0.7)]
    metrics = evaluate(*make_scene(objects, found, 1), threshold=threshold)
    assert_equal([metrics[key] for key in ("LRP", "LRP_Loc", "LRP_FP", "LRP_FN")], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iou_type": "box"}, "iou_type must be one of"),
        ({"tau": 1.0}, r"tau must be in \(0, 1\), got 1.0"),
        ({"ious": [60]}, r"ious must be in \(0, 1\), got 60"),
        ({"max_dets": [100, 10]}, "max_dets must be positive and rising"),
        ({"operating_points": "all"}, "operating_points must be one of"),
        ({"quality": "diou"}, r"quality must be one of \['giou', 'iou'\]"),
        ({"quality": "giou", "iou_type": "segm"}, "quality is a function of boxes"),
        ({"ranking": "best"}, "ranking must be one of"),
    ],
)
def test_arguments_without_meaning_are_refused(make_scene, arguments, message):
    scene = make_scene([(1, 1, 0, 0, 10, 10)], [(1, 1, 0, 0, 10, 10, 0.5)])
    with pytest.raises(InputError, match=message):
        evaluate(*scene, **arguments)


@pytest.mark.parametrize("iou_type", ["bbox", "keypoints"])
def test_coco_lines_are_those_of_pycocotools(golden_lrp, iou_type, tmp_path, capsys):
    case = next(c for c in map(golden_lrp, GOLDEN_CASES) if c["iouType"] == iou_type)
    for name, content in (("gt", case["gt"]), ("dt", case["results"])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    truth = COCO(tmp_path / "gt.json")
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "dt.json")), iou_type)
    evaluation.evaluate()
    evaluation.accumulate()
    capsys.readouterr()
    evaluation.summarize()
    theirs = capsys.readouterr().out
    files = ["--gt", str(tmp_path / "gt.json"), "--dt", str(tmp_path / "dt.json")]
    assert main(["evaluate", *files, "--iou-type", iou_type, "--coco"]) == 0
    assert capsys.readouterr().out.endswith(theirs)


def test_the_summary_counts_names_units_and_directions(make_scene, tmp_path, capsys):
    objects = [(1, 1, 10, 10, 20, 20), (2, 1, 10, 10, 50, 50), (2, 2, 0, 0, 90, 90, 1)]
    found = [(1, 1, 10, 10, 20, 20, 0.9), (3, 1, 5, 5, 9, 9, 0.3)]
    for name, content in zip(("gt", "dt"), make_scene(objects, found), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = ["--gt", str(tmp_path / "gt.json"), "--dt", str(tmp_path / "dt.json")]
    assert main(["evaluate", *files, "--ious", "0.6", "--threshold", "0.5"]) == 0
    counts, higher, *lines = capsys.readouterr().out.splitlines()
    assert counts.startswith(
        "3 images, 2 objects of 2 classes (1 more are ignored), 2 detections (at most 100 of a "
        "class in an image), "
    )
    assert higher == "in percent, higher is better:"
    lower = lines.index("in percent, lower is better:")
    (ap60,) = (line for line in lines if line.startswith("AP60"))
    assert ap60.split(maxsplit=2) == ["AP60", "50.5", "average precision at IoU 0.6"]
    errors = [line.split()[0] for line in lines[lower + 1 :]]
    assert errors == [
        "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "aLRP", "PR_error", "oLRPS", "oLRPM", "oLRPL",
        "LRP", "LRP_Loc", "LRP_FP", "LRP_FN",
    ]  # fmt: skip
    assert all(len(line.split()) > 3 for line in lines if line != lines[lower])  # all explained
    assert next(line for line in lines if line.startswith("APL ")).split()[1] == "undefined"


def test_coco_lines_need_cocos_numbers_of_detections(tmp_path, capsys):
    arguments = ["--gt", "gt.json", "--dt", "dt.json", "--coco", "--max-dets", "5"]
    assert main(["evaluate", *arguments]) == 2
    assert "--coco" in capsys.readouterr().err
