"""Detectors: a list of steps over one pyramid, put together from parts by name."""

from rebalance.detectors.build import build_detector, count_parameters

__all__ = ["build_detector", "count_parameters"]
