"""Box regression losses: on encoded deltas (L1 and its kin) and on decoded boxes (IoU and its kin).

Losses on deltas take ``pred`` and ``target`` [N, 4] and are elementwise: "none" gives [N, 4].
Losses on boxes take [N, 4] xyxy boxes in pixels, paired row by row: "none" gives [N].
"mean" and "sum" give a scalar, 0 when N == 0. Mismatched shapes raise InputError, integer tensors
TypeError.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import distance_box_iou_loss, generalized_box_iou_loss

from rebalance.boxes import (
    box_centers,
    box_sizes,
    enclosing_sizes,
    inter_union,
    paired_boxes,
    paired_iou,
    ratio,
)
from rebalance.errors import InputError
from rebalance.losses.reduction import check_same_shape, reduce_loss

SMALLEST_IOU = 1e-6  # keeps logarithms of IoU finite; below it the gradient is 0

# --- on encoded deltas -----------------------------------------------------------------------


def l1_loss(pred: Tensor, target: Tensor, reduction: str = "none") -> Tensor:
    """``|x|`` of ``x = pred - target``, in [0, inf)."""
    check_same_shape(pred, target)
    return reduce_loss(F.l1_loss(pred, target, reduction="none"), reduction, pred)


def smooth_l1_loss(
    pred: Tensor, target: Tensor, reduction: str = "none", beta: float = 1.0
) -> Tensor:
    """``x^2 / (2 beta)`` up to ``|x| = beta``, then ``|x| - beta / 2`` (Fast R-CNN), in [0, inf).

    This is the form that detectors use, with slope 1 for outliers; thesis Eq. 3.6 prints it times
    ``beta``. ``beta = 0`` is L1.
    """
    check_same_shape(pred, target)
    return reduce_loss(F.smooth_l1_loss(pred, target, reduction="none", beta=beta), reduction, pred)


def balanced_l1_loss(
    pred: Tensor, target: Tensor, reduction: str = "none", alpha: float = 0.5, gamma: float = 1.5
) -> Tensor:
    """Balanced L1 (Libra R-CNN; thesis Eq. 3.7-3.9), in [0, inf): raises the gradient of inliers.

    Args:
        pred: [N, 4] encoded deltas.
        target: [N, 4].
        reduction: "none", "mean" or "sum".
        alpha: smaller raises the gradient of inliers, > 0.
        gamma: gradient of outliers, > 0.
    """
    check_same_shape(pred, target)
    kappa = math.expm1(gamma / alpha)  # Eq. 3.9
    constant = gamma / kappa - alpha  # the printed equations leave Z open: continuity at |x| = 1
    error = (pred.double() - target.double()).abs()
    inlier = error.clamp(max=1)
    near = alpha / kappa * (kappa * inlier + 1) * torch.log1p(kappa * inlier) - alpha * inlier
    loss = torch.where(error < 1, near, gamma * error + constant)  # Eq. 3.8
    return reduce_loss(loss, reduction, pred)


def focal_l1_loss(
    pred: Tensor, target: Tensor, reduction: str = "none", beta: float = 0.8
) -> Tensor:
    """FocalL1 (EIoU paper Eq. 8-9): the gradient rises as ``-x ln(beta x)`` and is flat beyond 1.

    Args:
        pred: [N, 4] encoded deltas.
        target: [N, 4].
        reduction: "none", "mean" or "sum".
        beta: in [1 / e, 1]; larger suppresses outliers more (at 1 they have no gradient).
    """
    check_same_shape(pred, target)
    return reduce_loss(_focal_l1(pred.double() - target.double(), beta), reduction, pred)


def _focal_l1(x: Tensor, beta: float) -> Tensor:
    # 1 / e is written in a configuration with a few digits, hence the tolerance.
    if not math.exp(-1) - 1e-3 <= beta <= 1:
        raise InputError(f"beta of FocalL1 must be in [1/e, 1], got {beta}")
    alpha = math.e * beta  # normalises the largest gradient to 1
    error = x.abs()
    inlier = error.clamp(min=torch.finfo(x.dtype).tiny, max=1)
    near = -alpha * inlier.square() * (2 * torch.log(beta * inlier) - 1) / 4
    far = -alpha * math.log(beta) * error + (2 * alpha * math.log(beta) + alpha) / 4
    return torch.where(error <= 1, near, far)  # Eq. 9


# --- on decoded boxes ------------------------------------------------------------------------


def iou_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", form: str = "linear"
) -> Tensor:
    """``1 - IoU`` in [0, 1] ("linear") or ``-ln IoU`` in [0, 13.9] ("log"; thesis Eq. 3.11)."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    iou = paired_iou(pred, target)
    if form == "linear":
        loss = 1 - iou
    elif form == "log":
        loss = -torch.log(iou.clamp(min=SMALLEST_IOU))
    else:
        raise InputError(f"form of the IoU loss must be 'linear' or 'log', got {form!r}")
    return reduce_loss(loss, reduction, pred_boxes)


def giou_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """``1 - GIoU`` in [0, 2] (thesis Eq. 3.15), torchvision's; ``eps`` px^2 is added to areas."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    return reduce_loss(generalized_box_iou_loss(pred, target, eps=eps), reduction, pred_boxes)


def diou_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """``1 - IoU + d^2 / e^2`` in [0, 2] (thesis Eq. 3.16), torchvision's; ``eps`` in px^2."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    return reduce_loss(distance_box_iou_loss(pred, target, eps=eps), reduction, pred_boxes)


def ciou_loss(
    pred_boxes: Tensor,
    target_boxes: Tensor,
    reduction: str = "none",
    eps: float = 1e-7,
    alpha: str = "constant",
) -> Tensor:
    """DIoU plus ``alpha v`` for the aspect ratio (thesis Eq. 3.17-3.19), in [0, 3].

    torchvision's function has these values, but ignores ``eps`` in part, gives nan for points and
    offers one variant of alpha only.

    Args:
        pred_boxes: [N, 4] xyxy, pixels, float.
        target_boxes: [N, 4].
        reduction: "none", "mean" or "sum".
        eps: px^2, added to areas as in torchvision.
        alpha: "constant" keeps ``alpha = v / (1 - IoU + v)`` out of the gradient (the published
            code), "differentiated" does not. The values are equal.
    """
    if alpha not in ("constant", "differentiated"):
        raise InputError(f"alpha of CIoU must be 'constant' or 'differentiated', got {alpha!r}")
    pred, target = paired_boxes(pred_boxes, target_boxes)
    inter, union = inter_union(pred, target)
    iou = ratio(inter, union + eps)
    distance = (box_centers(pred) - box_centers(target)).square().sum(-1)
    diagonal = enclosing_sizes(pred, target).square().sum(-1)
    angles = [torch.atan2(*box_sizes(boxes).unbind(-1)) for boxes in (target, pred)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]).square()  # Eq. 3.18
    weight = ratio(v, 1 - iou + v + eps)  # Eq. 3.19
    if alpha == "constant":
        weight = weight.detach()
    loss = 1 - iou + ratio(distance, diagonal + eps) + weight * v  # Eq. 3.17
    return reduce_loss(loss, reduction, pred_boxes)


def eiou_loss(pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none") -> Tensor:
    """Efficient IoU loss (EIoU paper Eq. 7), in [0, 4].

    ``1 - IoU`` plus the squared errors of centre, width and height, relative to the smallest
    enclosing box.
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    return reduce_loss(_eiou(pred, target), reduction, pred_boxes)


def _eiou(pred: Tensor, target: Tensor) -> Tensor:
    hull = enclosing_sizes(pred, target).square()  # [N, 2]: Cw^2 and Ch^2
    centers = (box_centers(pred) - box_centers(target)).square().sum(-1)
    sizes = (box_sizes(pred) - box_sizes(target)).square()
    return (
        1
        - paired_iou(pred, target)
        + ratio(centers, hull.sum(-1))
        + ratio(sizes, hull).sum(-1)  # Eq. 7
    )


def focal_eiou_loss(
    pred_boxes: Tensor,
    target_boxes: Tensor,
    reduction: str = "none",
    gamma: float = 0.5,
    detach_weight: bool = True,
) -> Tensor:
    """Focal-EIoU, ``IoU^gamma EIoU`` (EIoU paper Eq. 10), in [0, 4).

    Training divides the sum by the sum of the weights (Eq. 11): `focal_eiou_normaliser`, or
    `normalised_focal_eiou_loss` for both in one.

    Args:
        pred_boxes: [N, 4] xyxy, pixels, float.
        target_boxes: [N, 4].
        reduction: "none", "mean" or "sum" (of Eq. 10, without Eq. 11).
        gamma: suppresses boxes of low IoU, >= 0; 0 gives EIoU.
        detach_weight: the default takes ``IoU^gamma`` as a number that reweights the loss, which is
            what the paper's text says; False differentiates it too (0 at IoU 0).
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    weight = _iou_power(pred, target, gamma, detach_weight)
    return reduce_loss(weight * _eiou(pred, target), reduction, pred_boxes)


def focal_eiou_normaliser(
    pred_boxes: Tensor, target_boxes: Tensor, gamma: float = 0.5, detach_weight: bool = True
) -> Tensor:
    """The sum of ``IoU^gamma`` (scalar), which divides the summed Focal-EIoU loss (Eq. 11)."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    weight = _iou_power(pred, target, gamma, detach_weight)
    return reduce_loss(weight, "sum", pred_boxes)


def normalised_focal_eiou_loss(
    pred_boxes: Tensor, target_boxes: Tensor, gamma: float = 0.5, detach_weight: bool = True
) -> Tensor:
    """Focal-EIoU of a batch (scalar, Eq. 11): the EIoU losses averaged with weights ``IoU^gamma``.

    0 when no pair overlaps. Arguments as in `focal_eiou_loss`.
    """
    return ratio(
        focal_eiou_loss(pred_boxes, target_boxes, "sum", gamma, detach_weight),
        focal_eiou_normaliser(pred_boxes, target_boxes, gamma, detach_weight),
    )


def _iou_power(pred: Tensor, target: Tensor, gamma: float, detach: bool) -> Tensor:
    if gamma < 0:
        raise InputError(f"gamma must be >= 0, got {gamma}")
    iou = paired_iou(pred, target)
    # IoU^gamma has an infinite slope at 0: such boxes get no gradient through the weight.
    weight = torch.where(iou > 0, iou, 1).pow(gamma) * (iou > 0 if gamma > 0 else 1)
    return weight.detach() if detach else weight


def focal_eiou_v1_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", beta: float = 0.8
) -> Tensor:
    """Focal-EIoU (v1): FocalL1 (EIoU paper Eq. 9) with the EIoU loss in place of the error."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    return reduce_loss(_focal_l1(_eiou(pred, target), beta), reduction, pred_boxes)


def focal_eiou_star_loss(
    pred_boxes: Tensor,
    target_boxes: Tensor,
    reduction: str = "none",
    gamma: float = 0.5,
    detach_weight: bool = True,
) -> Tensor:
    """Focal-EIoU*: ``-(1 - IoU)^gamma ln(IoU) EIoU`` (EIoU paper, section 5.4.3), focal-loss style.

    Arguments as in `focal_eiou_loss`; IoU is clamped at 1e-6 inside the logarithm.
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    iou = paired_iou(pred, target).clamp(min=SMALLEST_IOU)
    # A base of 0 (perfect boxes) has an infinite slope for gamma < 1; its factor ln(IoU) is 0.
    base = torch.where(iou < 1, 1 - iou, 1)
    weight = -base.pow(gamma) * torch.log(iou)
    weight = weight.detach() if detach_weight else weight
    return reduce_loss(weight * _eiou(pred, target), reduction, pred_boxes)
