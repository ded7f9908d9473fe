"""Explanatory diagrams, redrawn in the suite's own form."""

from rebalance.figures.diagrams.compute import (
    design_checks,
    detector_checks,
    faster_rcnn_checks,
    feature_checks,
    generated_checks,
    pipeline_checks,
    rank_sort_checks,
    recursion_checks,
    scale_checks,
)
from rebalance.figures.diagrams.draw.imbalance import plot_imbalance_pipeline
from rebalance.figures.diagrams.draw.pipelines import (
    plot_detector,
    plot_faster_rcnn_training,
    plot_generated_positives,
    plot_rank_sort_pipeline,
    plot_recursion,
)
from rebalance.figures.diagrams.draw.pyramids import (
    plot_feature_imbalance,
    plot_pyramid_designs,
    plot_scales,
)
from rebalance.figures.family import Diagram

FIGURES: dict[str, Diagram] = {
    "detector": Diagram(detector_checks, plot_detector),
    "imbalance_pipeline": Diagram(pipeline_checks, plot_imbalance_pipeline),
    "scales": Diagram(scale_checks, plot_scales),
    "feature_imbalance": Diagram(feature_checks, plot_feature_imbalance),
    "pyramid_designs": Diagram(design_checks, plot_pyramid_designs),
    "generated_positives": Diagram(generated_checks, plot_generated_positives),
    "faster_rcnn_training": Diagram(faster_rcnn_checks, plot_faster_rcnn_training),
    "recursion": Diagram(recursion_checks, plot_recursion),
    "rank_sort_pipeline": Diagram(rank_sort_checks, plot_rank_sort_pipeline),
}
