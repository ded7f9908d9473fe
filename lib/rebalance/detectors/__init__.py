"""Detectors: parts (backbones, necks, heads) and the two families that compose them."""

from rebalance.detectors.build import build_detector, count_parameters

__all__ = ["build_detector", "count_parameters"]
