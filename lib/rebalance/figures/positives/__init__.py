"""What trained detectors train on (bbgen Figures 5 and 6; thesis 3.12, 3.14, 4.5, 4.6; r3cnn 2)."""

from rebalance.figures.family import TabledFigure
from rebalance.figures.positives.compute import (
    corner_checks,
    corner_table,
    loop_checks,
    loop_table,
    near_half_checks,
    near_half_table,
    regressor_checks,
    roi_source_checks,
    roi_source_table,
)
from rebalance.figures.positives.draw import (
    plot_corners_with,
    plot_loops,
    plot_near_half,
    plot_regressor,
    plot_roi_sources_with,
)

FIGURES: dict[str, TabledFigure] = {
    "sources": TabledFigure(roi_source_checks, plot_roi_sources_with, roi_source_table),
    "corners": TabledFigure(corner_checks, plot_corners_with, corner_table),
    "near_half": TabledFigure(near_half_checks, plot_near_half, near_half_table),
    "regressor": TabledFigure(regressor_checks, plot_regressor),
    "loops": TabledFigure(loop_checks, plot_loops, loop_table),
}
