"""Generators: boxes that overlap given boxes by a wanted amount."""

from rebalance.generators.boxes import generate_boxes
from rebalance.generators.regions import feasible_area, feasible_region

__all__ = ["feasible_area", "feasible_region", "generate_boxes"]
