"""Evaluation: AP and AR as COCO and VOC define them, LRP, panoptic quality, correlations."""

from rebalance.metrics.annotations import load_detections, load_ground_truth
from rebalance.metrics.evaluate import evaluate
from rebalance.metrics.evaluation import ClassMatches, Evaluation
from rebalance.metrics.lrp import (
    Lrp,
    OptimalLrp,
    SLrp,
    Weights,
    average_lrp,
    lrp_error,
    optimal_lrp,
    s_lrp,
)

__all__ = [
    "ClassMatches",
    "Evaluation",
    "Lrp",
    "OptimalLrp",
    "SLrp",
    "Weights",
    "average_lrp",
    "evaluate",
    "load_detections",
    "load_ground_truth",
    "lrp_error",
    "optimal_lrp",
    "s_lrp",
]
