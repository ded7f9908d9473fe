"""The settings of RetinaNet and Faster R-CNN against torchvision's detectors, same weights."""

import copy
import re

import pytest
import torch
import yaml
from rebalance.detectors import build_detector
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import _default_anchorgen as _rcnn_anchorgen
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

NUM_CLASSES = 3
SIZE = (128, 256)  # multiples of 128: torchvision takes strides from canvas // cells, rounded down
NUM_PROPOSALS = 200
EVERYTHING = 10**6  # a sample of this size is all candidates, so that no random number matters
NAMES = [
    (r"backbone\.(.*)", r"backbone.body.\1"),
    (r"neck\.fpn\.extra_blocks\.convs\.0\.(.*)", r"backbone.fpn.extra_blocks.p6.\1"),
    (r"neck\.fpn\.extra_blocks\.convs\.1\.(.*)", r"backbone.fpn.extra_blocks.p7.\1"),
    (r"neck\.fpn\.(.*)", r"backbone.fpn.\1"),
    (r"heads\.dense\.class_tower\.(\d+)\.(.*)", r"head.classification_head.conv.\1.0.\2"),
    (r"heads\.dense\.box_tower\.(\d+)\.(.*)", r"head.regression_head.conv.\1.0.\2"),
    (r"heads\.dense\.class_logits\.(.*)", r"head.classification_head.cls_logits.\1"),
    (r"heads\.dense\.box_deltas\.(.*)", r"head.regression_head.bbox_reg.\1"),
    (r"heads\.rpn\.tower\.0\.(.*)", r"rpn.head.conv.0.0.\1"),
    (r"heads\.rpn\.objectness\.(.*)", r"rpn.head.cls_logits.\1"),
    (r"heads\.rpn\.box_deltas\.(.*)", r"rpn.head.bbox_pred.\1"),
    (r"heads\.box\.hidden\.1\.(.*)", r"roi_heads.box_head.fc6.\1"),
    (r"heads\.box\.hidden\.3\.(.*)", r"roi_heads.box_head.fc7.\1"),
    (r"heads\.box\.class_logits\.(.*)", r"roi_heads.box_predictor.cls_score.\1"),
    (r"heads\.box\.box_deltas\.(.*)", r"roi_heads.box_predictor.bbox_pred.\1"),
]


def translated(state):
    """Our parameters (or their gradients) under torchvision's names, background columns added."""
    result = {}
    for name, value in state.items():
        for pattern, replacement in NAMES:
            if re.fullmatch(pattern, name):
                name = re.sub(pattern, replacement, name)
                break
        number = re.search(r"(?<=conv\.)\d+(?=\.0\.)", name)
        if name.startswith("head.") and number:  # ours count the ReLUs
            name = name.replace(f"conv.{number[0]}.", f"conv.{int(number[0]) // 2}.")
        if "cls_logits" in name and name.startswith("head."):
            # torchvision has a sigmoid column for the background, which must never fire.
            value = value.unflatten(0, (-1, NUM_CLASSES))
            dead = torch.full_like(value[:, :1], -60.0 if name.endswith("bias") else 0.0)
            value = torch.cat([dead, value], dim=1).flatten(0, 1)
        if "bbox_pred" in name and name.startswith("roi_heads."):
            value = torch.cat([torch.zeros_like(value[:4]), value])
        result[name] = value
    return result


def exact_anchors():
    """torchvision's anchors of RetinaNet without cutting their sizes to whole pixels."""
    sizes = tuple(
        tuple(4 * stride * 2 ** (k / 3) for k in range(3)) for stride in (8, 16, 32, 64, 128)
    )
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)


def settings_of(repository, name, change=()):
    """Of config/detectors.yaml, changed at the given places."""
    detectors = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())
    settings = copy.deepcopy(detectors[name])
    for *keys, last, value in change:
        place = settings
        for key in keys:
            place = place[key]
        place[last] = value
    return settings


def varied(settings):
    """Our detector, with scores and deltas that differ from place to place."""
    torch.manual_seed(0)
    backbone = {"name": "resnet", "depth": 18, "norm": "frozen_batch", "frozen_stages": 1}
    ours = build_detector({"backbone": backbone, "detector": settings}, NUM_CLASSES)
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            if re.search("class_logits|objectness|box_deltas", key):
                parameter.mul_(30 if key.startswith("heads.box.box") else 8)
    return ours


def pair(repository, name, change=()):
    """Ours with the settings of config/detectors.yaml, and torchvision's with the same weights."""
    ours = varied(settings_of(repository, name, change))
    with torch.no_grad():
        if name == "retinanet":
            ours.heads["dense"].class_logits.bias.fill_(-3.0)
    extra = {"trainable_layers": 3, "norm_layer": FrozenBatchNorm2d}
    if name == "retinanet":
        body = resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4],
            extra_blocks=LastLevelP6P7(256, 256), **extra,
        )  # fmt: skip
        theirs = RetinaNet(body, NUM_CLASSES + 1, detections_per_img=100)
        theirs.anchor_generator = exact_anchors()  # theirs has sizes cut to whole pixels
    else:
        body = resnet_fpn_backbone(backbone_name="resnet18", weights=None, **extra)
        theirs = FasterRCNN(
            body, NUM_CLASSES + 1, rpn_post_nms_top_n_train=NUM_PROPOSALS,
            rpn_batch_size_per_image=EVERYTHING, box_batch_size_per_image=EVERYTHING,
        )  # fmt: skip
    theirs.load_state_dict(translated(ours.state_dict()))  # strict: nothing is left over
    return ours, theirs


def scene(count):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, *SIZE, generator=generator)
    boxes = torch.tensor([[8.0, 6, 50, 60], [90, 20, 250, 120], [60, 70, 84, 92]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 3, 2]), "image_size": SIZE,
              "ignored_boxes": torch.zeros(0, 4)}  # fmt: skip
    empty = {**target, "boxes": boxes[:0], "labels": target["labels"][:0]}
    targets = [{**part, "image_id": index} for index, part in enumerate((target, empty)[:count])]
    return images, targets, ImageList(images, [SIZE] * count)


def losses_of_torchvision(model, images, targets):
    features = model.backbone(images.tensors)
    if isinstance(model, RetinaNet):
        maps = list(features.values())
        return model.compute_loss(targets, model.head(maps), model.anchor_generator(images, maps))
    proposals, losses = model.rpn(images, features, targets)
    return losses | model.roi_heads(features, proposals, images.image_sizes, targets)[1]


STAGED_CHANGES = [
    ("rpn", "sampler", "num", EVERYTHING),
    ("rpn", "proposals", "train", "post_nms", NUM_PROPOSALS),
    ("rpn", "assigner", "low_quality_iou", 0.0),
    ("rpn", "objective", "box", "beta", 1 / 9),
    ("box", "sampler", "num", EVERYTHING),
    ("box", "objective", "box", "beta", 1 / 9),
]
CASES = {
    # RetinaNet: one image, because torchvision averages over images what we pool over the batch.
    "retinanet": (1, [("dense", "objective", "box", {"name": "l1", "weight": 1.0})]),
    "faster_rcnn": (2, STAGED_CHANGES),
}
PARTNERS = {
    "class_loss": {"retinanet": "classification", "faster_rcnn": "loss_classifier"},
    "box_loss": {"retinanet": "bbox_regression", "faster_rcnn": "loss_box_reg"},
    "rpn_class_loss": {"faster_rcnn": "loss_objectness"},
    "rpn_box_loss": {"faster_rcnn": "loss_rpn_box_reg"},
}


@pytest.mark.parametrize("name", list(CASES))
def test_losses_and_gradients_are_torchvisions(repository, name):
    count, change = CASES[name]
    ours, theirs = pair(repository, name, change)
    images, targets, listed = scene(count)
    mine = ours(images, targets, [torch.Generator().manual_seed(0)] * count)
    reference = losses_of_torchvision(theirs.train(), listed, targets)
    assert len(mine) == len(reference)
    for key, value in mine.items():
        assert value.item() > 0
        torch.testing.assert_close(value, reference[PARTNERS[key][name]], rtol=1e-5, atol=1e-7)
    sum(mine.values()).backward()
    sum(reference.values()).backward()
    grads = {key: p.grad for key, p in ours.named_parameters() if p.grad is not None}
    partners = dict(theirs.named_parameters())
    for key, grad in translated(grads).items():
        wanted = partners[key].grad
        if "cls_logits" in key and key.startswith("head."):  # without the background column
            grad, wanted = (g.unflatten(0, (-1, NUM_CLASSES + 1))[:, 1:] for g in (grad, wanted))
        torch.testing.assert_close(grad, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert len(grads) == sum(p.grad is not None for p in partners.values())


@pytest.mark.parametrize("name", list(CASES))
def test_detections_are_torchvisions(repository, name):
    ours, theirs = pair(repository, name, [("test", "max_detections", EVERYTHING)])
    images, _, listed = scene(2)
    ours.eval(), theirs.eval()
    getattr(theirs, "roi_heads", theirs).detections_per_img = EVERYTHING
    mine = ours.predict(images, [SIZE] * 2)
    with torch.no_grad():
        features = theirs.backbone(images)
        if name == "retinanet":
            maps = list(features.values())
            outputs = theirs.head(maps)
            counts = ours.steps[0].grid(maps)[1]
            split = {key: list(value.split(counts, dim=1)) for key, value in outputs.items()}
            anchors = theirs.anchor_generator(listed, maps)
            levels = [list(boxes.split(counts)) for boxes in anchors]
            found = theirs.postprocess_detections(split, levels, listed.image_sizes)
        else:
            proposals, _ = theirs.rpn(listed, features)
            found, _ = theirs.roi_heads(features, proposals, listed.image_sizes)
    for one, two in zip(mine, found, strict=True):
        assert len(one["scores"]) > 100
        assert one["scores"].min() < 0.06  # the threshold is at work
        torch.testing.assert_close(one["scores"], two["scores"], rtol=1e-5, atol=1e-6)
        # Detections of equal scores have no order between them.
        one, two = ({key: found[key][places(found)] for key in found} for found in (one, two))
        torch.testing.assert_close(one["scores"], two["scores"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one["boxes"], two["boxes"], rtol=1e-5, atol=1e-3)
        assert torch.equal(one["labels"], two["labels"])


def places(found):
    """An order by label and by where the boxes lie."""
    x1, y1, x2, y2 = found["boxes"].round(decimals=1).T.tolist()
    keys = list(zip(found["labels"].tolist(), x1, y1, x2, y2, strict=True))
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__))


def test_cell_anchors_are_torchvisions(repository):
    """Of RetinaNet up to a pixel: torchvision cuts the sizes to whole pixels first."""
    for name, most in (("retinanet", 1.0), ("faster_rcnn", 0.0)):
        ours, _ = pair(repository, name)
        grid = ours.steps[0].grid
        wanted = _default_anchorgen() if name == "retinanet" else _rcnn_anchorgen()
        for mine, reference in zip(grid.shapes, wanted.cell_anchors, strict=True):
            assert (mine - reference).abs().max() <= most


def test_anchors_have_the_strides_of_the_pyramid(repository):
    """On other canvases torchvision's coarse anchors drift: its strides are canvas // cells."""
    ours, theirs = pair(repository, "faster_rcnn")
    maps = [torch.empty(1, 1, -(-96 // s), -(-160 // s)) for s in (4, 8, 16, 32, 64)]
    boxes, counts = ours.steps[0].grid(maps)
    wanted = theirs.rpn.anchor_generator(ImageList(torch.empty(1, 3, 96, 160), [(96, 160)]), maps)
    assert torch.equal(boxes[: -counts[-1]], wanted[0][: -counts[-1]])
    coarsest = boxes[-counts[-1] :].reshape(2, 3, 3, 4)
    assert torch.equal(coarsest[1, 0] - coarsest[0, 0], torch.tensor([0.0, 64, 0, 64]).expand(3, 4))
