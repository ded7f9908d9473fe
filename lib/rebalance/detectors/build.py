"""From the resolved settings of a run to a detector; the only code here that reads settings."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from rebalance.assigners import make_assigner
from rebalance.assigners.grid import assign_grid
from rebalance.config.options import detector as options_of
from rebalance.config.parse import parse
from rebalance.detectors.backbones import Backbone, make_backbone
from rebalance.detectors.candidates import cells, make_grid
from rebalance.detectors.coders import make_coder
from rebalance.detectors.detector import Detector
from rebalance.detectors.dynamic import Dynamic
from rebalance.detectors.heads import HeadContext, make_head
from rebalance.detectors.inside import InsideRule
from rebalance.detectors.mask_steps import GridStep, PrototypeStep
from rebalance.detectors.necks import Neck, make_neck
from rebalance.detectors.objectives import make_objective
from rebalance.detectors.pooling import Pooling, make_pooling
from rebalance.detectors.proposals import ProposalSettings
from rebalance.detectors.roi_sources import make_roi_source
from rebalance.detectors.selection import make_detection_settings
from rebalance.detectors.steps import (
    BoxStep,
    DenseStep,
    MaskIouStep,
    MaskStep,
    RoiStep,
    Step,
)
from rebalance.samplers import make_sampler

Settings = Mapping[str, Any]
Built = tuple[Step, HeadContext]


def build_detector(settings: Settings, num_classes: int) -> Detector:
    """The detector of a resolved run, freshly initialised from torch's global generator.

    Args:
        settings: a resolved run; "backbone" and "detector" are read.
        num_classes: C, without background.

    Raises:
        InputError: settings that are unknown, not allowed, or do not go together.
    """
    detector = parse(options_of.Detector, settings["detector"], "detector").model_dump()
    backbone = make_backbone(**settings["backbone"])
    neck = _neck(backbone, detector["neck"])
    plan = [_read_entry(entry) for entry in detector["steps"]]
    steps, contexts = list[Step](), dict[str, HeadContext]()
    for place, (kind, head, own) in enumerate(plan):
        name = _name_of(place, [kind for kind, _, _ in plan])
        step, context = STEPS[kind](name, head, {**detector[kind], **own}, neck, num_classes, steps)
        steps.append(step)
        contexts.setdefault(head, context)
    heads = {
        head: make_head(context, **detector["heads"][head]) for head, context in contexts.items()
    }
    return Detector(backbone, neck, heads, steps, make_detection_settings(**detector["test"]))


def count_parameters(settings: Settings, num_classes: int) -> tuple[int, int]:
    """Parameters of a run's detector, all and trainable ones, counted without making them.

    Args:
        settings: see ``build_detector``; weights files need not be there.
        num_classes: C, without background.
    """
    backbone = {key: value for key, value in settings["backbone"].items() if key != "weights"}
    with torch.device("meta"):
        detector = build_detector({**settings, "backbone": backbone}, num_classes)
    return sum(part.numel() for part in detector.parameters()), num_trainable(detector)


def num_trainable(detector: Detector) -> int:
    """Numbers that training changes."""
    return sum(part.numel() for part in detector.parameters() if part.requires_grad)


def build_dense(
    name: str,
    head: str,
    settings: Settings,
    neck: Neck,
    num_classes: int,
    before: list[Step],
    make: Callable[..., DenseStep] = DenseStep,
) -> Built:
    """A step over a grid; with "proposals" the region proposal network."""
    grid = make_grid(strides=neck.strides, **settings["candidates"])
    objective = make_objective(**settings["objective"])
    proposals = settings.get("proposals")
    classes = num_classes if proposals is None else 1
    step = make(
        name,
        head,
        grid,
        make_coder(**settings["coder"]),
        make_assigner(**settings["assigner"]),
        make_sampler(**settings["sampler"]),
        objective,
        inside=InsideRule(**settings["inside"]),
        proposals=None
        if proposals is None
        else (ProposalSettings(**proposals["train"]), ProposalSettings(**proposals["test"])),
        costs=settings["costs"],
        weight=settings["weight"],
    )
    columns = objective.num_columns(classes)
    return step, HeadContext(neck.level_channels, classes, columns, grid.nums_per_cell)


def build_box(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """A classification and refinement of RoIs; "iou" sets both thresholds of its assigner."""
    iou = float(settings["iou"])
    objective = make_objective(**settings["objective"])
    dynamic = settings.get("dynamic")
    pooling = _pooling(settings["pooling"], head, neck, before)
    step = BoxStep(
        name,
        head,
        make_roi_source(**settings["rois"]),
        pooling,
        make_coder(**settings["coder"]),
        make_assigner(**{**settings["assigner"], "positive_iou": iou, "negative_iou": iou}),
        make_sampler(**settings["sampler"]),
        objective,
        iou=iou,
        dynamic=None if dynamic is None else Dynamic(iou, **dynamic),
        weight=settings["weight"],
    )
    columns = objective.num_columns(num_classes)
    return step, HeadContext(neck.level_channels, num_classes, columns, roi_size=pooling.size)


def build_mask(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """Masks of what the box step before has found."""
    boxes = [step for step in before if isinstance(step, BoxStep)]
    pooling = _pooling(settings["pooling"], head, neck, before)
    step = MaskStep(
        name,
        head,
        pooling,
        make_objective(**settings["objective"]),
        boxes=boxes[-1],
        refined=settings["refined"],
        information_flow=settings["information_flow"],
        targets=settings["targets"],
        weight=settings.get("weight", 1.0),
    )
    return step, HeadContext(neck.level_channels, num_classes, 0, roi_size=pooling.size)


def build_mask_iou(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """Quality of the masks of the mask step before; its losses need no name."""
    mask = before[-1]
    assert isinstance(mask, MaskStep)
    step = MaskIouStep(
        "",
        head,
        make_objective(**settings["objective"]),
        binarised=settings["binarised"],
        weight=settings.get("weight", 1.0),
    )
    return step, HeadContext(neck.level_channels, num_classes, 0, roi_size=mask.pooling.size)


def build_prototypes(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """A dense step with masks of its boxes from prototypes of the image."""
    make = partial(PrototypeStep, max_masks=settings["max_masks"])
    return build_dense(name, head, settings, neck, num_classes, before, make)


def build_grid(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """Cells that divide the canvas, with a class and a mask each."""
    objective = make_objective(**settings["objective"])
    step = GridStep(
        name,
        head,
        cells(neck.strides, num_cells=settings["num_cells"]),
        partial(assign_grid, **settings["assignment"]),
        objective,
        pairing=settings["pairing"],
        weight=settings["weight"],
    )
    return step, HeadContext(neck.level_channels, num_classes, objective.num_columns(num_classes))


STEPS: dict[str, Callable[[str, str, Settings, Neck, int, list[Step]], Built]] = {
    "dense": build_dense,
    "rpn": build_dense,
    "box": build_box,
    "mask": build_mask,
    "mask_iou": build_mask_iou,
    "prototypes": build_prototypes,
    "grid": build_grid,
}
"""Kind of step -> what builds it from its settings."""


def _pooling(settings: Settings, head: str, neck: Neck, before: list[Step]) -> Pooling:
    """The pooling of a head; that of an earlier step with the same head serves this one, too."""
    for step in before:
        if isinstance(step, RoiStep) and step.head == head:
            return step.pooling
    return make_pooling(neck.level_channels[0], **settings)


def _read_entry(entry: str | Settings) -> tuple[str, str, Settings]:
    """``rpn`` or ``{box: a, iou: 0.5}`` -> kind, name of the head, the step's own settings."""
    if isinstance(entry, str):
        return entry, entry, {}
    kind = next(kind for kind in STEPS if kind in entry)
    return kind, entry[kind], {k: v for k, v in entry.items() if k != kind}


def _name_of(place: int, kinds: list[str]) -> str:
    """What the losses of a step are called by."""
    if kinds[place] == "rpn":
        return "rpn"
    if kinds.count("box") < 2:
        return ""
    return f"stage{kinds[: place + 1].count('box')}"


def _neck(backbone: Backbone, settings: Settings) -> Neck:
    """The neck, on a backbone cut down to the levels that it reads."""
    neck = make_neck(in_channels=backbone.out_channels, **settings)
    backbone.keep_levels(neck.end)
    return neck
