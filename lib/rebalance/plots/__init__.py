"""Figures: each function takes values and gives a matplotlib Figure in the look of ``style``."""
