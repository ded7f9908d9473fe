"""What AP, PQ and LRP say of toy detectors and masks (thesis chapter 5, Figures 1.3 and C.1)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.metric_behaviour.compute import (
    comparison_claims,
    correlation_claims,
    curve_claims,
    equal_ap_claims,
    grid_claims,
    growth_claims,
    hard_prediction_table,
    triangle_claims,
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
    "correlation": FamilyFigure(correlation_claims, plot_correlation),
    "equal_ap": FamilyFigure(equal_ap_claims, plot_equal_ap),
    "growth": FamilyFigure(growth_claims, plot_growth),
    "curves": FamilyFigure(curve_claims, plot_curves),
    "grid": FamilyFigure(grid_claims, plot_grid),
    "comparison": FamilyFigure(comparison_claims, plot_comparison_of_errors),
    "triangle": FamilyFigure(triangle_claims, plot_triangle),
}
TABLES = {"hard_predictions": hard_prediction_table}
