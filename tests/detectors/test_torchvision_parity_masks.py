"""Mask R-CNN as torchvision has it: same weights, same losses, gradients, detections and masks."""

import pytest
import torch
from rebalance.weights.convert import export_weights
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from detectors import test_torchvision_parity as parity

MASKS = {
    "pooling": {"size": 14, "sampling_ratio": 2},
    "objective": {"name": "linear", "mask": {"name": "mask_cross_entropy"}},
    "targets": "soft",
}


@pytest.fixture
def pair(repository):
    def make(max_detections):
        settings = parity.settings_of(repository, "faster_rcnn", parity.STAGED_CHANGES)
        settings["heads"]["mask"] = {"name": "mask", "num_convs": 4, "channels": 256}
        settings["mask"] = MASKS
        settings["steps"].append({"mask": "mask"})
        settings["test"]["max_detections"] = max_detections
        ours = parity.varied(settings)
        body = resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, trainable_layers=3,
            norm_layer=FrozenBatchNorm2d,
        )  # fmt: skip
        theirs = MaskRCNN(
            body, parity.NUM_CLASSES + 1, rpn_post_nms_top_n_train=parity.NUM_PROPOSALS,
            rpn_batch_size_per_image=parity.EVERYTHING,
            box_batch_size_per_image=parity.EVERYTHING, box_detections_per_img=max_detections,
        )  # fmt: skip
        theirs.load_state_dict(export_weights(ours, "torchvision"))  # strict
        return ours, theirs

    return make


def test_losses_and_gradients(pair):
    ours, theirs = pair(100)
    images, targets, listed = parity.scene(2)
    for target in targets:
        masks = torch.zeros(len(target["boxes"]), *parity.SIZE, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, target["boxes"].long().tolist(), strict=True):
            mask[y1:y2, x1 : (x1 + x2) // 2] = 1
            mask[(y1 + y2) // 2 : y2, x1:x2] = 1
        target["masks"] = masks
    mine = ours(images, targets, [torch.Generator().manual_seed(0)] * 2)
    reference = parity.losses_of_torchvision(theirs.train(), listed, targets)
    partners = {"mask_loss": "loss_mask", "class_loss": "loss_classifier"}
    partners |= {"box_loss": "loss_box_reg", "rpn_class_loss": "loss_objectness"}
    partners["rpn_box_loss"] = "loss_rpn_box_reg"
    assert len(mine) == len(reference) == len(partners)
    for name, partner in partners.items():
        assert mine[name] > 0
        torch.testing.assert_close(mine[name], reference[partner], rtol=1e-5, atol=1e-7)
    sum(mine.values()).backward()
    sum(reference.values()).backward()
    gradient = ours.heads["mask"].convs[0].weight.grad
    wanted = theirs.roi_heads.mask_head[0][0].weight.grad
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_detections_and_masks(pair):
    """Masks before they are pasted: torchvision rounds their boxes to pixels then."""
    ours, theirs = pair(30)
    images, _, listed = parity.scene(2)
    mine = ours.eval().predict(images, [parity.SIZE] * 2)
    theirs.eval()
    with torch.no_grad():
        features = theirs.backbone(images)
        proposals, _ = theirs.rpn(listed, features)
        found, _ = theirs.roi_heads(features, proposals, listed.image_sizes)
    for one, two in zip(mine, found, strict=True):
        assert len(one["scores"]) == 30
        torch.testing.assert_close(one["scores"], two["scores"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one["boxes"], two["boxes"], rtol=1e-5, atol=1e-3)
        assert torch.equal(one["labels"], two["labels"])
        probabilities = one["mask_probabilities"]
        torch.testing.assert_close(probabilities, two["masks"][:, 0], rtol=1e-4, atol=1e-5)
        assert probabilities.std() > 0.01
