"""Heads: maps, or pooled features, -> predictions. A step names its head; heads know no loss."""

from typing import Literal

from rebalance.config.bounds import Count, Index, OpenShare, Text
from rebalance.config.part import Part


class Head(Part, noun="head"):
    """Any head."""

    def tasks(self) -> set[str]:
        """Tasks that it has an output for, beside those that every head of its sort has."""
        return set()


class DenseHead(Head, noun="dense head"):
    """On every cell of the pyramid's maps."""


class BoxHead(Head, noun="box head"):
    """On pooled features of RoIs: classes and boxes."""


class MaskHead(Head, noun="mask head"):
    """On pooled features of RoIs: masks."""


class PrototypeHead(Head, noun="prototype head"):
    """On every cell of the maps: classes, boxes, and coefficients of the image's prototypes."""


class GridHead(Head, noun="grid head"):
    """On the cells of grids: classes, and kernels of masks."""


class MaskIouHead(Head, noun="mask IoU head"):
    """On pooled features and masks: how good the masks are."""


TowerNorm = Literal["none", "group"]


class Rpn(DenseHead, name="rpn", makes="rebalance.detectors.heads:RpnHead"):
    """One 3x3 convolution, then objectness and deltas (Ren et al., NeurIPS 2015)."""

    channels: Count = 256
    """Of the convolution."""


class Retina(DenseHead, name="retina", makes="rebalance.detectors.heads:RetinaHead"):
    """Two towers of 3x3 convolutions (Lin et al., ICCV 2017)."""

    num_convs: Index = 4
    """Convolutions of each tower."""
    channels: Count = 256
    """Of the towers."""
    prior: OpenShare = 0.01
    """Score of every class before training."""
    norm: TowerNorm = "none"
    """After each convolution of the towers."""
    groups: Count | None = None
    """Of the norm; null: groups of eight channels."""


class Atss(DenseHead, name="atss", makes="rebalance.detectors.dense_heads:AtssHead"):
    """Two towers and an estimate of the boxes' quality (ATSS, PAA)."""

    num_convs: Index = 4
    """Convolutions of each tower."""
    channels: Count = 256
    """Of the towers."""
    prior: OpenShare = 0.01
    """Score of every class before training."""
    norm: TowerNorm = "group"
    """After each convolution of the towers."""
    groups: Count | None = None
    """Of the norm; null: groups of eight channels."""
    quality: Text | None = "centerness"
    """Name of the third output; null: none (Rank & Sort)."""

    def tasks(self) -> set[str]:
        """The quality."""
        return set() if self.quality is None else {self.quality}


class Fovea(DenseHead, name="fovea", makes="rebalance.detectors.dense_heads:FoveaHead"):
    """Towers for points (FoveaBox)."""

    num_convs: Index = 4
    """Convolutions of each tower."""
    channels: Count = 256
    """Of the towers."""
    prior: OpenShare = 0.01
    """Score of every class before training."""
    norm: TowerNorm = "none"
    """After each convolution of the towers."""
    groups: Count | None = None
    """Of the norm; null: groups of eight channels."""
    aligned: bool = False
    """Whether the branch of classes is a deformable convolution that the boxes steer."""
    offset_groups: Count = 4
    """Of it: groups of channels with offsets of their own."""


class Ssd(DenseHead, name="ssd", makes="rebalance.detectors.dense_heads:SsdHead"):
    """A convolution for each level (SSD)."""


class Yolact(PrototypeHead, name="yolact", makes="rebalance.detectors.yolact_head:YolactHead"):
    """A tower, and prototypes of the image (YOLACT)."""

    num_convs: Index = 1
    """Convolutions of the tower."""
    channels: Count = 256
    """Of the tower."""
    num_prototypes: Count = 32
    """Prototypes of an image, and coefficients of an anchor."""
    prototype_convs: Index = 3
    """Convolutions before the prototypes are enlarged."""
    prototype_channels: Count = 256
    """Of them."""
    semantic: bool = True
    """Whether a branch tells the classes of each cell of the finest map, in training."""

    def tasks(self) -> set[str]:
        """The branch."""
        return {"semantic"} if self.semantic else set()


class Solo(GridHead, name="solo", makes="rebalance.detectors.solo_head:SoloHead"):
    """Towers of classes and kernels, and the feature that kernels make masks of (SOLOv2)."""

    num_convs: Index = 4
    """Convolutions of each tower."""
    channels: Count = 512
    """Of the towers."""
    num_prototypes: Count = 256
    """Channels of the mask feature, numbers of a kernel."""
    mask_channels: Count = 128
    """Of the layers of the mask feature."""
    mask_levels: Count = 4
    """Maps, from the finest, that the mask feature is made of."""
    prior: OpenShare = 0.01
    """Score of every class before training."""
    groups: Count | None = None
    """Of all norms; null: groups of eight channels."""


class FullyConnected(BoxHead, name="fc", makes="rebalance.detectors.heads:FcHead"):
    """Fully connected layers (Girshick, ICCV 2015)."""

    num_fcs: Index = 2
    """Hidden layers."""
    channels: Count = 1024
    """Of the hidden layers."""
    class_agnostic: bool = False
    """One set of deltas instead of one per class."""


class FullyConvolutional(BoxHead, name="fcc", makes="rebalance.detectors.fcc_head:FccHead"):
    """Convolutions in place of fully connected layers (the advanced R3-CNN)."""

    class_agnostic: bool = True
    """One set of deltas instead of one per class."""


class Mask(MaskHead, name="mask", makes="rebalance.detectors.heads:MaskHead"):
    """Convolutions, a transposed one, and a mask of each class (He et al., ICCV 2017)."""

    num_convs: Index = 4
    """3x3 convolutions."""
    channels: Count = 256
    """Of them."""
    class_agnostic: bool = False
    """One mask instead of one per class."""
    residual: bool = False
    """Whether the mask feature of the step before is added to the pooled features (HTC)."""


class MaskIou(MaskIouHead, name="mask_iou", makes="rebalance.detectors.mask_iou_head:MaskIouHead"):
    """Convolutions and fully connected layers (Mask Scoring R-CNN, Huang et al., CVPR 2019)."""

    num_convs: Index = 4
    """3x3 convolutions."""
    channels: Count = 256
    """Of them."""
    num_fcs: Index = 2
    """Hidden layers."""
    fc_channels: Count = 1024
    """Of them."""
    convolutional: bool = False
    """In place of hidden layers the convolutions of the advanced R3-CNN."""
