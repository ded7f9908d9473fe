"""Worked examples of a few boxes (thesis Figures 3.11, 3.15 and 3.18, GGIoU Figure 1)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.toy_boxes.compute import (
    coverage_checks,
    ggiou_checks,
    prediction_checks,
    slide_checks,
)
from rebalance.figures.toy_boxes.draw import (
    plot_coverage,
    plot_ggiou,
    plot_prediction_errors,
    plot_slide,
)

FIGURES: dict[str, FamilyFigure] = {
    "prediction_errors": FamilyFigure(prediction_checks, plot_prediction_errors),
    "coverage": FamilyFigure(coverage_checks, plot_coverage),
    "slide": FamilyFigure(slide_checks, plot_slide),
    "ggiou": FamilyFigure(ggiou_checks, plot_ggiou),
}
