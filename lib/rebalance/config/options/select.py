"""Selection: from scored boxes to detections."""

from typing import Literal

from pydantic import Field

from rebalance.config.bounds import Count, NonNegative, Positive, Share
from rebalance.config.part import Options, Part


class Suppression(Part, noun="suppression"):
    """Which of the overlapping boxes of a class are kept."""


class Nms(Suppression, name="nms", makes="rebalance.detectors.select.suppression:nms_with_scores"):
    """Greedy: a box that overlaps a better one by more is dropped."""

    iou: Share = 0.5
    """The most that two kept boxes overlap."""


class SoftNms(
    Suppression, name="soft_nms", makes="rebalance.detectors.select.suppression:soft_nms"
):
    """Boxes that overlap a better one lose score (Bodla et al., ICCV 2017)."""

    decay: Literal["linear", "gaussian"] = "linear"
    """Factor of a score: 1 - IoU from ``iou`` on, or exp(-IoU^2 / sigma)."""
    iou: Share = 0.3
    """Of the linear decay."""
    sigma: Positive = 0.5
    """Of the Gaussian decay."""
    threshold: NonNegative = 0.001
    """Boxes whose score falls below are dropped."""


class FastNms(
    Suppression,
    name="fast_nms",
    makes="rebalance.detectors.select.suppression:fast_nms_with_scores",
):
    """A box is dropped if any better one overlaps it by more, dropped itself or not (YOLACT)."""

    iou: Share = 0.5
    """Largest overlap with a better box."""
    top_k: Count = 200
    """Best boxes of each class that take part."""


class Test(Options):
    """From predictions to detections. A variant of a run may change all of it without training."""

    score_threshold: Share = 0.05
    """Detections score higher."""
    nms: Suppression = Field(default_factory=Nms)
    """Of boxes of a class."""
    max_detections: Count = 100
    """Per image."""
    drop_empty: bool = True
    """Whether boxes without area are dropped (torchvision) or kept (mmdetection)."""
    pre_nms: Count | None = None
    """Of a dense step: what ``choose`` counts per level, that reach the suppression; null: all."""
    choose: Literal["pairs", "anchors"] = "pairs"
    """Of a dense step: best (candidate, class) pairs (mmdetection 2.28), or best candidates."""
    average: Literal["scores", "logits"] = "scores"
    """Of box steps: what is averaged over them."""
    loops: Count | None = None
    """Of box steps: how many are run, the last one again and again; null: as many as trained."""
    mask_threshold: Share = 0.5
    """Of mask steps: least score of a pixel inside."""
