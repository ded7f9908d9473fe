"""Boxes of our own examples: by hand, and able to fail."""

import pytest
from rebalance.figures.toy_boxes import compute as toy_boxes
from rebalance.figures.toy_boxes.compute import slide_checks, slide_table

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
    failed = [claim.name for claim in slide_checks(SLIDE_NUMBERS) if not claim.holds]
    assert "(c) moved further it is a negative" in failed
