"""Checkpoints of other projects, for detectors that we have: their names to ours and back."""
