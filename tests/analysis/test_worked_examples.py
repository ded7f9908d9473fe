"""Boxes, curves and gradients of our own examples: by hand, written out, and able to fail."""

import numpy as np
import pytest
from rebalance.analysis import metric_behaviour, toy_boxes
from rebalance.analysis.metric_behaviour import (
    CURVE_OBJECTS,
    OBJECT_SIDE,
    curve_checks,
    curve_example,
    detector_curves,
)
from rebalance.analysis.ranking_examples import (
    alrp_checks,
    alrp_gradients,
    alrp_shares,
)
from rebalance.analysis.toy_boxes import slide_checks, slide_table

SLIDE_NUMBERS = {"steps": 3, "positive_threshold": 0.5}


def test_ious_of_the_slide_by_hand():
    table = slide_table().set_index("panel")
    # truth 8 x 6 = 48; large 8.8 x 6.7 = 58.96 around it, then shares 6.1 x 6 and 5 x 6 with it
    assert table.loc["a", "large"] == pytest.approx(48 / 58.96)
    right = 10 - (1.5 + 1.2)
    assert table.loc["b", "large"] == pytest.approx(right * 6 / (48 + 58.96 - right * 6))
    assert table.loc["c", "large"] == pytest.approx(30 / (48 + 58.96 - 30))
    assert table["small"].tolist() == pytest.approx([5.8 * 4.6 / 48] * 3)
    losses = [1 - 48 / 58.96 + 1 - 5.8 * 4.6 / 48, 1 - 5.8 * 4.6 / 48]
    assert table.loc[["a", "c"], "regression_loss"].tolist() == pytest.approx(losses)


def test_a_slide_that_ends_early_is_noticed(monkeypatch):
    monkeypatch.setattr(toy_boxes, "SLIDE_SHIFTS", {"a": 0.0, "b": 1.2, "c": 2.0})
    failed = [check.quantity for check in slide_checks(SLIDE_NUMBERS) if not check.holds]
    assert "(c) moved further it is a negative" in failed


def brute_force(threshold: float) -> dict[str, float]:
    """Precision, recall, mean IoU and LRP at a threshold, from the boxes one by one."""
    _, detections = curve_example()
    ious = []
    for detection in detections:
        if detection["score"] >= threshold:
            # Equal squares on a line: the shared side against both.
            shared = max(OBJECT_SIDE - abs(detection["bbox"][0]), 0.0)
            ious.append(shared / (2 * OBJECT_SIDE - shared))
    found = [iou for iou in ious if iou >= 0.5]  # at most one detection near an object
    n_tp, n_fp, n_fn = len(found), len(ious) - len(found), CURVE_OBJECTS - len(found)
    total = sum((1 - iou) / 0.5 for iou in found) + n_fp + n_fn
    return {
        "precision": n_tp / (n_tp + n_fp), "recall": n_tp / CURVE_OBJECTS,
        "mean_quality": float(np.mean(found)), "LRP": total / (n_tp + n_fp + n_fn),
    }  # fmt: skip


def test_curves_are_those_counted_box_by_box():
    curves = detector_curves()
    for line in curves.iloc[5::12].to_dict("records"):
        for key, value in brute_force(line["score"]).items():
            assert line[key] == pytest.approx(value), (line["score"], key)
    assert curves["score"].is_monotonic_decreasing
    best = curves.iloc[int(curves["LRP"].argmin())]
    assert min(brute_force(score)["LRP"] for score in curves["score"]) == pytest.approx(best["LRP"])


@pytest.mark.parametrize("column", ["LRP", "precision"])
def test_a_curve_that_is_not_the_evaluations_is_noticed(monkeypatch, column):
    def wrong(worst=False):
        curves = detector_curves(worst)
        return curves.assign(**{column: curves[column] * (0.99 if worst else 0.98)})

    monkeypatch.setattr(metric_behaviour, "detector_curves", wrong)
    assert any(not check.holds for check in curve_checks({}))


def test_gradients_of_the_alrp_example_by_hand():
    by_score, by_error = alrp_gradients()
    # p2: rank 3, one negative and E_loc 0.4 above; p3: rank 6, three negatives, 0.4 + 0.7 above
    p2, p3 = (1 + 0.4) / 3 / 3, (3 + 0.4 + 0.7) / 6 / 3
    n1, n2 = p2 + p3 / 3, p3 / 3
    assert by_score.tolist() == pytest.approx([0, n1, -p2, n2, n2, -p3, 0])
    assert by_error.tolist() == pytest.approx(
        [(1 + 1 / 3 + 1 / 6) / 3, (1 / 3 + 1 / 6) / 3, 1 / 6 / 3]
    )


@pytest.mark.parametrize("seed", range(12))
def test_shares_are_the_librarys_gradients_for_any_order(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(["p"] * 4 + ["n"] * 5)
    order = [f"{kind}{place}" for place, kind in enumerate(kinds)]
    errors = {name: float(rng.random()) for name in order if name.startswith("p")}
    shares = alrp_shares(order, errors)
    by_score, by_error = alrp_gradients(order, errors)
    positive = kinds == "p"
    np.testing.assert_allclose(
        -by_score[positive], shares.negatives + shares.localisation.sum(axis=1), atol=1e-12
    )
    np.testing.assert_allclose(by_score[~positive], shares.sent.sum(axis=0)[~positive], atol=1e-12)
    np.testing.assert_allclose(by_error, shares.weights.sum(axis=1), atol=1e-12)
    assert by_score.sum() == pytest.approx(0, abs=1e-12)


def test_formulas_that_forget_the_boxes_are_noticed(monkeypatch):
    def forgetful(*arguments, **options):
        shares = alrp_shares(*arguments, **options)
        return shares._replace(localisation=0 * shares.localisation)

    monkeypatch.setattr("rebalance.analysis.ranking_examples.alrp_shares", forgetful)
    failed = [check.quantity for check in alrp_checks({}) if not check.holds]
    assert failed == ["(a) the score gradients of the positives are those of Eq. 7.7"]
