"""What AP, PQ and LRP say of toy detectors and masks (thesis chapter 5, Figures 1.3 and C.1)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.metric_behaviour.compute import (
    comparison_checks,
    correlation_checks,
    curve_checks,
    equal_ap_checks,
    grid_checks,
    growth_checks,
    hard_prediction_table,
    triangle_checks,
)
from rebalance.figures.metric_behaviour.draw import (
    plot_comparison_of_errors,
    plot_correlation,
    plot_curves,
    plot_equal_ap,
    plot_grid,
    plot_growth,
    plot_triangle,
)

FIGURES: dict[str, FamilyFigure] = {
    "correlation": FamilyFigure(correlation_checks, plot_correlation),
    "equal_ap": FamilyFigure(equal_ap_checks, plot_equal_ap),
    "growth": FamilyFigure(growth_checks, plot_growth),
    "curves": FamilyFigure(curve_checks, plot_curves),
    "grid": FamilyFigure(grid_checks, plot_grid),
    "comparison": FamilyFigure(comparison_checks, plot_comparison_of_errors),
    "triangle": FamilyFigure(triangle_checks, plot_triangle),
}
TABLES = {"hard_predictions": hard_prediction_table}
