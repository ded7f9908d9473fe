"""Weighted metrics equal evaluating the resampled data set; intervals hold as often as they say."""

import copy

import numpy as np
import pytest
from rebalance.metrics import evaluate
from rebalance.metrics.bootstrap import (
    draw_weights,
    interval,
    mean_over_classes,
    weighted_metrics,
)
from rebalance.metrics.matches import Matches
from simulated_detectors import simulate_pair

OVERALL = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
OF_SIZES = ("APS", "APM", "APL", "oLRPS", "oLRPM", "oLRPL")


def matches_of_files(gt, results, **options):
    kept: list[Matches] = []
    metrics = evaluate(gt, results, keep_matches=kept.append, **options)
    return metrics, kept[0]


def resampled_files(gt, results, weights):
    """The files of a data set that has each image as often as its weight says."""
    images, annotations, found = [], [], []
    for image, weight in zip(sorted(gt["images"], key=lambda i: i["id"]), weights, strict=True):
        for _ in range(weight):
            images.append({**image, "id": len(images) + 1})
            for kind, copies in ((gt["annotations"], annotations), (results, found)):
                for record in kind:
                    if record["image_id"] == image["id"]:
                        copies.append({**copy.deepcopy(record), "image_id": len(images)})
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return {**gt, "images": images, "annotations": annotations}, found


def continuous_scene(random_scene, seed):
    """A random scene without ties of score or IoU, which leave the choice of an optimum open."""
    gt, results = random_scene(seed, num_images=6, max_objects=8)
    rng = np.random.default_rng(seed)
    for record in [*gt["annotations"], *results]:
        record["bbox"] = (np.array(record["bbox"]) + rng.random(4)).tolist()
    for record in results:
        record["score"] = float(rng.random())
    return gt, results


@pytest.mark.parametrize("seed", range(6))
def test_equals_resampling_the_files_and_evaluating_them(random_scene, seed):
    gt, results = continuous_scene(random_scene, seed)
    _, matches = matches_of_files(gt, results)
    weights = draw_weights(6, 5, seed)
    ours = weighted_metrics(matches, weights)
    for r, drawn in enumerate(weights.tolist()):
        slow = evaluate(*resampled_files(gt, results, drawn))
        for name in (*OVERALL, *OF_SIZES):
            expected = [row[name] for row in slow["per_class"]]
            np.testing.assert_allclose(ours[name][r], expected, atol=1e-12, err_msg=name)
            overall = mean_over_classes(ours[name])[r]
            np.testing.assert_allclose(overall, slow[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", range(7))
def test_images_as_they_are_give_the_metrics_of_the_golden_files(golden_lrp, case):
    golden = golden_lrp(case)
    metrics, matches = matches_of_files(golden["gt"], golden["results"], iou_type=golden["iouType"])
    ours = weighted_metrics(matches, np.ones((1, len(matches.image_ids)), np.int32))
    assert {"AP", "oLRP"} < set(ours)
    for name, values in ours.items():
        expected = [row[name] for row in metrics["per_class"]]
        np.testing.assert_allclose(values[0], expected, atol=1e-12, err_msg=name)


def test_many_detections_are_done_some_resamples_at_a_time(monkeypatch):
    matches = simulate_pair(np.random.default_rng(0), 50)[0]
    weights = draw_weights(50, 40, 0)
    at_once = weighted_metrics(matches, weights)
    monkeypatch.setattr("rebalance.metrics.bootstrap.AT_A_TIME", 1)  # 8 at a time
    for name, values in weighted_metrics(matches, weights).items():
        np.testing.assert_array_equal(values, at_once[name])


def test_weights_are_the_same_for_a_seed_and_draw_as_many_images_as_there_are():
    weights = draw_weights(30, 20, seed=3)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(weights, draw_weights(30, 20, seed=3))
    assert (weights[1:] != draw_weights(30, 20, seed=4)[1:]).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            [2.0, 1.0, 3.0], (2 - 1.959964 * 2**0.5, 2 + 1.959964 * 2**0.5), id="std 2^.5"
        ),
        pytest.param([0.0, 0.0, 0.0, np.nan], (0.0, 0.0), id="equal ones, one undefined"),
        pytest.param([np.nan, 1.0, 2.0], (np.nan, np.nan), id="undefined value"),
        pytest.param([1.0, np.nan, 2.0], (np.nan, np.nan), id="a single resample"),
    ],
)
def test_interval_worked_out_by_hand(values, expected):
    np.testing.assert_allclose(interval(np.array(values)), expected, atol=1e-6)


@pytest.mark.slow
def test_intervals_hold_the_true_gain_in_92_to_98_of_100_repetitions():
    """A class of some 600 objects; the truth is the gain over 100,000 images."""
    repetitions, images, resamples = 400, 200, 150
    one = np.ones((1, 100_000), np.int32)
    truth = [
        weighted_metrics(matches, one)
        for matches in simulate_pair(np.random.default_rng(10**6), 100_000)
    ]
    held = dict.fromkeys(OVERALL, 0)
    for seed in range(repetitions):
        weights = draw_weights(images, resamples, seed)
        before, after = (
            weighted_metrics(matches, weights)
            for matches in simulate_pair(np.random.default_rng(seed), images)
        )
        for name in OVERALL:
            low, high = interval((after[name] - before[name])[:, 0])
            held[name] += low <= (truth[1][name] - truth[0][name])[0, 0] <= high
    assert all(0.92 <= count / repetitions <= 0.98 for count in held.values()), held
