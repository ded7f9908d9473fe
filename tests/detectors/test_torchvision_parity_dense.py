"""SSD300 and the second version of RetinaNet against torchvision's, same weights."""

import copy
import re

import pytest
import torch
import yaml
from rebalance.detectors import build_detector
from rebalance.weights.convert import export_weights, import_weights
from torchvision.models.detection import retinanet_resnet50_fpn_v2, ssd300_vgg16
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from .test_torchvision_parity import exact_anchors

NUM_CLASSES = 3
SIZES = {"ssd": (300, 300), "retinanet": (128, 256)}
EVERYTHING = 10**6


def ssd(settings):
    """As torchvision has it: anchors within the image, the 400 best of each class, counts."""
    settings = settings["ssd300"]
    settings["dense"]["candidates"]["longest"] = 300
    settings["dense"]["coder"]["two_sided"] = False
    settings["dense"]["objective"]["per"] = "positives"
    settings["test"] |= {
        "score_threshold": 0.1, "choose": "classes", "pre_nms": 50, "drop_empty": False,
    }  # fmt: skip
    theirs = ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1,
        score_thresh=0.1, topk_candidates=50, detections_per_img=200,
    )  # fmt: skip
    return {"name": "vgg"}, settings, theirs


def retinanet(settings):
    """P6 from C5, group norm in the head, GIoU on decoded boxes."""
    settings = settings["retinanet"]
    settings["neck"]["extra_from"] = "input"
    settings["heads"]["dense"] |= {"norm": "group", "groups": 32}
    settings["dense"]["objective"]["box"] = {"name": "giou"}
    settings["test"]["drop_empty"] = False
    theirs = retinanet_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=NUM_CLASSES + 1
    )
    theirs.anchor_generator = exact_anchors()
    backbone = {"name": "resnet", "depth": 50, "norm": "frozen_statistics", "frozen_stages": 0}
    return backbone, settings, theirs


PAIRS = {"ssd": ssd, "retinanet": retinanet}


@pytest.fixture(params=list(PAIRS))
def pair(request, repository):
    """Name, our detector, torchvision's with the same weights."""
    torch.manual_seed(0)
    detectors = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())
    backbone, settings, theirs = PAIRS[request.param](copy.deepcopy(detectors))
    with torch.no_grad():  # scores and deltas that differ from place to place
        for name, parameter in theirs.named_parameters():
            if re.search(r"head\.(classification|regression)_head", name):
                parameter.mul_(3 if request.param == "ssd" else 1)
            if re.search(r"(cls_logits|bbox_reg)\.weight", name):
                parameter.mul_(4)
        if request.param == "retinanet":
            logits = theirs.head.classification_head.cls_logits
            logits.bias.fill_(-3.0)
            # Its sigmoid column of the background must never fire.
            logits.bias.view(-1, NUM_CLASSES + 1)[:, 0] = -60.0
            logits.weight.unflatten(0, (-1, NUM_CLASSES + 1))[:, 0] = 0.0
    ours = build_detector({"backbone": backbone, "detector": settings}, NUM_CLASSES)
    ours.load_state_dict(import_weights(theirs.state_dict(), ours, "torchvision"))
    return request.param, ours, theirs.eval()  # batch norm by its statistics, as in ours


def scene(name, count):
    height, width = SIZES[name]
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, height, width, generator=generator)
    boxes = torch.tensor([[8.0, 6, 50, 60], [90, 20, 250, 120], [60, 70, 84, 92]])
    target = {"boxes": boxes, "labels": torch.tensor([1, 3, 2]), "image_size": (height, width),
              "ignored_boxes": torch.zeros(0, 4)}  # fmt: skip
    other = {**target, "boxes": boxes[:1] + 40, "labels": target["labels"][:1]}
    targets = [{**part, "image_id": index} for index, part in enumerate((target, other)[:count])]
    return images, targets, ImageList(images, [(height, width)] * count)


def test_losses_and_gradients_are_torchvisions(pair):
    name, ours, theirs = pair
    count = {"ssd": 2, "retinanet": 1}[name]  # torchvision's RetinaNet averages over images
    images, targets, listed = scene(name, count)
    mine = ours.train()(images, targets, [torch.Generator().manual_seed(0)] * count)
    maps = list(theirs.backbone(images).values())
    outputs, anchors = theirs.head(maps), theirs.anchor_generator(listed, maps)
    arguments = [targets, outputs, anchors]
    if name == "ssd":
        arguments.append([
            theirs.proposal_matcher(box_iou(target["boxes"], boxes))
            for target, boxes in zip(targets, anchors, strict=True)
        ])  # fmt: skip
    reference = theirs.compute_loss(*arguments)
    for task, partner in (("class", "classification"), ("box", "bbox_regression")):
        assert mine[f"{task}_loss"] > 0
        torch.testing.assert_close(mine[f"{task}_loss"], reference[partner], rtol=1e-5, atol=1e-7)
    sum(mine.values()).backward()
    sum(reference.values()).backward()
    gradients = copy.deepcopy(ours)
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            gradients.get_parameter(key).copy_(parameter.grad)
    compared = 0
    exported = export_weights(gradients, "torchvision")
    for key, parameter in theirs.named_parameters():
        grad, wanted = exported[key], parameter.grad
        if name == "retinanet" and "cls_logits" in key:  # theirs has a column of the background
            grad, wanted = (g.unflatten(0, (-1, NUM_CLASSES + 1))[:, 1:] for g in (grad, wanted))
        largest = float(wanted.abs().max())
        torch.testing.assert_close(grad, wanted, rtol=1e-4, atol=1e-4 * largest)
        compared += largest > 0
    assert compared > 20


def test_detections_are_torchvisions(pair):
    name, ours, theirs = pair
    images, _, listed = scene(name, 2)
    mine = ours.eval().predict(images, [SIZES[name]] * 2)
    with torch.no_grad():
        maps = list(theirs.backbone(images).values())
        outputs, anchors = theirs.head(maps), theirs.anchor_generator(listed, maps)
        if name == "retinanet":
            theirs.detections_per_img = 100
            counts = ours.steps[0].grid(maps)[1]
            outputs = {key: list(value.split(counts, dim=1)) for key, value in outputs.items()}
            anchors = [list(boxes.split(counts)) for boxes in anchors]
        found = theirs.postprocess_detections(outputs, anchors, listed.image_sizes)
    for one, two in zip(mine, found, strict=True):
        assert len(one["scores"]) > 50
        order = two["scores"].argsort(descending=True, stable=True)
        torch.testing.assert_close(one["scores"], two["scores"][order], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one["boxes"], two["boxes"][order], rtol=1e-5, atol=1e-3)
        assert torch.equal(one["labels"], two["labels"][order])
