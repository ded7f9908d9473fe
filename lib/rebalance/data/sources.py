"""Where the public archives and weights are, and how to know that they arrived unharmed.

Checksums. VOC: the md5 of ``torchvision.datasets.voc``. COCO publishes none; the md5 and sizes here
are those that independent public projects give for the official archives, and they agree with each
other (none were computed by us); the sha256 of the test and panoptic archives are those of
``tensorflow_datasets``, whose sizes of the other archives are these, too. ResNet, ResNeXt and VGG
weights: the first 8 hexadecimal digits of the sha256 are part of the official file name.
"""

from dataclasses import dataclass

from rebalance.errors import InputError


@dataclass(frozen=True)
class Source:
    """A file to download.

    Attributes:
        url: official address.
        size: bytes, or None where it is not known exactly.
        md5: 32 hexadecimal digits, or None.
        sha256: the first 8 to 64 hexadecimal digits, or None.
        md5_url: address where the md5 is published, or None.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    md5_url: str | None = None


_COCO = "http://images.cocodataset.org"
_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_MMDETECTION = "https://download.openmmlab.com/pretrain/third_party"
_TORCH = "https://download.pytorch.org/models"

SOURCES = {
    "coco_train2017": Source(
        f"{_COCO}/zips/train2017.zip", 19336861798, md5="cced6f7f71b7629ddf16f17bbcfab6b2"
    ),
    "coco_val2017": Source(
        f"{_COCO}/zips/val2017.zip", 815585330, md5="442b8da7639aecaf257c1dceb8ba8c80"
    ),
    "coco_annotations_trainval2017": Source(
        f"{_COCO}/annotations/annotations_trainval2017.zip",
        252907541,
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
    ),
    "coco_panoptic2017": Source(
        f"{_COCO}/annotations/panoptic_annotations_trainval2017.zip",
        860725834,
        sha256="c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
    ),
    "coco_test2017": Source(
        f"{_COCO}/zips/test2017.zip",
        6646970404,
        sha256="c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
    ),
    "coco_image_info_test2017": Source(
        f"{_COCO}/annotations/image_info_test2017.zip",
        1144034,
        sha256="e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
    ),
    "voc2007_trainval": Source(
        f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar",
        460032000,
        md5="c52e279531787c972589f7e41ab4ae64",
    ),
    "voc2007_test": Source(
        f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar",
        451020800,
        md5="b6e924de25625d8de591ea690078ad9f",
    ),
    "voc2012_trainval": Source(
        f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
        1999639040,
        md5="6cd6e144f989b92b3379bac3b3de84fd",
    ),
    "resnet18": Source(f"{_TORCH}/resnet18-f37072fd.pth", sha256="f37072fd"),
    "resnet34": Source(f"{_TORCH}/resnet34-b627a593.pth", sha256="b627a593"),
    "resnet50": Source(f"{_TORCH}/resnet50-0676ba61.pth", sha256="0676ba61"),
    "resnet101": Source(f"{_TORCH}/resnet101-63fe2227.pth", sha256="63fe2227"),
    # Trained by torchvision, as its ResNet-50 is; it has none of 32x4d. Those are mmdetection's.
    "resnext101_64x4d": Source(f"{_TORCH}/resnext101_64x4d-173b62eb.pth", sha256="173b62eb"),
    "resnext101_32x4d": Source(f"{_MMDETECTION}/resnext101_32x4d-a5af3160.pth", sha256="a5af3160"),
    "vgg16_features": Source(f"{_TORCH}/vgg16_features-amdegroot-88682ab5.pth", sha256="88682ab5"),
}


def find_source(name: str) -> Source:
    """``SOURCES[name]``; ``InputError`` with the known names if there is none."""
    if name not in SOURCES:
        raise InputError(f"source must be one of {sorted(SOURCES)}, got {name!r}")
    return SOURCES[name]
