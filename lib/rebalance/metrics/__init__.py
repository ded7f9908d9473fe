"""Evaluation: AP and AR as COCO and VOC define them, LRP, panoptic quality, correlations.

From a file to a number: ``annotations`` checks and loads, ``quality`` measures how well pairs of
boxes, masks or keypoints agree, ``matching`` matches once, and ``precision_recall``, ``lrp``,
``correlation`` read their numbers off that; ``evaluate`` puts them together, and ``compare`` says
how sure a gain is.

Conventions, here and in metrics.json:

- Values are in [0, 1]; undefined is nan (JSON: null) and left out of averages. AP and oLRP of a
  class without ground truth are undefined; oLRP and oLRP_FN of a class without a true positive are
  1, its other components and its threshold undefined.
- Matching, crowd and area rules are COCO's, and equal to pycocotools in all numbers, with two
  departures: an annotation marked ``ignore`` (and not ``iscrowd``) is ignored, where pycocotools
  overwrites the mark; and an annotation id of 0 is an id like any other.
- Of each class in each image only the ``max_dets`` detections with the highest scores are judged;
  equal scores are in the order of the file, and across images in the order of image ids.
- Detections with equal scores are separate operating points of LRP, as in its published code;
  ``operating_points="scores"`` keeps them together, which can change a class's oLRP by 0.2.
- A match needs quality >= threshold (panoptic: > tau). oLRP_Loc is not divided by 1 - tau.
"""

from rebalance.metrics.annotations import load_detections, load_ground_truth
from rebalance.metrics.compare import compare
from rebalance.metrics.correlation import pearson, score_quality_correlation, spearman, with_ranking
from rebalance.metrics.evaluate import evaluate, evaluate_boxes_and_masks, match_files
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
    "compare",
    "evaluate",
    "evaluate_boxes_and_masks",
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
