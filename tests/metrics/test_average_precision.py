"""VOC's two APs and the uninterpolated one: by hand and against the definitions read slowly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.errors import InputError
from rebalance.metrics import (
    area_average_precision,
    evaluate,
    interpolated_average_precision,
    precision_recall,
    uninterpolated_average_precision,
    voc_average_precision,
)
from rebalance.metrics.precision_recall import VOC_RECALLS

# Hit, miss, hit, miss with 4 objects: precision 1, 1/2, 2/3, 1/2 at recall 1/4, 1/4, 1/2, 1/2.
HITS = np.array([True, False, True, False])


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        pytest.param(
            lambda p, r: interpolated_average_precision(p, r, VOC_RECALLS),
            (3 * 1 + 3 * 2 / 3) / 11,
            id="11-point: 1 at 0 .1 .2, 2/3 at .3 .4 .5",
        ),
        pytest.param(area_average_precision, 1 / 4 + 2 / 3 / 4, id="area: steps at 1/4 and 1/2"),
        pytest.param(
            interpolated_average_precision,
            (26 + 25 * 2 / 3) / 101,
            id="101 points: 1 up to .25, 2/3 up to .5",
        ),
    ],
)
def test_equals_the_value_worked_out_by_hand(average, expected):
    curve = precision_recall(HITS, ~HITS, 4)
    assert average(*curve) == pytest.approx(expected)


def test_without_interpolation_a_dip_counts():
    hits = np.array([True, False, False, True, True])  # precision at the hits 1, 2/4, 3/5
    curve = precision_recall(hits, ~hits, 3)
    assert uninterpolated_average_precision(*curve) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert area_average_precision(*curve) == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)


def test_uninterpolated_ap_of_a_file(make_scene):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 90, 0, 9, 9, 0.8), (1, 1, 50, 50, 10, 10, 0.7)]
    metrics = evaluate(*make_scene(objects, found, 1))
    assert metrics["AP_uninterpolated"] == pytest.approx((1 + 2 / 3) / 2)


def test_pr_error_is_that_of_the_optimal_threshold(make_scene):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10), (1, 1, 100, 100, 10, 10)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 90, 0, 9, 9, 0.8), (1, 1, 50, 50, 10, 10, 0.7)]
    metrics = evaluate(*make_scene(objects, found, 1))
    assert metrics["PR_error"] == pytest.approx(1 - (2 / 3) * (2 / 3))
    assert evaluate(*make_scene(objects, [], 1))["PR_error"] == 1


def test_the_published_example_of_a_claimed_object(make_scene):
    # Both boxes overlap the first object most; COCO gives the later one the second, VOC no.
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 0, 0, 10, 6)]
    found = [(1, 1, 0, 0, 10, 10, 0.9), (1, 1, 0, 0, 10, 9, 0.8)]
    scene = make_scene(objects, found, 1)
    assert voc_average_precision(*scene) == pytest.approx({"class 1": 1 / 2})
    assert evaluate(*scene)["AP50"] == pytest.approx(1)


def test_difficult_objects_count_neither_way(make_scene):
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 40, 40, 1)]
    found = [(1, 1, 50, 50, 40, 30, 0.9), (1, 1, 50, 50, 40, 30, 0.8), (1, 1, 0, 0, 10, 10, 0.7)]
    for flags in ({"iscrowd": 1}, {"iscrowd": 0, "ignore": 1}):
        ground_truth, results = make_scene(objects, found, 1)
        ground_truth["annotations"][1].update(flags)
        assert voc_average_precision(ground_truth, results) == pytest.approx({"class 1": 1})
        # A small box inside a difficult object overlaps it too little to be excused.
        inside = [*results, {**results[0], "bbox": [60, 60, 5, 5], "score": 0.95}]
        assert voc_average_precision(ground_truth, inside) == pytest.approx({"class 1": 1 / 2})


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.3, 0.5, 0.75]),
    st.sampled_from(["11-point", "area"]),
)
def test_voc_ap_equals_the_definition_read_slowly(random_scene, seed, iou, rule):
    # Distinct scores: VOC leaves the order of equal ones open.
    ground_truth, results = random_scene(seed, max_detections=20)
    scores = np.random.default_rng(seed).permutation(len(results)) + 1
    for result, score in zip(results, scores.tolist(), strict=True):
        result["score"] = score / 1000
    ours = voc_average_precision(ground_truth, results, iou, rule)
    for category in ground_truth["categories"]:
        expected = voc_by_definition(ground_truth, results, category["id"], iou, rule)
        assert ours[category["name"]] == pytest.approx(expected, nan_ok=True)


def voc_by_definition(ground_truth, results, category, threshold, rule):
    objects = [a for a in ground_truth["annotations"] if a["category_id"] == category]
    n_objects = sum(not a["iscrowd"] for a in objects)
    if not n_objects:
        return float("nan")
    claimed, n_tp, n_fp, points = set(), 0, 0, []
    for result in sorted(results, key=lambda r: -r["score"]):
        if result["category_id"] != category:
            continue
        candidates = [a for a in objects if a["image_id"] == result["image_id"]]
        best = max(candidates, key=lambda a: iou_of(a["bbox"], result["bbox"]), default=None)
        if best is None or iou_of(best["bbox"], result["bbox"]) < threshold:
            n_fp += 1
        elif best["iscrowd"]:
            continue
        elif best["id"] in claimed:
            n_fp += 1
        else:
            claimed.add(best["id"])
            n_tp += 1
        points.append((n_tp / n_objects, n_tp / (n_tp + n_fp)))

    def best_precision(recall):
        return max((p for r, p in points if r >= recall - 1e-12), default=0)

    if rule == "11-point":
        return sum(best_precision(n / 10) for n in range(11)) / 11
    return sum(best_precision(n / n_objects) for n in range(1, n_objects + 1)) / n_objects


def iou_of(first, second):
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    inter = max(width, 0) * max(height, 0)
    return inter / (first[2] * first[3] + second[2] * second[3] - inter)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"rule": "10-point"}, "rule must be one of"), ({"iou": 0}, r"iou must be in \(0, 1\]")],
)
def test_arguments_without_meaning_are_refused(make_scene, arguments, message):
    with pytest.raises(InputError, match=message):
        voc_average_precision(*make_scene([], []), **arguments)
