"""Positive RoIs of a wanted IoU distribution in torchvision's Faster R-CNN (bbgen)."""

import torch
from rebalance.generators import IOU_PRESETS, generate_positive_rois
from torchvision.ops import box_iou


def use_generated_rois(model, preset="right_skew", num_rois=128):
    def replace_positives(roi_heads, inputs):
        features, proposals, image_sizes, targets = inputs
        if not roi_heads.training:
            return None
        rois = []
        for proposed, size, target in zip(proposals, image_sizes, targets, strict=True):
            boxes, labels = target["boxes"], target["labels"]
            made = generate_positive_rois(boxes, labels, num_rois, *IOU_PRESETS[preset], size)
            negative = (box_iou(boxes, proposed) < 0.5).all(0)  # none of the RPN's positives
            rois.append(torch.cat([made.boxes, proposed[negative]]))
        return features, rois, image_sizes, targets

    model.roi_heads.register_forward_pre_hook(replace_positives)
