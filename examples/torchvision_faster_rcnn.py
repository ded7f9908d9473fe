"""Rank & Sort or aLRP loss in the box head of torchvision's Faster R-CNN."""

import torch
from rebalance.boxes import paired_iou
from rebalance.losses import alrp_loss, giou_loss, rank_sort_loss
from torchvision.models.detection import roi_heads


def use_ranking(model, loss="rank_sort"):
    def box_head_losses(class_logits, box_regression, labels, regression_targets):
        labels, targets = torch.cat(labels), torch.cat(regression_targets)
        positive = torch.where(labels > 0)[0]
        deltas = box_regression.view(len(labels), -1, 4)[positive, labels[positive]]
        unit = deltas.new_tensor([0, 0, 1, 1]).expand_as(deltas)  # IoU is that around any RoI
        decode = model.roi_heads.box_coder.decode_single
        boxes, truths = decode(deltas, unit), decode(targets[positive], unit)
        # Log-odds of the softmax: what detections are sorted by at test.
        logits = class_logits.softmax(1)[:, 1:].logit(eps=1e-6)
        ious = torch.zeros_like(logits)
        ious[positive, labels[positive] - 1] = paired_iou(boxes.detach(), truths).clamp(min=1e-6)
        ranked, box_losses = (logits.flatten(), ious.flatten()), giou_loss(boxes, truths)
        if loss == "alrp":
            return alrp_loss(*ranked, box_losses)[1:]
        return rank_sort_loss(*ranked).loss, box_losses.sum() / max(1, len(positive))

    roi_heads.fastrcnn_loss = box_head_losses  # torchvision has no argument for it
