"""Logs of trainings: read, smoothed, drawn."""

import numpy as np
import pandas as pd
import pytest
from rebalance.errors import InputError
from rebalance.figures.training_curves.compute import load_logs, smooth
from rebalance.figures.training_curves.draw import plot_training_curves


def test_smooth_is_the_unbiased_average_with_exponential_weights():
    values = np.array([1.0, 5.0, 3.0])
    keep = 1 - 2 / (3 + 1)  # span 3
    by_hand = [
        1,
        (5 + keep * 1) / (1 + keep),
        (3 + keep * 5 + keep**2 * 1) / (1 + keep + keep**2),
    ]
    np.testing.assert_allclose(smooth(values, 3), by_hand, rtol=1e-12)
    np.testing.assert_array_equal(smooth(values, 1), values)
    without = smooth(np.array([1.0, np.inf, 3.0]), 3)
    assert without[1] == 1
    assert 1 < without[2] < 3


def log(iterations=5, **terms):
    length = np.arange(iterations)
    return pd.DataFrame({"iteration": length, "lr": 0.01, "loss": 1.0} | terms | {"seconds": 0.1})


def test_curves_have_a_panel_per_loss_and_show_the_mean_over_seeds():
    logs = {
        "a": [log(class_loss=1.0), log(class_loss=3.0)],
        "b": [log(class_loss=4.0, mask_loss=1.0)],
    }
    fig = plot_training_curves(logs)
    panels = {ax.get_title(loc="left"): ax for ax in fig.axes if ax.get_visible()}
    assert list(panels) == ["total loss", "class loss", "mask loss", "learning rate"]
    lines = {line.get_label(): line.get_ydata() for line in panels["class loss"].lines}
    np.testing.assert_allclose(lines["a"], 2.0)
    np.testing.assert_allclose(lines["b"], 4.0)
    assert [line.get_label() for line in panels["mask loss"].lines] == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "not a CSV log", id="empty file"),
        pytest.param("iteration,lr\n0,1\n", "no column 'loss'", id="no loss"),
        pytest.param("iteration,lr,loss\n0,1,x\n", "'loss' must be numbers", id="text"),
        pytest.param("iteration,lr,loss\n", "no iterations", id="no iterations"),
        pytest.param("iteration,lr,loss\n1,1,1\n0,1,1\n", "must rise", id="backwards"),
        pytest.param("iteration,lr,loss\n1,1,1\n1,1,1\n", "must rise", id="twice"),
    ],
)
def test_a_broken_log_is_refused(tmp_path, text, message):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_logs({"a": [path]})
    with pytest.raises(InputError, match=r"gone.csv: no such log"):
        load_logs({"a": [tmp_path / "gone.csv"]})
