"""Generators: boxes that overlap given boxes by a wanted amount."""

from rebalance.generators.boxes import generate_boxes
from rebalance.generators.regions import feasible_area, feasible_region, quadrant_areas
from rebalance.generators.rois import (
    IOU_PRESETS,
    IouPreset,
    PositiveRois,
    generate_positive_rois,
)

__all__ = [
    "IOU_PRESETS",
    "IouPreset",
    "PositiveRois",
    "feasible_area",
    "feasible_region",
    "generate_boxes",
    "generate_positive_rois",
    "quadrant_areas",
]
