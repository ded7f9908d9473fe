"""LRP: values by hand, the identity of Eq. 5.2 and 5.3, bounds, the triangle inequality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rebalance.errors import InputError
from rebalance.metrics import (
    Weights,
    average_lrp,
    lrp_error,
    lrp_from_components,
    optimal_lrp,
    panoptic_quality,
    precision_recall_error,
    s_lrp,
)

COUNTS = st.integers(0, 20)
TAUS = st.sampled_from([0.5, 0.6, 0.75, 0.9])


@st.composite
def hard_predictions(draw):
    """tau, qualities of the true positives (>= tau), n_fp, n_fn; not all empty."""
    tau = draw(TAUS)
    quality = draw(hnp.arrays(float, COUNTS, elements=st.floats(tau, 1)))
    n_fp, n_fn = draw(COUNTS), draw(COUNTS)
    if len(quality) + n_fp + n_fn == 0:
        n_fn = 1
    return tau, quality, n_fp, n_fn


@pytest.mark.parametrize(
    ("quality", "n_fp", "n_fn", "expected"),
    [
        pytest.param([1.0, 1.0], 0, 0, (0, 0, 0, 0), id="perfect"),
        pytest.param([0.5], 0, 0, (1, 0.5, 0, 0), id="a match at tau is worth nothing"),
        pytest.param([1.0], 1, 0, (1 / 2, 0, 1 / 2, 0), id="table 5.1 a: one more detection"),
        pytest.param([1.0], 0, 1, (1 / 2, 0, 0, 1 / 2), id="table 5.1 b: one object missed"),
        pytest.param([0.9, 0.7], 1, 3, (4.8 / 6, 0.2, 1 / 3, 3 / 5), id="(.2 + .6 + 1 + 3) / 6"),
        pytest.param([], 2, 0, (1, np.nan, 1, np.nan), id="no ground truth"),
        pytest.param([], 0, 2, (1, np.nan, np.nan, 1), id="no detection"),
        pytest.param([], 0, 0, (np.nan,) * 4, id="nothing to evaluate"),
    ],
)
def test_equals_the_value_worked_out_by_hand(quality, n_fp, n_fn, expected):
    error = lrp_error(np.sum(1 - np.array(quality)), len(quality), n_fp, n_fn)
    np.testing.assert_allclose((error.lrp, error.loc, error.fp, error.fn), expected, atol=1e-15)


@given(hard_predictions())
def test_is_the_weighted_mean_of_its_components(prediction):
    tau, quality, n_fp, n_fn = prediction
    error = lrp_error((1 - quality).sum(), len(quality), n_fp, n_fn, tau)
    assert float(lrp_from_components(error, tau)) == pytest.approx(float(error.lrp), abs=1e-12)


@given(hard_predictions())
def test_lies_in_0_1_and_bounds_the_errors_of_precision_recall_and_pq(prediction):
    tau, quality, n_fp, n_fn = prediction
    n_tp = len(quality)
    error = lrp_error((1 - quality).sum(), n_tp, n_fp, n_fn, tau)
    slack = 1e-12
    assert 0 <= error.lrp <= 1
    for component in (error.loc, error.fp, error.fn):
        assert np.isnan(component) or 0 <= component <= 1
    assert np.isnan(error.fp) or error.lrp >= error.fp - slack
    assert np.isnan(error.fn) or error.lrp >= error.fn - slack
    if n_tp:
        both = precision_recall_error(1 - error.fp, 1 - error.fn)
        assert both >= max(error.fp, error.fn) - slack
    pq, _, _ = panoptic_quality(*map(np.float64, (quality.sum(), n_tp, n_fp, n_fn)))
    assert error.lrp >= 1 - pq - slack  # tau >= 1/2


@given(hard_predictions())
def test_pq_error_is_lrp_with_true_positives_counted_twice_below(prediction):
    _, quality, n_fp, n_fn = prediction
    quality = np.clip(quality, 0.5, 1)
    n_tp = len(quality)
    pq, sq, rq = panoptic_quality(*map(np.float64, (quality.sum(), n_tp, n_fp, n_fn)))
    error = lrp_error((1 - quality).sum(), n_tp, n_fp, n_fn, 0.5)
    total, normaliser = n_tp + n_fp + n_fn, 2 * n_tp + n_fp + n_fn
    assert 1 - pq == pytest.approx(float(error.lrp) * total / normaliser, abs=1e-12)  # Eq. 5.8
    assert pq == pytest.approx(sq * rq, abs=1e-12)


@given(
    hard_predictions(), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.1, 5), st.floats(0.1, 9)
)
def test_weights_are_relative_and_keep_the_range(prediction, tp, fp, fn, scale):
    tau, quality, n_fp, n_fn = prediction
    counts = ((1 - quality).sum(), len(quality), n_fp, n_fn, tau)
    weighted = lrp_error(*counts, Weights(tp, fp, fn))
    scaled = lrp_error(*counts, Weights(tp * scale, fp * scale, fn * scale))
    assert 0 <= weighted.lrp <= 1
    assert float(scaled.lrp) == pytest.approx(float(weighted.lrp), abs=1e-12)


def test_a_weight_of_two_is_an_error_counted_twice():
    # Eq. E.1: TP error .2/.5, 1 FP, 2 FN; with FN twice (.4 + 1 + 4) / (1 + 1 + 4).
    assert lrp_error(0.2, 1, 1, 2, weights=Weights(fn=2)).lrp == pytest.approx(5.4 / 6)
    np.testing.assert_allclose(
        lrp_error(0.2, 1, 1, 2, weights=Weights(fn=2)).lrp,
        lrp_error(0.2, 1, 1, 4).lrp,
    )


@pytest.mark.parametrize("weights", [(-1, 1, 1), (0, 0, 0), (float("nan"), 1, 1)])
def test_meaningless_weights_are_refused(weights):
    with pytest.raises(InputError, match="weights must be finite"):
        Weights(*weights)


@pytest.mark.parametrize("tau", [-0.1, 1.0, float("nan")])
def test_meaningless_tau_is_refused(tau):
    with pytest.raises(InputError, match=r"tau must be in \[0, 1\)"):
        lrp_error(0, 1, 0, 0, tau)


# Curves


def brute_force_olrp(scores, quality, hits, ignored, num_gt, tau):
    """Minimum over the thresholds, from the definition."""
    errors = []
    for kept in range(1, len(scores) + 1):
        tp = [q for q, hit in zip(quality[:kept], hits[:kept], strict=True) if hit]
        fp = sum(not hit and not out for hit, out in zip(hits[:kept], ignored[:kept], strict=True))
        fn = num_gt - len(tp)
        errors.append((sum((1 - q) / (1 - tau) for q in tp) + fp + fn) / (len(tp) + fp + fn))
    best = int(np.argmin(errors))
    return min(errors), scores[best], np.mean(errors)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), TAUS)
def test_curve_optimum_and_average_equal_a_loop(seed, count, tau):
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.random(count))[::-1]
    hits = rng.random(count) < 0.6
    ignored = ~hits & (rng.random(count) < 0.3)
    quality = rng.uniform(tau, 1, count)
    num_gt = int(hits.sum()) + int(rng.integers(1, 4))
    curve = s_lrp(scores, quality, hits, ignored, num_gt, tau)
    olrp, threshold, average = brute_force_olrp(scores, quality, hits, ignored, num_gt, tau)
    assert average_lrp(curve) == pytest.approx(average, abs=1e-12)
    optimum = optimal_lrp(curve)
    assert optimum.olrp == pytest.approx(olrp, abs=1e-12)
    if hits.any():
        assert float(curve.at(optimum.threshold).lrp) == pytest.approx(olrp, abs=1e-12)
        assert curve.errors.lrp[np.searchsorted(-scores, -threshold)] == pytest.approx(olrp)


def test_equal_scores_are_one_operating_point_if_asked():
    scores = np.array([0.9, 0.5, 0.5, 0.5])
    hits = np.array([False, True, False, True])
    arguments = (scores, np.ones(4), hits, np.zeros(4, bool), 2)
    apart, together = s_lrp(*arguments), s_lrp(*arguments, operating_points="scores")
    np.testing.assert_allclose(apart.errors.lrp, [3 / 3, 2 / 3, 3 / 4, 2 / 4])
    np.testing.assert_allclose(together.scores, [0.9, 0.5])
    np.testing.assert_allclose(together.errors.lrp, [3 / 3, 2 / 4])


def test_deleting_below_the_optimum_and_levelling_scores_makes_alrp_equal_olrp():
    # Appendix F: why aLRP is no performance measure.
    scores = np.array([0.9, 0.8, 0.3, 0.2])
    hits = np.array([True, True, False, False])
    quality = np.array([0.9, 0.8, 0, 0])
    before = s_lrp(scores, quality, hits, ~hits & False, 3)
    olrp = optimal_lrp(before).olrp
    kept = scores >= optimal_lrp(before).threshold
    after = s_lrp(
        np.ones(kept.sum()), quality[kept], hits[kept], np.zeros(kept.sum(), bool), 3,
        operating_points="scores",
    )  # fmt: skip
    assert average_lrp(before) > olrp + 0.05
    assert average_lrp(after) == pytest.approx(olrp)


# LRP is a metric between sets (appendix D), PQ error is not (appendix C).


def interval_iou(first, second):
    """IoU of intervals [low, high]."""
    inter = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    return inter / (first[1] - first[0] + second[1] - second[0] - inter)


def set_distance(first, second, tau=0.5):
    """LRP between two sets of disjoint intervals: a match needs IoU > tau, and is then unique."""
    iou = np.array([[interval_iou(a, b) for b in second] for a in first]).reshape(
        len(first), len(second)
    )
    matched = iou[iou > tau]
    counts = len(matched), len(first) - len(matched), len(second) - len(matched)
    return lrp_error((1 - matched).sum(), *counts, tau), panoptic_quality(
        *map(np.float64, (matched.sum(), *counts))
    )


@st.composite
def disjoint_intervals(draw):
    bounds = draw(st.lists(st.integers(0, 24), min_size=2, max_size=8, unique=True))
    bounds = sorted(bounds)
    return [(bounds[n], bounds[n + 1]) for n in range(0, len(bounds) - 1, 2)]


@settings(max_examples=400)
@given(disjoint_intervals(), disjoint_intervals(), disjoint_intervals(), TAUS)
def test_triangle_inequality_and_symmetry(first, second, third, tau):
    direct, _ = set_distance(first, second, tau)
    over = set_distance(first, third, tau)[0].lrp + set_distance(third, second, tau)[0].lrp
    assert direct.lrp <= over + 1e-12
    assert direct.lrp == set_distance(second, first, tau)[0].lrp
    assert set_distance(first, first, tau)[0].lrp == 0


def test_pq_error_violates_the_triangle_inequality_where_lrp_does_not():
    # Fig. C.1: IoU(X, Z) = IoU(Z, Y) = 5/7, IoU(X, Y) = 1/2, which is no match.
    x, y, z = [(0, 6)], [(2, 8)], [(1, 7)]
    (xy, pq_xy), (xz, pq_xz), (zy, pq_zy) = (set_distance(*p) for p in [(x, y), (x, z), (z, y)])
    assert 1 - pq_xy[0] > (1 - pq_xz[0]) + (1 - pq_zy[0])
    np.testing.assert_allclose([1 - pq_xz[0], xz.lrp, zy.lrp], [2 / 7, 4 / 7, 4 / 7])
    assert xy.lrp == 1 <= xz.lrp + zy.lrp
