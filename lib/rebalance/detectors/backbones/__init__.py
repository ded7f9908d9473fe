"""Backbones: image -> feature maps of strides 4, 8, 16, 32 (levels 2 ... 5; VGG: 8 and 16).

``plain`` is small and trains from scratch on a CPU; ``resnet`` is the body of ResNet-18/34/50/101
and ResNeXt-101, ``vgg`` that of SSD, both with torchvision's parameter names, so that ImageNet
weights load into them.
"""

from rebalance.config.bind import bind_part
from rebalance.config.options import backbones as options_of
from rebalance.detectors.backbones.backbone import FIRST_LEVEL, Backbone, load_weights
from rebalance.detectors.backbones.plain import PlainBackbone
from rebalance.detectors.backbones.resnet import ResNetBackbone
from rebalance.detectors.backbones.vgg import VGGBackbone
from rebalance.detectors.norms import NORMS, group_norm

__all__ = [
    "FIRST_LEVEL",
    "NORMS",
    "Backbone",
    "PlainBackbone",
    "ResNetBackbone",
    "VGGBackbone",
    "group_norm",
    "load_weights",
    "make_backbone",
]


def make_backbone(name: str, **options: object) -> Backbone:
    """A backbone by name, with ``out_channels`` per level; unknown name or option: InputError."""
    backbone: Backbone = bind_part(options_of.Backbone, name, options)()
    return backbone
