"""Curves and error shares of the classes of a detections file."""

import numpy as np
import pytest
from rebalance.errors import InputError
from rebalance.figures.detections.compute import (
    SHARES,
    choose_classes,
    class_curves,
    error_shares,
)
from rebalance.figures.detections.draw import MOST_POINTS, plot_precision_recall
from rebalance.metrics import evaluate, match_files


@pytest.fixture
def golden(golden_lrp):
    case = golden_lrp(0)
    return case["gt"], case["results"]


def test_error_shares_add_up_to_olrp_worst_first(golden):
    curves = class_curves(match_files(*golden))
    rows = {row["name"]: row for row in evaluate(*golden)["per_class"] if row["N_GT"]}
    shares = error_shares(curves)
    assert set(shares.index) == set(rows)
    total = shares[list(SHARES)].sum(axis=1)
    np.testing.assert_allclose(total, [rows[name]["oLRP"] for name in shares.index], atol=1e-12)
    assert (np.diff(total) <= 1e-12).all()


def test_curves_are_those_of_the_metrics(golden):
    curves = class_curves(match_files(*golden))
    assert [c.s_lrp.num_gt for c in curves.values()] == sorted(
        (c.s_lrp.num_gt for c in curves.values()), reverse=True
    )
    person = curves["person"]
    best = int(np.argmin(person.s_lrp.errors.lrp))
    assert person.optimum.threshold == person.s_lrp.scores[best]
    assert 1 - person.recall[best] == pytest.approx(person.optimum.fn)
    assert 1 - person.precision[best] == pytest.approx(person.optimum.fp)


def test_classes_are_chosen_by_name_or_frequency(golden):
    curves = class_curves(match_files(*golden))
    assert list(choose_classes(curves, [], 3)) == list(curves)[:3]
    assert list(choose_classes(curves, ["dog", "person"])) == ["dog", "person"]
    with pytest.raises(InputError, match="'unicorn' is no class with ground truth"):
        choose_classes(curves, ["unicorn"])


def test_long_curves_are_thinned_and_keep_their_ends(random_scene):
    curves = class_curves(match_files(*random_scene(0, 40, 2, 12, 99)))
    assert len(curves["class 1"].recall) > MOST_POINTS
    line = plot_precision_recall(curves).axes[0].lines[0]
    assert len(line.get_xdata()) <= MOST_POINTS
    assert line.get_xdata()[-1] == curves["class 1"].recall[-1]
