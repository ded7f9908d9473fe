"""Detections of released models (thesis Figures 5.6 to 5.10, H.1 and H.2)."""

from rebalance.figures.family import FigureOfReleased
from rebalance.figures.released.compute import (
    class_curves,
    curve_table,
    interpolation_checks,
    interpolation_gains,
    operating_point_checks,
    optimal_thresholds,
    panoptic_checks,
    panoptic_errors,
    s_lrp_checks,
    tau_checks,
    tau_sweep,
    threshold_checks,
    threshold_table,
    video_checks,
)
from rebalance.figures.released.draw import (
    plot_interpolation,
    plot_panoptic_errors,
    plot_precision_recall_of,
    plot_s_lrp_of,
    plot_tau_sweep,
    plot_threshold_histograms,
)

FIGURES: dict[str, FigureOfReleased] = {
    "operating_points": FigureOfReleased(
        operating_point_checks, plot_precision_recall_of, class_curves, curve_table
    ),
    "interpolation": FigureOfReleased(
        interpolation_checks, plot_interpolation, interpolation_gains, lambda gains: gains
    ),
    "panoptic": FigureOfReleased(
        panoptic_checks, plot_panoptic_errors, panoptic_errors, lambda errors: errors
    ),
    "s_lrp": FigureOfReleased(s_lrp_checks, plot_s_lrp_of, class_curves, curve_table),
    "thresholds": FigureOfReleased(
        threshold_checks, plot_threshold_histograms, optimal_thresholds, threshold_table
    ),
    "tau": FigureOfReleased(tau_checks, plot_tau_sweep, tau_sweep, lambda sweep: sweep),
    "video": FigureOfReleased(video_checks, plot_precision_recall_of, class_curves, curve_table),
}
