"""Rank & Sort loss for a DETR-style head: matched queries are positives, all others negatives."""

import torch
from rebalance.boxes import paired_iou
from rebalance.losses import giou_loss, rank_sort_loss
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_convert, generalized_box_iou


def detr_losses(logits, boxes, targets):
    """logits [B, Q, C]; boxes [B, Q, 4] cxcywh in [0, 1]; targets: boxes like these, and labels."""
    ious, pred, truth = torch.zeros_like(logits), [], []
    for i, target in enumerate(targets):
        found, wanted = (box_convert(b, "cxcywh", "xyxy") for b in (boxes[i], target["boxes"]))
        cost = -logits[i].sigmoid()[:, target["labels"]] - 2 * generalized_box_iou(found, wanted)
        query, truth_idx = map(torch.from_numpy, linear_sum_assignment(cost.detach().cpu()))
        pred.append(found[query])
        truth.append(wanted[truth_idx])
        iou = paired_iou(pred[-1].detach(), truth[-1]).clamp(min=1e-6)  # 0 is a negative
        ious[i, query, target["labels"][truth_idx]] = iou
    loss = rank_sort_loss(logits.flatten(), ious.flatten()).loss
    return {"class": loss, "box": giou_loss(torch.cat(pred), torch.cat(truth), "mean")}
