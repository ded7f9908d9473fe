"""From the resolved settings of a run to a detector; the only code here that reads settings."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from rebalance.assigners import make_assigner
from rebalance.detectors.anchors import AnchorGrid
from rebalance.detectors.backbones import Backbone, make_backbone
from rebalance.detectors.box_coder import BoxCoder
from rebalance.detectors.criterion import Criterion, make_criterion
from rebalance.detectors.dense import DenseDetector
from rebalance.detectors.heads import BoxHead, DenseHead, RpnHead
from rebalance.detectors.necks import Pyramid
from rebalance.detectors.roi_sources import make_roi_source
from rebalance.detectors.rpn import ProposalSettings, RegionProposals
from rebalance.detectors.staged import Stage, StagedDetector
from rebalance.errors import InputError
from rebalance.samplers import make_sampler

Settings = Mapping[str, Any]


def build_detector(settings: Settings, num_classes: int) -> nn.Module:
    """The detector of a resolved run, freshly initialised from torch's global generator.

    Args:
        settings: a resolved run; "backbone" and "detector" are read.
        num_classes: without background.

    Raises:
        InputError: an unknown family, or a name or option that its part does not have.
    """
    detector = settings["detector"]
    if detector["family"] not in FAMILIES:
        raise InputError(
            f"detector.family must be one of {sorted(FAMILIES)}, got {detector['family']!r}"
        )
    backbone = make_backbone(**settings["backbone"])
    return FAMILIES[detector["family"]](backbone, detector, num_classes)


def build_dense(backbone: Backbone, settings: Settings, num_classes: int) -> DenseDetector:
    """RetinaNet and its relatives."""
    neck = _neck(backbone, settings["neck"])
    anchors = AnchorGrid(neck.strides, **settings["anchors"])
    criterion = _criterion(settings, "positives")
    columns = num_classes + criterion.classes.extra_columns
    return DenseDetector(
        backbone,
        neck,
        DenseHead(neck.channels, anchors.num_per_cell, columns, **settings["head"]),
        anchors,
        make_assigner(**settings["assigner"]),
        make_sampler(**settings["sampler"]),
        criterion,
        **settings["test"],
    )


def build_staged(backbone: Backbone, settings: Settings, num_classes: int) -> StagedDetector:
    """Faster R-CNN, Cascade R-CNN, R3-CNN."""
    neck = _neck(backbone, {"extra": "pool", **settings["neck"]})
    test = dict(settings["test"])
    rpn = _rpn(neck, settings["rpn"], _overrides(test, "rpn"))
    stage = settings["stage"]
    criterion = _criterion(stage, "sampled")
    columns = num_classes + criterion.classes.extra_columns
    heads = [
        BoxHead(neck.channels, num_classes, columns, **options) for options in settings["heads"]
    ]
    return StagedDetector(
        backbone,
        neck,
        rpn,
        heads,
        [_stage(stage, entry, len(heads)) for entry in settings["stages"]],
        make_roi_source(**settings["roi_source"]),
        num_pooled_levels=neck.num_backbone_levels,
        **settings.get("roi_pooling", {}),
        **test,
    )


def _rpn(neck: Pyramid, settings: Settings, test_overrides: Settings) -> RegionProposals:
    anchors = AnchorGrid(neck.strides, **settings["anchors"])
    return RegionProposals(
        RpnHead(neck.channels, anchors.num_per_cell, **settings["head"]),
        anchors,
        make_assigner(**settings["assigner"]),
        make_sampler(**settings["sampler"]),
        _criterion(settings, "sampled"),
        ProposalSettings(**settings["train"]),
        ProposalSettings(**{**settings["test"], **test_overrides}),
    )


def _stage(shared: Settings, entry: Settings, num_heads: int) -> Stage:
    """``shared`` with what this stage's entry replaces: "iou" (both thresholds), or any part."""
    own = {**shared, **entry}
    head = int(own["head"])
    if not 0 <= head < num_heads:
        raise InputError(f"detector.stages: head must be in [0, {num_heads - 1}], got {head}")
    iou = float(entry["iou"])
    assigner = {**own["assigner"], "positive_iou": iou, "negative_iou": iou}
    return Stage(
        head,
        make_assigner(**assigner),
        make_sampler(**own["sampler"]),
        _criterion(own, "sampled"),
        iou,
        float(own.get("weight", 1.0)),
    )


def _criterion(settings: Settings, average_over: str) -> Criterion:
    weights = settings.get("box_coder", {}).get("weights", (1.0, 1.0, 1.0, 1.0))
    x, y, w, h = (float(weight) for weight in weights)
    return make_criterion(
        settings["class_loss"], settings["box_loss"], BoxCoder((x, y, w, h)), average_over
    )


def _neck(backbone: Backbone, settings: Settings) -> Pyramid:
    """The pyramid, on a backbone cut down to the levels that it reads."""
    neck = Pyramid(backbone.out_channels, **settings)
    backbone.keep_levels(neck.end)
    return neck


def _overrides(settings: dict[str, Any], key: str) -> Settings:
    return settings.pop(key, None) or {}


FAMILIES: dict[str, Callable[[Backbone, Settings, int], nn.Module]] = {
    "dense": build_dense,
    "staged": build_staged,
}
