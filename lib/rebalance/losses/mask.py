"""Mask losses: one value per instance from [N, H, W] logits and masks.

"none" gives [N]; "mean" and "sum" give a scalar, 0 when N == 0. Mismatched shapes raise InputError,
integer tensors TypeError.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.errors import InputError
from rebalance.losses.reduction import logits_and_targets, reduce_loss


def mask_cross_entropy_loss(
    mask_logits: Tensor, mask_targets: Tensor, reduction: str = "none"
) -> Tensor:
    """Binary cross-entropy averaged over the pixels of each mask (Mask R-CNN), in [0, inf).

    Args:
        mask_logits: [N, H, W], before the sigmoid.
        mask_targets: [N, H, W] float in [0, 1].
        reduction: "none", "mean" or "sum" over instances.
    """
    mask_logits, mask_targets = _masks(mask_logits, mask_targets)
    loss = F.binary_cross_entropy_with_logits(mask_logits, mask_targets, reduction="none")
    return reduce_loss(loss.mean((1, 2)), reduction, mask_logits)


def size_normalised_mask_loss(
    mask_logits: Tensor, mask_targets: Tensor, box_shares: Tensor, reduction: str = "none"
) -> Tensor:
    """``mask_cross_entropy_loss`` of masks of the whole image over what part of it the box covers.

    YOLACT's code (Bolya et al., ICCV 2019): the mean over the box instead of over the image, so
    that small objects count as much as large ones.

    Args:
        mask_logits: [N, H, W], before the sigmoid.
        mask_targets: [N, H, W] float in [0, 1].
        box_shares: [N] area of the object's box over the image's, > 0.
        reduction: "none", "mean" or "sum" over instances.
    """
    loss = mask_cross_entropy_loss(mask_logits, mask_targets) / box_shares
    return reduce_loss(loss, reduction, mask_logits)


def semantic_cross_entropy_loss(
    semantic: Tensor,
    semantic_targets: Tensor,
    has_objects: Tensor,
    reduction: str = "none",
    empty_images: bool = True,
) -> Tensor:
    """Binary cross-entropy of every class at every pixel, the mean over the pixels of an image.

    YOLACT, section 3.3: classes are not exclusive, objects overlap.

    Args:
        semantic: [B, C, H, W] logits.
        semantic_targets: [B, C, H, W] float in [0, 1].
        has_objects: [B] bool.
        reduction: "none", "mean" or "sum" over images.
        empty_images: whether images without objects teach what background is; mmdetection leaves
            them out, but counts them. They say as much as the background of any other image.
    """
    semantic, semantic_targets = logits_and_targets(semantic, semantic_targets)
    loss = F.binary_cross_entropy_with_logits(semantic, semantic_targets, reduction="none")
    of_images = loss.sum(dim=1).mean(dim=(1, 2))
    if not empty_images:
        of_images = torch.where(has_objects, of_images, 0)
    return reduce_loss(of_images, reduction, semantic)


def dice_loss(
    mask_logits: Tensor,
    mask_targets: Tensor,
    reduction: str = "none",
    squared: bool = True,
    smooth: float = 0.0,
) -> Tensor:
    """``1 - 2 sum(p t) / (sum(p^2) + sum(t^2))`` with ``p = sigmoid(mask_logits)``, in [0, 1].

    Args:
        mask_logits: [N, H, W], before the sigmoid.
        mask_targets: [N, H, W] float in [0, 1].
        reduction: "none", "mean" or "sum" over instances.
        squared: the denominator of V-Net and SOLO; False sums ``p + t`` (Sørensen-Dice). The two
            agree on binary masks.
        smooth: added to each of the two sums below; SOLOv2's code: 0.001. It is of no use to us:
            two empty masks have no overlap by definition.
    """
    mask_logits, mask_targets = _masks(mask_logits, mask_targets)
    probabilities, mask_targets = mask_logits.sigmoid().flatten(1), mask_targets.flatten(1)
    power = 2 if squared else 1
    total = probabilities.pow(power).sum(1) + mask_targets.pow(power).sum(1) + 2 * smooth
    dice = ratio(2 * (probabilities * mask_targets).sum(1), total)
    return reduce_loss(1 - dice, reduction, mask_logits)


def mask_iou_loss(mask_ious: Tensor, mask_iou_targets: Tensor, reduction: str = "none") -> Tensor:
    """Squared error of the predicted IoU of masks, where there is any to learn (target > 0).

    Mask Scoring R-CNN, Huang et al., CVPR 2019, section 3.3; the published weight is 0.5. Its mean
    is over the masks with a target above 0, see `mask_iou_normaliser`.

    Args:
        mask_ious: [N].
        mask_iou_targets: [N] float in [0, 1].
        reduction: "none", "mean" or "sum" over instances.
    """
    mask_ious, mask_iou_targets = logits_and_targets(mask_ious, mask_iou_targets)
    loss = torch.where(mask_iou_targets > 0, (mask_ious - mask_iou_targets).square(), 0)
    if reduction == "mean":
        count = mask_iou_normaliser(mask_ious, mask_iou_targets).clamp(min=1)
        return reduce_loss(loss, "sum", mask_ious) / count
    return reduce_loss(loss, reduction, mask_ious)


def mask_iou_normaliser(mask_ious: Tensor, mask_iou_targets: Tensor) -> Tensor:
    """The number of masks whose IoU is learnt (scalar), which divides the summed loss."""
    return (mask_iou_targets > 0).sum().to(mask_ious.dtype)


def _masks(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits, targets = logits_and_targets(logits, targets)
    if logits.ndim != 3 or 0 in logits.shape[1:]:
        raise InputError(f"mask logits must be [N, H, W] with H, W > 0, got {list(logits.shape)}")
    return logits, targets
