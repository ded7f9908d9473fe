"""Explanatory diagrams, redrawn in the suite's own form."""

from rebalance.figures.diagrams.compute import (
    design_claims,
    detector_claims,
    faster_rcnn_claims,
    feature_claims,
    generated_claims,
    pipeline_claims,
    rank_sort_claims,
    recursion_claims,
    scale_claims,
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
from rebalance.figures.family import FamilyFigure

FIGURES: dict[str, FamilyFigure] = {
    "detector": FamilyFigure(detector_claims, plot_detector),
    "imbalance_pipeline": FamilyFigure(pipeline_claims, plot_imbalance_pipeline),
    "scales": FamilyFigure(scale_claims, plot_scales),
    "feature_imbalance": FamilyFigure(feature_claims, plot_feature_imbalance),
    "pyramid_designs": FamilyFigure(design_claims, plot_pyramid_designs),
    "generated_positives": FamilyFigure(generated_claims, plot_generated_positives),
    "faster_rcnn_training": FamilyFigure(faster_rcnn_claims, plot_faster_rcnn_training),
    "recursion": FamilyFigure(recursion_claims, plot_recursion),
    "rank_sort_pipeline": FamilyFigure(rank_sort_claims, plot_rank_sort_pipeline),
}
