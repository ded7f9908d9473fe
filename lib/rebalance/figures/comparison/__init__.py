"""Measured numbers beside reported ones, for every table of trained runs."""
