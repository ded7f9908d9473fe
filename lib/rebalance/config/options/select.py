"""Selection: from scored boxes to detections."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Len
from pydantic import Field

from rebalance.config.bounds import Count, NonNegative, Positive, Share, Text
from rebalance.config.part import Options, Part

GIVEN_TO_VOTING = ("boxes", "groups", "voters", "voter_scores", "voter_groups")


class Suppression(Part, noun="suppression"):
    """Which of the overlapping detections of a class are kept."""

    compares: ClassVar[str]


class BoxSuppression(Suppression, noun="suppression of boxes"):
    """By the overlap of boxes."""

    compares = "boxes"


class MaskSuppression(Suppression, noun="suppression of masks"):
    """By the overlap of masks."""

    compares = "masks"


class Nms(
    BoxSuppression, name="nms", makes="rebalance.detectors.select.suppression:nms_with_scores"
):
    """Greedy: a box that overlaps a better one by more is dropped."""

    iou: Share = 0.5
    """The most that two kept boxes overlap."""


class SoftNms(
    BoxSuppression, name="soft_nms", makes="rebalance.detectors.select.suppression:soft_nms"
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
    BoxSuppression,
    name="fast_nms",
    makes="rebalance.detectors.select.suppression:fast_nms_with_scores",
):
    """A box is dropped if any better one overlaps it by more, dropped itself or not (YOLACT)."""

    iou: Share = 0.5
    """Largest overlap with a better box."""
    top_k: Count = 200
    """Best boxes of each class that take part."""


class MatrixNms(
    MaskSuppression, name="matrix_nms", makes="rebalance.detectors.select.matrix:matrix_nms"
):
    """What soft-NMS would come to, for all masks at once (SOLOv2)."""

    kernel: Literal["gaussian", "linear"] = "gaussian"
    """How much an overlap lowers a score."""
    sigma: Positive = 2.0
    """Of the Gaussian kernel: exp(-sigma IoU^2)."""
    pre_nms: Count | None = 500
    """Best masks of an image that take part; null: all."""
    threshold: NonNegative = 0.05
    """Masks whose score falls below are dropped."""


class Voting(Part, noun="voting", given=GIVEN_TO_VOTING):
    """What boxes become after the suppression."""


class ScoreVoting(Voting, name="score", makes="rebalance.detectors.select.voting:score_voting"):
    """Means of the boxes around them (PAA)."""

    sigma: Positive = 0.025
    """Width of a vote's weight."""
    min_iou: Share = 0.01
    """Voters overlap more."""
    without_votes: Literal["keep", "nan"] = "keep"
    """What becomes of a box that nothing votes for; the published code gives nan."""


class Quality(Options):
    """A head's own estimate of how good its boxes are, as part of their scores."""

    output: Text
    """The head's output with the logits of the estimate."""
    combine: Literal["product", "geometric_mean"] = "product"
    """Of the scores of classes and the estimate."""
    before_choice: bool = False
    """Whether combined scores decide which candidates are the best (PAA)."""


class Augment(Options):
    """Passes over flipped and resized images: boxes are suppressed together, masks averaged."""

    flip: bool = False
    """Whether each size is passed with left and right exchanged, too."""
    scales: Annotated[list[Positive], Len(1)] = [1.0]
    """Sizes of the images, as shares of those of ``image.test``, which they are resized from."""


class Test(Options):
    """From predictions to detections. A variant of a run may change all of it without training."""

    score_threshold: Share = 0.05
    """Detections score higher."""
    nms: Suppression = Field(default_factory=Nms)
    """Of detections of a class."""
    max_detections: Count = 100
    """Per image."""
    drop_empty: bool = True
    """Whether boxes without area are dropped (torchvision) or kept (mmdetection)."""
    pre_nms: Count | None = None
    """Of a dense step: what ``choose`` counts per level, that reach the suppression; null: all."""
    choose: Literal["pairs", "anchors", "classes"] = "pairs"
    """Of a dense step: the best (candidate, class) pairs, candidates, or of each class (SSD)."""
    quality: Quality | None = None
    """Of a dense step: how an estimate of quality enters the scores; null: not at all."""
    voting: Voting | None = None
    """What boxes become after the suppression; null: they stay."""
    clip_margin: NonNegative = 0.0
    """Pixels: boxes are cut to [0, size - margin]; FoveaBox as published: 1."""
    average: Literal["scores", "logits", "largest_logits"] = "scores"
    """Of box steps: what is averaged over them, or the largest logit of each class."""
    loops: Count | None = None
    """Of box steps: how many are run, the last one again and again; null: as many as trained."""
    augment: Augment | None = None
    """Of detectors that find boxes by a dense or an RPN step: more passes; null: one."""
    mask_threshold: Share = 0.5
    """Of mask steps: least score of a pixel inside."""
