"""From the resolved settings of a run to a detector; the only code here that reads settings."""

from collections.abc import Callable, Mapping
from typing import Any

from rebalance.assigners import make_assigner
from rebalance.config.options import detector as options_of
from rebalance.config.parse import parse
from rebalance.detectors.backbones import Backbone, make_backbone
from rebalance.detectors.candidates import make_grid
from rebalance.detectors.coders import make_coder
from rebalance.detectors.detector import Detector
from rebalance.detectors.heads import HeadContext, make_head
from rebalance.detectors.inside import InsideRule
from rebalance.detectors.necks import Neck, make_neck
from rebalance.detectors.objectives import make_objective
from rebalance.detectors.pooling import RoiPooling
from rebalance.detectors.proposals import ProposalSettings
from rebalance.detectors.roi_sources import make_roi_source
from rebalance.detectors.selection import make_detection_settings
from rebalance.detectors.steps import BoxStep, DenseStep, MaskStep, Step
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


def build_dense(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """A step over a grid; with "proposals" the region proposal network."""
    grid = make_grid(strides=neck.strides, **settings["candidates"])
    objective = make_objective(**settings["objective"])
    proposals = settings.get("proposals")
    classes = num_classes if proposals is None else 1
    step = DenseStep(
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
        weight=settings["weight"],
    )
    columns = objective.num_columns(classes)
    return step, HeadContext(neck.channels, classes, columns, num_per_cell=grid.num_per_cell)


def build_box(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """A classification and refinement of RoIs; "iou" sets both thresholds of its assigner."""
    iou = float(settings["iou"])
    objective = make_objective(**settings["objective"])
    pooling = RoiPooling(**settings["pooling"])
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
        weight=settings["weight"],
    )
    columns = objective.num_columns(num_classes)
    return step, HeadContext(neck.channels, num_classes, columns, roi_size=pooling.size)


def build_mask(
    name: str, head: str, settings: Settings, neck: Neck, num_classes: int, before: list[Step]
) -> Built:
    """Masks of what the box step before has found."""
    boxes = [step for step in before if isinstance(step, BoxStep)]
    pooling = RoiPooling(**settings["pooling"])
    step = MaskStep(
        name,
        head,
        pooling,
        make_objective(**settings["objective"]),
        boxes=boxes[-1],
        refined=settings["refined"],
        information_flow=settings["information_flow"],
        weight=settings["weight"],
    )
    return step, HeadContext(neck.channels, num_classes, 0, roi_size=pooling.size)


STEPS: dict[str, Callable[[str, str, Settings, Neck, int, list[Step]], Built]] = {
    "dense": build_dense,
    "rpn": build_dense,
    "box": build_box,
    "mask": build_mask,
}
"""Kind of step -> what builds it from its settings."""


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
