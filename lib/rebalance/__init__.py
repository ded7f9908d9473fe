"""Losses, box generators, samplers, assigners, metrics and detectors for imbalance in detection."""

__version__ = "0.1.0"
