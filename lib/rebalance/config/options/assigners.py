"""Assigners: which ground truth, if any, a candidate belongs to."""

from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import Discriminator, Field, Tag, model_validator

from rebalance.config.bounds import Count, NonNegative, Positive, Share
from rebalance.config.options.overlaps import IouOverlap, Overlap
from rebalance.config.part import Options, Part, refusal

GIVEN = ("ignored_boxes", "level_sizes", "costs", "image_size", "image", "validate")

ScaleRange = Annotated[list[NonNegative], Len(2, 2)]


def _form(value: Any) -> str:
    return "<name>" if isinstance(value, str) else "<number>"


LeastIou = Annotated[
    Annotated[Share, Tag("<number>")] | Annotated[Literal["positive"], Tag("<name>")],
    Discriminator(_form),
]


class Assigner(Part, noun="assigner", given=GIVEN):
    """Candidates -> a ground truth each, negative, or ignored."""

    ignore_iof: NonNegative = 0.5
    """Share of its area inside an ignored region from which a negative is ignored; 2: never."""

    def by_loss(self) -> bool:
        """Whether it reads the losses of candidates."""
        return False


class MaxIou(Assigner, name="max_iou", makes="rebalance.assigners.max_iou:assign_max_iou"):
    """The ground truth of most overlap, by two thresholds (RetinaNet, Faster R-CNN)."""

    positive_iou: Share = 0.5
    """Least overlap of a positive."""
    negative_iou: Share = 0.4
    """Overlap below which a candidate is negative; between the two it is ignored."""
    negative_floor: Share = 0.0
    """Overlap below which a candidate is ignored instead of negative (bbgen, section 6.2)."""
    low_quality_iou: LeastIou | None = 0.0
    """Least overlap of the ground truths' own best; "positive": that of positives; null: none."""
    low_quality_ties: bool = True
    """Whether all candidates that tie for best go to their ground truth, or the first (SSD)."""
    contested: Literal["strongest", "last"] = "strongest"
    """Of several ground truths with one best candidate: the most overlap, or last (mmdetection)."""
    overlap: Overlap = Field(default_factory=IouOverlap)
    """What is measured."""
    ignoring: Literal["negatives", "boxes"] = "negatives"
    """What ignored regions hide: negatives, or all candidates before assignment (mmdetection)."""

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        if self.positive_iou < self.negative_iou:
            raise refusal(
                f"must be at least negative_iou, {self.negative_iou:g}, got {self.positive_iou:g}",
                at=("positive_iou",),
            )
        if self.negative_floor > self.negative_iou:
            raise refusal(
                f"must be at most negative_iou, {self.negative_iou:g}, got {self.negative_floor:g}",
                at=("negative_floor",),
            )
        return self


class Atss(Assigner, name="atss", makes="rebalance.assigners.atss:assign_atss"):
    """A threshold for each ground truth (Zhang et al., CVPR 2020, Algorithm 1)."""

    top_k: Count = 9
    """Candidates per level."""


class Paa(Assigner, name="paa", makes="rebalance.assigners.paa:assign_paa"):
    """The lower mode of a mixture of two Gaussians over losses (Kim and Lee, ECCV 2020)."""

    candidate_iou: Share = 0.1
    """Least IoU of a candidate."""
    top_k: Count = 9
    """Candidates per level."""
    contested: Literal["strongest", "last"] = "strongest"
    """Of several ground truths with one best candidate: the most overlap, or last (mmdetection)."""
    lone: Literal["positive", "negative"] = "positive"
    """What the only candidate of a ground truth is; mmdetection: negative."""

    def by_loss(self) -> bool:
        """It does."""
        return True


class FoveaBox(Assigner, name="foveabox", makes="rebalance.assigners.foveabox:assign_foveabox"):
    """Centre regions, on levels of fitting scale (Kong et al., TIP 2020, section 3)."""

    scale_ranges: Annotated[list[ScaleRange], Len(1)] = [
        [1, 64],
        [32, 128],
        [64, 256],
        [128, 512],
        [256, 2048],
    ]
    """Pixels: least and largest square root of the area, for each level."""
    positive_scale: Positive = 0.4
    """Width and height of the centre region over those of the ground truth."""
    negative_scale: Positive | None = None
    """The same of the region outside which a point is negative; null: ``positive_scale``."""
    outermost: bool = False
    """Whether a fovea between the outermost points and the border takes them (mmdetection)."""


class Ssd(Assigner, name="ssd", makes="rebalance.assigners.ssd:assign_ssd"):
    """A candidate of its own for each ground truth, then a threshold (Liu et al., ECCV 2016)."""

    positive_iou: Share = 0.5
    """Least IoU of a positive that is no ground truth's own candidate."""


class GridAssignment(Options):
    """Cells around the centres of masks (SOLOv2)."""

    scale_ranges: Annotated[list[ScaleRange], Len(1)] = [
        [1, 96],
        [48, 192],
        [96, 384],
        [192, 768],
        [384, 2048],
    ]
    """Pixels: least and largest square root of the area, for each level."""
    positive_scale: Positive = 0.2
    """Width and height of the centre region over those of the ground truth."""
    contested: Literal["first", "last"] = "first"
    """Whose a cell is that several objects want."""
    ignore_iof: NonNegative = 0.5
    """Share of its area inside an ignored region from which a negative is ignored; 2: never."""
