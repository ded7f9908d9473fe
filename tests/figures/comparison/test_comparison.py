"""Thumbnails of tables: measured beside reported."""

import pytest
from rebalance.figures.comparison.draw import plot_comparison
from rebalance.figures.style import save_figure


@pytest.mark.parametrize("names", [["a", "b"], [f"row {index}" for index in range(30)]])
def test_comparison_draws_undefined_values_too(names, tmp_path):
    nan = float("nan")
    measured = [0.5] + [nan] * (len(names) - 1)
    fig = plot_comparison(names, measured, [nan] * len(names), [nan] * len(names), "AP", "shapes")
    save_figure(fig, tmp_path / "f.svg", tmp_path / "f.png")
    assert "measured (shapes)" in fig.axes[0].get_title(loc="left")
