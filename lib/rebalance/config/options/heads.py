"""Heads: maps, or pooled features, -> predictions. A step names its head; heads know no loss."""

from typing import Literal

from rebalance.config.bounds import Count, Index, OpenShare
from rebalance.config.part import Part


class Head(Part, noun="head"):
    """Any head."""


class DenseHead(Head, noun="dense head"):
    """On every cell of the pyramid's maps."""


class BoxHead(Head, noun="box head"):
    """On pooled features of RoIs: classes and boxes."""


class MaskHead(Head, noun="mask head"):
    """On pooled features of RoIs: masks."""


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
    norm: Literal["none", "group"] = "none"
    """After each convolution of the towers."""


class FullyConnected(BoxHead, name="fc", makes="rebalance.detectors.heads:FcHead"):
    """Fully connected layers (Girshick, ICCV 2015)."""

    num_fcs: Index = 2
    """Hidden layers."""
    channels: Count = 1024
    """Of the hidden layers."""
    class_agnostic: bool = False
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
