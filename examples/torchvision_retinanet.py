"""Rank & Sort or aLRP loss in torchvision's RetinaNet: all anchors of a batch in one ranking."""

import torch
from rebalance.boxes import paired_iou
from rebalance.losses import alrp_loss, giou_loss, rank_sort_loss


def use_ranking(model, loss="rank_sort"):
    def compute_loss(targets, head_outputs, anchors, matched_idxs):
        logits, deltas = head_outputs["cls_logits"], head_outputs["bbox_regression"]
        ious, boxes, truths = torch.zeros_like(logits), [], []
        for i, (target, matched) in enumerate(zip(targets, matched_idxs, strict=True)):
            positive = torch.where(matched >= 0)[0]
            boxes.append(model.box_coder.decode_single(deltas[i, positive], anchors[i][positive]))
            truths.append(target["boxes"][matched[positive]])
            iou = paired_iou(boxes[-1].detach(), truths[-1]).clamp(min=1e-6)  # 0 is a negative
            ious[i, positive, target["labels"][matched[positive]]] = iou
            ious[i, matched == model.proposal_matcher.BETWEEN_THRESHOLDS] = -1  # ignored
        pairs, ranked = (torch.cat(boxes), torch.cat(truths)), (logits.flatten(), ious.flatten())
        if loss == "rank_sort":
            return {"class": rank_sort_loss(*ranked).loss, "box": giou_loss(*pairs, "mean")}
        _, classification, localisation = alrp_loss(*ranked, giou_loss(*pairs))
        return {"class": classification, "box": localisation}

    model.head.compute_loss = compute_loss
