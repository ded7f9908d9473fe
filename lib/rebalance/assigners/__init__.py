"""Assigners."""
