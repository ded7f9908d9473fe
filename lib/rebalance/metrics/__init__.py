"""Evaluation: AP and AR as COCO and VOC define them, LRP, panoptic quality, correlations."""

from rebalance.metrics.annotations import load_detections, load_ground_truth
from rebalance.metrics.correlation import pearson, score_quality_correlation, spearman, with_ranking
from rebalance.metrics.evaluate import evaluate, match_files
from rebalance.metrics.evaluation import ClassMatches, Evaluation
from rebalance.metrics.lrp import (
    Lrp,
    OptimalLrp,
    SLrp,
    Weights,
    average_lrp,
    lrp_error,
    lrp_from_components,
    optimal_lrp,
    s_lrp,
)
from rebalance.metrics.panoptic import evaluate_panoptic, panoptic_quality
from rebalance.metrics.precision_recall import (
    area_average_precision,
    interpolated_average_precision,
    precision_recall,
    precision_recall_error,
    uninterpolated_average_precision,
)
from rebalance.metrics.threshold import apply_thresholds, optimal_thresholds
from rebalance.metrics.voc import voc_average_precision

__all__ = [
    "ClassMatches",
    "Evaluation",
    "Lrp",
    "OptimalLrp",
    "SLrp",
    "Weights",
    "apply_thresholds",
    "area_average_precision",
    "average_lrp",
    "evaluate",
    "evaluate_panoptic",
    "interpolated_average_precision",
    "load_detections",
    "load_ground_truth",
    "lrp_error",
    "lrp_from_components",
    "match_files",
    "optimal_lrp",
    "optimal_thresholds",
    "panoptic_quality",
    "pearson",
    "precision_recall",
    "precision_recall_error",
    "s_lrp",
    "score_quality_correlation",
    "spearman",
    "uninterpolated_average_precision",
    "voc_average_precision",
    "with_ranking",
]
