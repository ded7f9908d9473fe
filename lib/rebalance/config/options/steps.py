"""Steps of a detector, and the settings that steps of one sort share."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import BeforeValidator, Discriminator, Field, Tag

from rebalance.config.bounds import Count, NonNegative, OpenShare, Positive, Share, Text
from rebalance.config.options.assigners import Assigner, GridAssignment
from rebalance.config.options.candidates import Anchors, CandidateGrid
from rebalance.config.options.coders import Coder, Deltas
from rebalance.config.options.objectives import Objective
from rebalance.config.options.pooling import RoiAlign, RoiPooling
from rebalance.config.options.rois import ProposedRois, RoiSource
from rebalance.config.options.samplers import Sampler
from rebalance.config.part import Options, refusal, section

MaskTargets = Literal["binary", "soft"]
InformationFlow = Literal["none", "in_prediction", "always"]


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
    rank_by: Literal["logits", "scores"] = "logits"
    """What makes a candidate good; float32 rounds high scores to the same value (mmdetection)."""


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
    costs: Annotated[list[Literal["class", "box"]], Len(1)] | None = None
    """Losses that candidates are mined by; null: those of the objective."""
    objective: Objective
    """The losses."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class PrototypeStepSettings(DenseStepSettings):
    """A dense step whose boxes get masks from the image's prototypes (YOLACT)."""

    max_masks: Count | None = None
    """Positives of an image whose masks enter the loss, drawn at random; null: all."""


class GridStepSettings(Options):
    """Cells that divide the canvas, with a class and a mask each (SOLOv2)."""

    num_cells: Annotated[list[Count], Len(1)]
    """Cells along each side, one number per level."""
    assignment: GridAssignment = Field(default_factory=GridAssignment)
    """Cells -> ground truths."""
    objective: Objective
    """The losses."""
    pairing: Literal["cells", "published"] = "cells"
    """The order of the masks in the loss; the published one confuses them with other scores."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class RpnStepSettings(DenseStepSettings):
    """A dense step whose boxes become RoIs."""

    proposals: Proposals = Field(default_factory=Proposals)
    """How boxes become RoIs."""


class Dynamic(Options):
    """How a box step follows the quality of its proposals (Dynamic R-CNN)."""

    iou_top_k: Count = 75
    """Of an image's RoIs, the one whose IoU is noted, counted from the best."""
    beta_top_k: Count = 10
    """Of the positives, per image, the one whose shift is noted, counted from the smallest."""
    interval: Count = 100
    """Iterations between changes."""
    least_iou: Share = 0.4
    """The threshold is not below it."""
    largest_beta: Positive = 1.0
    """Beta of the smooth L1 loss at first, and at most."""


class BoxStepSettings(Options):
    """What box steps share; a step's own keys replace it."""

    rois: RoiSource = Field(default_factory=ProposedRois)
    """What they train on."""
    pooling: RoiPooling = Field(default_factory=RoiAlign)
    """Features of an RoI."""
    coder: Coder = Field(default_factory=lambda: Deltas(weights=[10.0, 10.0, 5.0, 5.0]))
    """What is regressed."""
    dynamic: Dynamic | None = section()
    """Threshold and box loss that follow the proposals; unless given, they stay."""
    assigner: Assigner
    """RoIs -> ground truths; a step's ``iou`` replaces both of its thresholds."""
    sampler: Sampler
    """RoIs that enter the losses."""
    objective: Objective
    """The losses."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class MaskStepSettings(Options):
    """What mask steps share; a step's own keys replace it."""

    pooling: RoiPooling = Field(default_factory=lambda: RoiAlign(size=14))
    """Features of an RoI."""
    refined: bool = False
    """Train on the boxes that the step before has refined (interleaved), not on its RoIs."""
    information_flow: InformationFlow = "none"
    """Where features of earlier mask steps are added: nowhere, at test time, always (HTC)."""
    targets: MaskTargets = "binary"
    """What they learn: masks cut out and rounded (mmdetection), or not rounded (torchvision)."""
    objective: Objective
    """The losses."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class MaskIouStepSettings(Options):
    """What mask IoU steps share; a step's own keys replace it."""

    binarised: Literal["probability", "logit"] = "probability"
    """What is compared with 0.5 to make a mask; the published code: the logit."""
    objective: Objective
    """The losses."""
    weight: NonNegative = 1.0
    """Factor of the losses."""


class RpnStep(Options):
    """Proposals, by a head of another name than ``rpn``."""

    rpn: Text
    """Name of its head."""


class DenseStep(Options):
    """Detections, by a head of another name than ``dense``."""

    dense: Text
    """Name of its head."""


class PrototypeStep(Options):
    """Detections with masks, by a head of another name than ``prototypes``."""

    prototypes: Text
    """Name of its head."""


class GridStep(Options):
    """Masks of cells, by a head of another name than ``grid``."""

    grid: Text
    """Name of its head."""


class BoxStep(Options):
    """Refines RoIs."""

    box: Text
    """Name of its head."""
    iou: OpenShare
    """Least IoU of its positives; what is below is negative."""
    weight: NonNegative | None = section()
    """Factor of its losses, in place of the shared one, as are the following."""
    rois: RoiSource | None = section()
    """What it trains on."""
    pooling: RoiPooling | None = section()
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
    weight: NonNegative | None = section()
    """Factor of its losses, in place of the shared one, as are the following."""
    pooling: RoiPooling | None = section()
    """Features of an RoI."""
    refined: bool | None = section()
    """Train on refined boxes."""
    information_flow: InformationFlow | None = section()
    """Where features of earlier mask steps are added."""
    targets: MaskTargets | None = section()
    """What they learn."""
    objective: Objective | None = section()
    """The losses."""


class MaskIouStep(Options):
    """How good the masks of the step before are."""

    mask_iou: Text
    """Name of its head."""
    weight: NonNegative | None = section()
    """Factor of its losses, in place of the shared one, as are the following."""
    binarised: Literal["probability", "logit"] | None = section()
    """What is compared with 0.5 to make a mask."""
    objective: Objective | None = section()
    """The losses."""


STEPS: dict[str, type[Options]] = {
    "rpn": RpnStep,
    "dense": DenseStep,
    "prototypes": PrototypeStep,
    "grid": GridStep,
    "box": BoxStep,
    "mask": MaskStep,
    "mask_iou": MaskIouStep,
}
"""Sort of a step, which is the key of its head's name -> how it is written."""

StepName = Literal["rpn", "dense", "prototypes", "grid", "mask", "mask_iou"]
"""A step is written as the name of its sort where its head has this name, too."""


def _form(step: Any) -> str | None:
    if isinstance(step, str):
        return "<name>"
    for sort, form in STEPS.items():
        if isinstance(step, form) or (isinstance(step, Mapping) and sort in step):
            return f"<{sort}>"
    return None


def _check_form(step: Any) -> Any:
    if _form(step) is None:
        raise refusal(f"a step is one of {', '.join(STEPS)}, as {{box: <head>, ...}}, got {step!r}")
    return step


Step = Annotated[
    Annotated[StepName, Tag("<name>")]
    | Annotated[RpnStep, Tag("<rpn>")]
    | Annotated[DenseStep, Tag("<dense>")]
    | Annotated[PrototypeStep, Tag("<prototypes>")]
    | Annotated[GridStep, Tag("<grid>")]
    | Annotated[BoxStep, Tag("<box>")]
    | Annotated[MaskStep, Tag("<mask>")]
    | Annotated[MaskIouStep, Tag("<mask_iou>")],
    Discriminator(_form),
    BeforeValidator(_check_form),
]
AnyStep = str | RpnStep | DenseStep | PrototypeStep | GridStep | BoxStep | MaskStep | MaskIouStep


def step_sort(step: AnyStep) -> str:
    """Name of a step's sort, which its settings are called by, too."""
    if isinstance(step, str):
        return step
    return next(sort for sort, form in STEPS.items() if isinstance(step, form))


def step_head(step: AnyStep) -> str:
    """Name of a step's head."""
    return step if isinstance(step, str) else getattr(step, step_sort(step))
