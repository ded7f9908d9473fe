"""Correlation of confidence and localisation, and the bounds of thesis Table 7.4."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.metrics import (
    Evaluation,
    evaluate,
    load_detections,
    load_ground_truth,
    pearson,
    spearman,
    with_ranking,
)
from scipy import stats


@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.booleans())
def test_equal_scipy(seed, count, ties):
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(5, size=count) + rng.random(count) * (not ties) for _ in range(2))
    if np.ptp(x) > 0 and np.ptp(y) > 0:
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5]])
def test_undefined_for_fewer_than_two_different_values(values):
    x = np.array(values)
    assert np.isnan([pearson(x, np.arange(len(x))), spearman(x, np.arange(len(x)))]).all()


def matched(scene):
    ground_truth = load_ground_truth(scene[0])
    return Evaluation(ground_truth, load_detections(scene[1], ground_truth, max_dets=100))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_bounds_keep_ap50_and_rank_true_positives_by_quality(random_scene, seed):
    scene = random_scene(seed, max_detections=60)
    metrics = {
        ranking: evaluate(*scene, ranking=ranking) for ranking in ("scores", "lower", "upper")
    }
    ap50 = [metric["AP50"] for metric in metrics.values()]
    np.testing.assert_allclose(ap50, ap50[0], rtol=0, atol=1e-12, equal_nan=True)
    evaluation = matched(scene)
    for ranking, sign in (("lower", -1), ("upper", 1)):
        reranked = with_ranking(evaluation, ranking)
        for k in range(evaluation.num_classes):
            before, after = evaluation.class_matches(k), reranked.class_matches(k)
            np.testing.assert_array_equal(before.scores, after.scores)
            np.testing.assert_array_equal(before.true_positives, after.true_positives)
            assert sorted(before.records) == sorted(after.records)
            falling = after.quality[after.true_positives]
            assert (sign * np.diff(falling) <= 0).all()


def test_bounds_by_hand(make_scene):
    # Hits of IoU .6 and 1 around a false positive: at IoU .75 only the second is a hit.
    objects = [(1, 1, 0, 0, 10, 10), (1, 1, 50, 50, 10, 10)]
    found = [(1, 1, 0, 0, 10, 6, 0.9), (1, 1, 90, 0, 9, 9, 0.8), (1, 1, 50, 50, 10, 10, 0.7)]
    scene = make_scene(objects, found, 1)
    lower, upper = (evaluate(*scene, ranking=ranking) for ranking in ("lower", "upper"))
    # 51 of 101 recall points, at precision 1/3 (third place) and 1 (first place).
    assert lower["AP75"] == pytest.approx(51 / 101 / 3)
    assert upper["AP75"] == pytest.approx(51 / 101)
    assert lower["correlation"]["Spearman"] == pytest.approx(-1)
    assert upper["correlation"]["Spearman"] == pytest.approx(1)
    assert upper["correlation"]["Pearson"] == pytest.approx(1)


def test_upper_bound_lies_above_and_lower_bound_below_on_golden_data(golden_lrp):
    golden = golden_lrp(0)
    ap = [
        evaluate(golden["gt"], golden["results"], ranking=ranking)["AP"]
        for ranking in ("lower", "scores", "upper")
    ]
    assert ap[0] < ap[1] - 0.01 < ap[2] - 0.02
