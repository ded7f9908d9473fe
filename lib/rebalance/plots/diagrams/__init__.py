"""Explanatory diagrams, redrawn in the suite's own form: what is drawn -> its function."""

from collections.abc import Callable

from matplotlib.figure import Figure

from rebalance.plots.diagrams.imbalance import plot_imbalance_pipeline
from rebalance.plots.diagrams.pipelines import (
    plot_detector,
    plot_faster_rcnn_training,
    plot_generated_positives,
    plot_rank_sort_pipeline,
    plot_recursion,
)
from rebalance.plots.diagrams.pyramids import (
    plot_feature_imbalance,
    plot_pyramid_designs,
    plot_scales,
)

FIGURES: dict[str, Callable[[], Figure]] = {
    "detector": plot_detector,
    "imbalance_pipeline": plot_imbalance_pipeline,
    "scales": plot_scales,
    "feature_imbalance": plot_feature_imbalance,
    "pyramid_designs": plot_pyramid_designs,
    "generated_positives": plot_generated_positives,
    "faster_rcnn_training": plot_faster_rcnn_training,
    "recursion": plot_recursion,
    "rank_sort_pipeline": plot_rank_sort_pipeline,
}
