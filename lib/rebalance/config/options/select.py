"""Selection: from scored boxes to detections."""

from typing import Literal

from pydantic import Field

from rebalance.config.bounds import Count, Share
from rebalance.config.part import Options, Part


class Suppression(Part, noun="suppression"):
    """Which of the overlapping boxes of a class are kept."""


class Nms(Suppression, name="nms"):
    """Greedy: a box that overlaps a better one by more is dropped."""

    iou: Share = 0.5
    """The most that two kept boxes overlap."""


class Test(Options):
    """From predictions to detections. A variant of a run may change all of it without training."""

    score_threshold: Share = 0.05
    """Detections score higher."""
    nms: Suppression = Field(default_factory=Nms)
    """Of boxes of a class."""
    max_detections: Count = 100
    """Per image."""
    pre_nms: Count = 1000
    """Of a dense step: (candidate, class) pairs per level that reach the suppression."""
    loops: Count | None = None
    """Of box steps: how many are run, the last pair again and again; null: as many as trained."""
    average: Literal["scores", "logits"] = "scores"
    """Of box steps: what is averaged over them."""
    mask_threshold: Share = 0.5
    """Of mask steps: least score of a pixel inside."""
