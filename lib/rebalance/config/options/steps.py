"""Steps of a detector, and the settings that steps of one sort share."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from rebalance.config.bounds import Count, Index, NonNegative, OpenShare, Positive, Share, Text
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.candidates import Anchors, CandidateGrid
from rebalance.config.options.coders import Coder, Deltas
from rebalance.config.options.objectives import Objective
from rebalance.config.options.rois import ProposedRois, RoiSource
from rebalance.config.options.samplers import Sampler
from rebalance.config.part import Options, refusal, section

InformationFlow = Literal["none", "in_prediction", "always"]


class Pooling(Options):
    """RoIAlign over the pyramid (Mask R-CNN; levels as in FPN)."""

    size: Count = 7
    """Side of the pooled features, in cells."""
    sampling_ratio: Index = 2
    """Samples per cell and axis; 0: as many as the RoI covers."""
    aligned: bool = False
    """Whether samples are shifted by half a pixel."""
    canonical_size: Positive = 224.0
    """Pixels: RoIs of this size come from level 4."""
    num_levels: Count = 4
    """Levels that RoIs come from, from the finest."""


class ProposalSelection(Options):
    """From the RPN's predictions to proposals."""

    pre_nms: Count = 2000
    """Highest scores per level that reach the suppression."""
    post_nms: Count = 1000
    """Most proposals per image."""
    nms_iou: Share = 0.7
    """A proposal that overlaps a better one of its level by more is dropped."""
    min_size: NonNegative | None = 0.0
    """Pixels: least width and height, and more than 0; null: any box (older mmdetection)."""


class Proposals(Options):
    """Proposals in training and at test time."""

    train: ProposalSelection = Field(default_factory=ProposalSelection)
    """In training."""
    test: ProposalSelection = Field(default_factory=lambda: ProposalSelection(pre_nms=1000))
    """At test time."""


class Inside(Options):
    """Which candidates of a grid take part at all."""

    region: Literal["image", "padded", "canvas"] = "image"
    """Where centres lie: in the image, in it padded to a multiple of 32 pixels, or anywhere."""
    border: NonNegative | None = None
    """Pixels that a candidate may reach beyond the image; null: any number."""


class DenseStepSettings(Options):
    """A dense step: a prediction for every candidate of a grid."""

    candidates: CandidateGrid = Field(default_factory=Anchors)
    """What the predictions start from."""
    inside: Inside = Field(default_factory=Inside)
    """Which of them take part."""
    coder: Coder = Field(default_factory=Deltas)
    """What is regressed."""
    assigner: Assigner
    """Candidates -> ground truths."""
    sampler: Sampler
    """Candidates that enter the losses."""
    objective: Objective
    """The losses."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class RpnStepSettings(DenseStepSettings):
    """A dense step whose boxes become RoIs."""

    proposals: Proposals = Field(default_factory=Proposals)
    """How boxes become RoIs."""


class BoxStepSettings(Options):
    """What box steps share; a step's own keys replace it."""

    rois: RoiSource = Field(default_factory=ProposedRois)
    """What they train on."""
    pooling: Pooling = Field(default_factory=Pooling)
    """Features of an RoI."""
    coder: Coder = Field(default_factory=lambda: Deltas(weights=[10.0, 10.0, 5.0, 5.0]))
    """What is regressed."""
    assigner: Assigner
    """RoIs -> ground truths; a step's ``iou`` replaces both of its thresholds."""
    sampler: Sampler
    """RoIs that enter the losses."""
    objective: Objective
    """The losses."""


class MaskStepSettings(Options):
    """What mask steps share; a step's own keys replace it."""

    pooling: Pooling = Field(default_factory=lambda: Pooling(size=14))
    """Features of an RoI."""
    refined: bool = False
    """Train on the boxes that the step before has refined (interleaved), not on its RoIs."""
    information_flow: InformationFlow = "none"
    """Where features of earlier mask steps are added: nowhere, at test time, always (HTC)."""
    objective: Objective
    """The losses."""


class BoxStep(Options):
    """Refines RoIs."""

    box: Text
    """Name of its head."""
    iou: OpenShare
    """Least IoU of its positives; what is below is negative."""
    weight: NonNegative = 1.0
    """Factor of its losses."""
    rois: RoiSource | None = section()
    """In place of the shared one, as are the following."""
    pooling: Pooling | None = section()
    """Features of an RoI."""
    coder: Coder | None = section()
    """What is regressed."""
    assigner: Assigner | None = section()
    """RoIs -> ground truths."""
    sampler: Sampler | None = section()
    """RoIs that enter the losses."""
    objective: Objective | None = section()
    """The losses."""


class MaskStep(Options):
    """Masks of RoIs."""

    mask: Text
    """Name of its head."""
    weight: NonNegative = 1.0
    """Factor of its losses."""
    pooling: Pooling | None = section()
    """In place of the shared one, as are the following."""
    refined: bool | None = section()
    """Train on refined boxes."""
    information_flow: InformationFlow | None = section()
    """Where features of earlier mask steps are added."""
    objective: Objective | None = section()
    """The losses."""


DenseStep = Literal["rpn", "dense"]
"""A dense step is written as its name, which is the name of its settings and of its head, too."""


def _form(step: Any) -> str | None:
    if isinstance(step, str):
        return "<dense>"
    if isinstance(step, BoxStep) or (isinstance(step, Mapping) and "box" in step):
        return "<box>"
    if isinstance(step, MaskStep) or (isinstance(step, Mapping) and "mask" in step):
        return "<mask>"
    return None


def _check_form(step: Any) -> Any:
    if _form(step) is None:
        raise refusal(
            f"a step is rpn, dense, {{box: <head>, iou: ...}} or {{mask: <head>}}, got {step!r}"
        )
    return step


Step = Annotated[
    Annotated[DenseStep, Tag("<dense>")]
    | Annotated[BoxStep, Tag("<box>")]
    | Annotated[MaskStep, Tag("<mask>")],
    Discriminator(_form),
    BeforeValidator(_check_form),
]


def step_sort(step: DenseStep | BoxStep | MaskStep) -> str:
    """Name of a step's settings: rpn, dense, box or mask."""
    if isinstance(step, str):
        return step
    return "box" if isinstance(step, BoxStep) else "mask"
