"""Names of torchvision's detectors."""

import re

import torch
from torch import Tensor, nn

from rebalance.detectors.backbones import ResNetBackbone, VGGBackbone
from rebalance.detectors.dense_heads import SsdHead
from rebalance.detectors.detector import Detector
from rebalance.detectors.heads import FcHead, MaskHead, RetinaHead, RpnHead
from rebalance.detectors.necks import Pyramid, SsdNeck
from rebalance.errors import InputError
from rebalance.weights.names import HeadNames, Layout, Row, tower

# Category ids of COCO's 80 classes, which are the columns of torchvision's published detectors.
COCO_COLUMNS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
NEVER = -60.0  # a logit whose sigmoid is zero

OLD_NAMES = [
    (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)", r"\1.0.0.\2"),
]
"""Those of the published files, which torchvision renames when it loads them."""


def current(name: str) -> str:
    """The present name of what the published files call ``name``."""
    mask_conv = re.fullmatch(r"(roi_heads\.mask_head\.)mask_fcn(\d)\.(weight|bias)", name)
    if mask_conv:  # counted from 1
        return f"{mask_conv[1]}{int(mask_conv[2]) - 1}.0.{mask_conv[3]}"
    tower_conv = re.fullmatch(r"(head\.\w+_head\.conv)\.(\d+)\.(weight|bias)", name)
    if tower_conv:  # the old towers counted their ReLUs
        return f"{tower_conv[1]}.{int(tower_conv[2]) // 2}.0.{tower_conv[3]}"
    for old, new in OLD_NAMES:
        if re.fullmatch(old, name):
            return re.sub(old, new, name)
    return name


def foreground(columns: int, num_classes: int) -> list[int]:
    """Their columns of our classes 1, 2, ...; column 0 is the background.

    The published detectors have 91 columns, of which 80 are classes: for a detector of 80 classes,
    the other ten never were trained and are left out.
    """
    if columns == num_classes + 1:
        return list(range(1, columns))
    if (columns, num_classes) == (91, 80):
        return COCO_COLUMNS
    raise InputError(
        f"weights: torchvision's detector has {columns} columns, ours needs {num_classes + 1} "
        f"({num_classes} classes and background)"
    )


def dense_layout(num_classes: int, num_anchors: int) -> Layout:
    """Sigmoid columns [anchors * classes, ...]; theirs have one for the background, unused."""

    def to_theirs(ours: Tensor) -> Tensor:
        value = ours.unflatten(0, (num_anchors, num_classes))
        # A bias alone silences the column.
        never = torch.full_like(value[:, :1], NEVER if ours.dim() == 1 else 0.0)
        return torch.cat([never, value], dim=1).flatten(0, 1)

    def to_ours(theirs: Tensor) -> Tensor:
        value = theirs.unflatten(0, (num_anchors, -1))
        return value[:, foreground(value.shape[1], num_classes)].flatten(0, 1)

    return Layout(to_theirs, to_ours)


def ssd_layout(num_classes: int, num_anchors: int) -> Layout:
    """Softmax columns [anchors * (classes + 1), ...] of a level, background first as ours."""

    def to_ours(theirs: Tensor) -> Tensor:
        value = theirs.unflatten(0, (num_anchors, -1))
        return value[:, [0, *foreground(value.shape[1], num_classes)]].flatten(0, 1)

    return Layout(lambda ours: ours, to_ours)


def softmax_layout(num_classes: int) -> Layout:
    """Columns of a softmax, background first as ours."""
    return Layout(
        lambda ours: ours,
        lambda theirs: theirs[[0, *foreground(len(theirs), num_classes)]],
    )


def masks_layout(num_classes: int) -> Layout:
    """A mask per class; theirs have one of the background, unused."""
    return Layout(
        lambda ours: torch.cat([torch.zeros_like(ours[:1]), ours]),
        lambda theirs: theirs[foreground(len(theirs), num_classes)],
    )


def class_boxes_layout(num_classes: int) -> Layout:
    """Four deltas per class; theirs have four of the background, unused."""

    def to_ours(theirs: Tensor) -> Tensor:
        value = theirs.unflatten(0, (-1, 4))
        return value[foreground(len(value), num_classes)].flatten(0, 1)

    return Layout(lambda ours: torch.cat([torch.zeros_like(ours[:4]), ours]), to_ours)


def retina_rows(head: nn.Module) -> list[Row]:
    """RetinaNet's towers, one for classes and one for boxes."""
    assert isinstance(head, RetinaHead)
    classes, boxes = "classification_head", "regression_head"
    layout = dense_layout(head.num_columns, head.box_deltas.out_channels // 4)
    return [
        *tower("class_tower", head.class_tower, classes + ".conv.{}.0.", classes + ".conv.{}.1."),
        *tower("box_tower", head.box_tower, boxes + ".conv.{}.0.", boxes + ".conv.{}.1."),
        Row(r"class_logits\.", f"{classes}.cls_logits.", layout),
        Row(r"box_deltas\.", f"{boxes}.bbox_reg."),
    ]


def rpn_rows(head: nn.Module) -> list[Row]:
    """Region proposals."""
    return [
        Row(r"tower\.0\.", "conv.0.0."),
        Row(r"objectness\.", "cls_logits."),
        Row(r"box_deltas\.", "bbox_pred."),
    ]


def box_rows(head: nn.Module) -> list[Row]:
    """Two fully connected layers on pooled RoIs; more have no name there."""
    assert isinstance(head, FcHead)
    return [
        Row(r"hidden\.1\.", "box_head.fc6."),
        Row(r"hidden\.3\.", "box_head.fc7."),
        Row(r"class_logits\.", "box_predictor.cls_score.", softmax_layout(head.num_classes)),
        Row(r"box_deltas\.", "box_predictor.bbox_pred.", class_boxes_layout(head.num_classes)),
    ]


def mask_rows(head: nn.Module) -> list[Row]:
    """Mask R-CNN's head."""
    assert isinstance(head, MaskHead)
    return [
        *tower("convs", head.convs, "mask_head.{}.0.", ""),
        Row(r"upsample\.", "mask_predictor.conv5_mask."),
        Row(
            r"mask_logits\.",
            "mask_predictor.mask_fcn_logits.",
            masks_layout(head.mask_logits.out_channels),
        ),
    ]


def ssd_rows(head: nn.Module) -> list[Row]:
    """Convolutions of each level, columns of each candidate with the background first as ours."""
    assert isinstance(head, SsdHead)
    num_classes, rows = head.num_columns - 1, [Row(r"box_deltas\.", "regression_head.module_list.")]
    for level, boxes in enumerate(head.box_deltas):
        assert isinstance(boxes, nn.Conv2d)
        layout = ssd_layout(num_classes, boxes.out_channels // 4)
        theirs = f"classification_head.module_list.{level}."
        rows.append(Row(rf"class_logits\.{level}\.", theirs, layout))
    return rows


HEADS: dict[type[nn.Module], HeadNames] = {
    SsdHead: HeadNames("head.", ssd_rows),
    RetinaHead: HeadNames("head.", retina_rows),
    RpnHead: HeadNames("rpn.head.", rpn_rows),
    FcHead: HeadNames("roi_heads.", box_rows),
    MaskHead: HeadNames("roi_heads.", mask_rows),
}


def rows(detector: Detector) -> list[Row]:
    """All rows of a detector; what has no row has no name there."""
    found: list[Row] = []
    for name, head in detector.heads.items():
        if type(head) in HEADS:
            prefix, rows_of = HEADS[type(head)]
            found += [row.under(f"heads.{name}.", prefix) for row in rows_of(head)]
    return [*_trunk_rows(detector), *found]


def _trunk_rows(detector: Detector) -> list[Row]:
    if isinstance(detector.backbone, VGGBackbone) and isinstance(detector.neck, SsdNeck):
        cut = detector.backbone.cut  # the fourth pooling, with which their second part begins
        return [
            *(
                Row(rf"backbone\.features\.{index}\.", f"backbone.extra.0.{index - cut}.")
                for index in range(cut, 30)
            ),
            *(
                Row(rf"backbone\.features\.{index}\.", f"backbone.extra.0.7.{index - 30}.")
                for index in (31, 33)
            ),
            Row(r"backbone\.features\.", "backbone.features."),
            Row(r"neck\.scale$", "backbone.scale_weight"),
            # Their first extra layer is the end of VGG.
            *(
                Row(rf"neck\.extra\.{index}\.", f"backbone.extra.{index + 1}.")
                for index in range(len(detector.neck.extra))
            ),
        ]
    found = []
    if isinstance(detector.backbone, ResNetBackbone):
        found.append(Row(r"backbone\.", "backbone.body."))
    if type(detector.neck) is Pyramid:
        found += [
            Row(r"neck\.fpn\.extra_blocks\.convs\.0\.", "backbone.fpn.extra_blocks.p6."),
            Row(r"neck\.fpn\.extra_blocks\.convs\.1\.", "backbone.fpn.extra_blocks.p7."),
            Row(r"neck\.fpn\.(\w+)_blocks\.", r"backbone.fpn.\1_blocks."),
        ]
    return found
