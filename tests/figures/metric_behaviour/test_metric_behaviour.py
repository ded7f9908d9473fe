"""Curves of our own examples: counted box by box, and able to fail."""

import numpy as np
import pytest
from rebalance.figures.metric_behaviour import compute as metric_behaviour
from rebalance.figures.metric_behaviour.compute import (
    CURVE_OBJECTS,
    OBJECT_SIDE,
    curve_checks,
    curve_example,
    detector_curves,
)


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
    assert any(not claim.holds for claim in curve_checks({}))
