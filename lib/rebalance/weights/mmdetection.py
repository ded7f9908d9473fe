"""Names of mmdetection 2.x, and of the authors' branches of it."""

import re
from collections import Counter

from torch import Tensor, nn

from rebalance.detectors.backbones import ResNetBackbone, VGGBackbone
from rebalance.detectors.context import NonLocal
from rebalance.detectors.dense_heads import AtssHead, FoveaHead, SsdHead
from rebalance.detectors.detector import Detector
from rebalance.detectors.fcc_head import FccHead
from rebalance.detectors.heads import FcHead, MaskHead, RetinaHead, RpnHead
from rebalance.detectors.mask_iou_head import MaskIouHead
from rebalance.detectors.necks import BalancedPyramid, CarafePyramid, Pyramid, SsdNeck
from rebalance.detectors.pooling import GroiePooling
from rebalance.detectors.solo_head import SoloHead
from rebalance.detectors.steps import BoxStep, RoiStep
from rebalance.detectors.yolact_head import YolactHead
from rebalance.weights.names import HeadNames, Layout, Row, tower

BACKGROUND_LAST = Layout(lambda ours: ours.roll(-1, 0), lambda theirs: theirs.roll(1, 0))
"""Our softmax has the background first (label 0), theirs last."""


def retina_rows(head: nn.Module) -> list[Row]:
    """RetinaNet's towers, one for classes and one for boxes."""
    assert isinstance(head, RetinaHead)
    return [
        *tower("class_tower", head.class_tower, "cls_convs.{}.conv.", "cls_convs.{}.gn."),
        *tower("box_tower", head.box_tower, "reg_convs.{}.conv.", "reg_convs.{}.gn."),
        Row(r"class_logits\.", "retina_cls."),
        Row(r"box_deltas\.", "retina_reg."),
    ]


def rpn_rows(head: nn.Module) -> list[Row]:
    """Region proposals; one logit per anchor in all versions."""
    return [
        Row(r"tower\.0\.", "rpn_conv."),
        Row(r"objectness\.", "rpn_cls."),
        Row(r"box_deltas\.", "rpn_reg."),
    ]


def box_rows(head: nn.Module) -> list[Row]:
    """Fully connected layers on pooled RoIs."""
    assert isinstance(head, FcHead)
    softmax = head.num_columns == head.num_classes + 1
    return [
        *tower("hidden", head.hidden, "shared_fcs.{}.", ""),
        Row(r"class_logits\.", "fc_cls.", BACKGROUND_LAST if softmax else None),
        Row(r"box_deltas\.", "fc_reg."),
    ]


def mask_rows(head: nn.Module) -> list[Row]:
    """Mask heads; mask information flow is a residual convolution there."""
    assert isinstance(head, MaskHead)
    return [
        *tower("convs", head.convs, "convs.{}.conv.", ""),
        Row(r"upsample\.", "upsample."),
        Row(r"mask_logits\.", "conv_logits."),
        Row(r"residual\.", "conv_res.conv."),
    ]


def atss_rows(head: nn.Module) -> list[Row]:
    """ATSS and PAA; the latter's estimate of IoU is called centerness there, too."""
    assert isinstance(head, AtssHead)
    return [
        *tower("class_tower", head.class_tower, "cls_convs.{}.conv.", "cls_convs.{}.gn."),
        *tower("box_tower", head.box_tower, "reg_convs.{}.conv.", "reg_convs.{}.gn."),
        Row(r"class_logits\.", "atss_cls."),
        Row(r"box_deltas\.", "atss_reg."),
        Row(r"quality_logits\.", "atss_centerness."),
        Row(r"scales\.(\d+)$", r"scales.\1.scale"),
    ]


def fovea_rows(head: nn.Module) -> list[Row]:
    """FoveaBox, plain and aligned."""
    assert isinstance(head, FoveaHead)
    return [
        *tower("class_tower", head.class_tower, "cls_convs.{}.conv.", "cls_convs.{}.gn."),
        *tower("box_tower", head.box_tower, "reg_convs.{}.conv.", "reg_convs.{}.gn."),
        Row(r"class_logits\.", "conv_cls."),
        Row(r"box_deltas\.", "conv_reg."),
        Row(r"alignment\.offsets\.", "feature_adaption.conv_offset."),
        Row(r"alignment\.weight$", "feature_adaption.conv_adaption.weight"),
    ]


def ssd_rows(head: nn.Module) -> list[Row]:
    """Convolutions of each level."""
    assert isinstance(head, SsdHead)
    layout = per_candidate(head.num_columns)
    return [
        Row(r"class_logits\.(\d+)\.", r"cls_convs.\1.0.", layout),
        Row(r"box_deltas\.(\d+)\.", r"reg_convs.\1.0."),
    ]


def fcc_rows(head: nn.Module) -> list[Row]:
    """R3-CNN's box head; its layers are counted without activations there."""
    assert isinstance(head, FccHead)
    return [
        *fcc_layer_rows(head.hidden, "shared_fcs"),
        Row(r"class_logits\.", "fc_cls.", BACKGROUND_LAST),
        Row(r"box_deltas\.", "fc_reg."),
    ]


def fcc_layer_rows(hidden: nn.Sequential, theirs: str) -> list[Row]:
    """Non-local blocks and convolutions, an activation after each."""
    return [
        Row(rf"hidden\.{position}\.(\w+)\.", rf"{theirs}.{position // 2}.\1.conv.")
        if isinstance(layer, NonLocal)
        else Row(rf"hidden\.{position}\.", f"{theirs}.{position // 2}.conv.")
        for position, layer in enumerate(hidden)
        if isinstance(layer, NonLocal | nn.Conv2d)
    ]


def mask_iou_rows(head: nn.Module) -> list[Row]:
    """Mask Scoring R-CNN's and R3-CNN's."""
    assert isinstance(head, MaskIouHead)
    if head.convolutional:
        convs = tower("convs", head.convs, "convs.{}.conv.", "")
        hidden = fcc_layer_rows(head.hidden, "fcs")
    else:
        convs = tower("convs", head.convs, "convs.{}.", "")
        hidden = tower("hidden", head.hidden, "fcs.{}.", "")
    return [*convs, *hidden, Row(r"mask_ious\.", "fc_mask_iou.")]


def yolact_rows(head: nn.Module) -> list[Row]:
    """YOLACT's three heads.

    Its semantic branch counts labels from 1 where they count from 0, so that the first class has
    the last channel.
    """
    assert isinstance(head, YolactHead)
    softmax = head.num_columns == head.num_classes + 1
    layout = per_candidate(head.num_columns) if softmax else None
    num_convs = head.num_prototype_convs
    return [
        *tower("tower", head.tower, "bbox_head.head_convs.{}.conv.", ""),
        Row(r"class_logits\.", "bbox_head.conv_cls.", layout),
        Row(r"box_deltas\.", "bbox_head.conv_reg."),
        Row(r"coefficients\.", "bbox_head.conv_coeff."),
        Row(r"semantic\.", "segm_head.segm_conv.", BACKGROUND_LAST),
        Row(r"prototypes\.0\.", "mask_head.protonet."),
        Row(r"prototypes\.2\.0\.", f"mask_head.protonet.{2 * num_convs + 2}."),
        Row(r"prototypes\.3\.", f"mask_head.protonet.{2 * num_convs + 4}."),
    ]


def per_candidate(columns: int) -> Layout:
    """``BACKGROUND_LAST`` of each candidate of a cell; channels are candidate after candidate."""

    def rolled(value: Tensor, shift: int) -> Tensor:
        return value.unflatten(0, (-1, columns)).roll(shift, 1).flatten(0, 1)

    return Layout(lambda ours: rolled(ours, -1), lambda theirs: rolled(theirs, 1))


def solo_rows(head: nn.Module) -> list[Row]:
    """SOLOv2's towers and its mask feature."""
    assert isinstance(head, SoloHead)
    return [
        *tower("class_tower", head.class_tower, "cls_convs.{}.conv.", "cls_convs.{}.gn."),
        *tower("kernel_tower", head.kernel_tower, "kernel_convs.{}.conv.", "kernel_convs.{}.gn."),
        Row(r"class_logits\.", "conv_cls."),
        Row(r"kernels\.", "conv_kernel."),
        *(
            row
            for level, layers in enumerate(head.mask_feature.levels)
            for row in _mask_feature_rows(level, layers)
        ),
        Row(r"mask_feature\.last\.0\.", "mask_feature_head.conv_pred.conv."),
        Row(r"mask_feature\.last\.1\.", "mask_feature_head.conv_pred.gn."),
    ]


def _mask_feature_rows(level: int, layers: nn.Module) -> list[Row]:
    assert isinstance(layers, nn.Sequential)
    theirs = f"mask_feature_head.convs_all_levels.{level}.conv{{}}."
    return tower(rf"mask_feature\.levels\.{level}", layers, theirs + "conv.", theirs + "gn.")


HEADS: dict[type[nn.Module], HeadNames] = {
    RetinaHead: HeadNames("bbox_head.", retina_rows),
    AtssHead: HeadNames("bbox_head.", atss_rows),
    FoveaHead: HeadNames("bbox_head.", fovea_rows),
    SsdHead: HeadNames("bbox_head.", ssd_rows),
    RpnHead: HeadNames("rpn_head.", rpn_rows),
    FcHead: HeadNames("roi_head.bbox_head.", box_rows),
    FccHead: HeadNames("roi_head.bbox_head.", fcc_rows),
    MaskHead: HeadNames("roi_head.mask_head.", mask_rows),
    MaskIouHead: HeadNames("roi_head.mask_iou_head.", mask_iou_rows),
    YolactHead: HeadNames("", yolact_rows),
    SoloHead: HeadNames("mask_head.", solo_rows),
}
IN_STAGES = ("roi_head.bbox_head.", "roi_head.mask_head.")
"""Heads that detectors with several stages (or loops of one head) have in a list."""


def current(name: str) -> str:
    """The present name of a weight; FoveaBox's last convolutions had others before version 2.2."""
    return re.sub(r"\bfovea_(cls|reg)\.", r"conv_\1.", name)


def rows(detector: Detector) -> list[Row]:
    """All rows of a detector; what has no row has no name there."""
    return [
        *backbone_rows(detector),
        *neck_rows(detector),
        *head_rows(detector),
        *pooling_rows(detector),
    ]


def backbone_rows(detector: Detector) -> list[Row]:
    """ResNet and VGG have torchvision's names there, and those of the blocks added are ours."""
    known = isinstance(detector.backbone, ResNetBackbone | VGGBackbone)
    return [Row(r"backbone\.", "backbone.")] if known else []


def neck_rows(detector: Detector) -> list[Row]:
    """Necks; the balanced pyramid is a list of two necks there."""
    neck = detector.neck
    if isinstance(neck, CarafePyramid):
        return [
            Row(r"neck\.laterals\.(\d+)\.", r"neck.lateral_convs.\1.conv."),
            Row(r"neck\.outputs\.(\d+)\.", r"neck.fpn_convs.\1.conv."),
            Row(r"neck\.upsamplers\.", "neck.upsample_modules."),
        ]
    if isinstance(neck, SsdNeck):
        return [
            Row(r"neck\.scale$", "neck.l2_norm.weight"),
            Row(r"neck\.extra\.(\d+)\.0\.", r"neck.extra_layers.\1.0.conv."),
            Row(r"neck\.extra\.(\d+)\.2\.", r"neck.extra_layers.\1.1.conv."),
        ]
    if not isinstance(neck, Pyramid):
        return []
    theirs = "neck.0." if isinstance(neck, BalancedPyramid) else "neck."
    levels = range(neck.num_backbone_levels, len(neck.level_channels))
    return [
        Row(r"neck\.fpn\.inner_blocks\.(\d+)\.0\.", rf"{theirs}lateral_convs.\1.conv."),
        Row(r"neck\.fpn\.layer_blocks\.(\d+)\.0\.", rf"{theirs}fpn_convs.\1.conv."),
        *(
            Row(rf"neck\.fpn\.extra_blocks\.convs\.{index}\.", f"{theirs}fpn_convs.{level}.conv.")
            for index, level in enumerate(levels)
        ),
        Row(r"neck\.refine\.(\w+)\.", r"neck.1.refine.\1.conv."),
    ]


def head_rows(detector: Detector) -> list[Row]:
    """Rows of every head that has a name there; those of stages in the order of the steps."""
    found: list[Row] = []
    count: Counter[str] = Counter()
    for name, head in detector.heads.items():
        if type(head) in HEADS:
            prefix, rows_of = HEADS[type(head)]
            theirs = prefix
            if prefix in IN_STAGES and has_stages(detector):
                theirs = f"{prefix}{count[prefix]}."
            count[prefix] += 1
            found += [row.under(f"heads.{name}.", theirs) for row in rows_of(head)]
    return found


def pooling_rows(detector: Detector) -> list[Row]:
    """Poolings of the detectors with one box head and one mask head."""
    found: list[Row] = []
    for step in detector.steps:
        if isinstance(step, RoiStep) and isinstance(step.pooling, GroiePooling):
            theirs = f"roi_head.{'bbox' if step.kind == 'box' else 'mask'}_roi_extractor."
            if has_stages(detector):
                theirs += "0."
            ours = rf"poolings\.{re.escape(step.head)}\."
            found += [
                Row(ours + r"before\.", theirs + "pre_module.conv."),
                Row(ours + r"after\.position_(\w)\.", theirs + r"post_module.appr_geom_fc_\1."),
                Row(ours + r"after\.", theirs + "post_module."),
            ]
    return found


def has_stages(detector: Detector) -> bool:
    """Whether boxes are refined more than once, by one head or by several."""
    return sum(isinstance(step, BoxStep) for step in detector.steps) > 1
