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
from torchvision.ops import distance_box_iou_loss

from rebalance.boxes import (
    box_centers,
    box_sizes,
    enclosing_sizes,
    ggiou,
    inter_union,
    paired_boxes,
    paired_iou,
    ratio,
)
from rebalance.errors import InputError
from rebalance.losses.reduction import check_same_shape, reduce_loss
from rebalance.losses.weighting import carl_weights

SMALLEST_IOU = 1e-6  # keeps logarithms of IoU finite; below it the gradient is 0

# --- on encoded deltas -----------------------------------------------------------------------


def l1_loss(pred_deltas: Tensor, target_deltas: Tensor, reduction: str = "none") -> Tensor:
    """``|x|`` of ``x = pred_deltas - target_deltas``, in [0, inf)."""
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    return reduce_loss(
        F.l1_loss(pred_deltas, target_deltas, reduction="none"), reduction, pred_deltas
    )


def smooth_l1_loss(
    pred_deltas: Tensor, target_deltas: Tensor, reduction: str = "none", beta: float = 1.0
) -> Tensor:
    """``x^2 / (2 beta)`` up to ``|x| = beta``, then ``|x| - beta / 2`` (Fast R-CNN), in [0, inf).

    This is the form that detectors use, with slope 1 for outliers; thesis Eq. 3.6 prints it times
    ``beta``. ``beta = 0`` is L1.
    """
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    return reduce_loss(
        F.smooth_l1_loss(pred_deltas, target_deltas, reduction="none", beta=beta),
        reduction,
        pred_deltas,
    )


def dynamic_smooth_l1_loss(
    pred_deltas: Tensor, target_deltas: Tensor, smooth_l1_beta: Tensor, reduction: str = "none"
) -> Tensor:
    """``smooth_l1_loss`` with a beta [] > 0 that moves with the training (Dynamic R-CNN, Eq. 6)."""
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    error = (pred_deltas - target_deltas).abs()
    near = error.square() / (2 * smooth_l1_beta)
    loss = torch.where(error < smooth_l1_beta, near, error - smooth_l1_beta / 2)
    return reduce_loss(loss, reduction, pred_deltas)


def balanced_l1_loss(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    reduction: str = "none",
    alpha: float = 0.5,
    gamma: float = 1.5,
) -> Tensor:
    """Balanced L1 (Libra R-CNN; thesis Eq. 3.7-3.9), in [0, inf): raises the gradient of inliers.

    Args:
        pred_deltas: [N, 4] encoded deltas.
        target_deltas: [N, 4].
        reduction: "none", "mean" or "sum".
        alpha: smaller raises the gradient of inliers, > 0.
        gamma: gradient of outliers, > 0.
    """
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    kappa = math.expm1(gamma / alpha)  # Eq. 3.9
    constant = gamma / kappa - alpha  # the printed equations leave Z open: continuity at |x| = 1
    error = (pred_deltas.double() - target_deltas.double()).abs()
    inlier = error.clamp(max=1)
    near = alpha / kappa * (kappa * inlier + 1) * torch.log1p(kappa * inlier) - alpha * inlier
    loss = torch.where(error < 1, near, gamma * error + constant)  # Eq. 3.8
    return reduce_loss(loss, reduction, pred_deltas)


def focal_l1_loss(
    pred_deltas: Tensor, target_deltas: Tensor, reduction: str = "none", beta: float = 0.8
) -> Tensor:
    """FocalL1 (EIoU paper Eq. 8-9): the gradient rises as ``-x ln(beta x)`` and is flat beyond 1.

    Args:
        pred_deltas: [N, 4] encoded deltas.
        target_deltas: [N, 4].
        reduction: "none", "mean" or "sum".
        beta: in [1 / e, 1]; larger suppresses outliers more (at 1 they have no gradient).
    """
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    return reduce_loss(
        _focal_l1(pred_deltas.double() - target_deltas.double(), beta), reduction, pred_deltas
    )


def _focal_l1(x: Tensor, beta: float) -> Tensor:
    # 1 / e is written in a configuration with a few digits, hence the tolerance.
    if not math.exp(-1) - 1e-3 <= beta <= 1:
        raise InputError(f"beta of FocalL1 must be in [1/e, 1], got {beta}")
    alpha = math.e * beta  # normalises the largest gradient to 1
    error = x.abs()
    inlier = error.clamp(min=torch.finfo(x.dtype).tiny, max=1)
    near = -alpha * inlier.square() * (2 * torch.log(beta * inlier) - 1) / 4
    far = -alpha * math.log(beta) * error + (2 * alpha * math.log(beta) + alpha) / 4
    return torch.where(error < 1, near, far)  # Eq. 9


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
    """``1 - GIoU`` in [0, 2] (thesis Eq. 3.15); ``eps`` px^2 is added to areas.

    The values of torchvision's function, which picks what overlaps by masks: ten times in an
    iteration the host would wait for a GPU.
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    inter, union = inter_union(pred, target)
    hull = enclosing_sizes(pred, target).prod(-1)
    loss = 1 - (inter / (union + eps) - (hull - union) / (hull + eps))
    return reduce_loss(loss, reduction, pred_boxes)


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
    weight = _power(paired_iou(pred, target), gamma)
    weight = weight.detach() if detach_weight else weight
    return reduce_loss(weight * _eiou(pred, target), reduction, pred_boxes)


def focal_eiou_normaliser(
    pred_boxes: Tensor, target_boxes: Tensor, gamma: float = 0.5, detach_weight: bool = True
) -> Tensor:
    """The sum of ``IoU^gamma`` (scalar), which divides the summed Focal-EIoU loss (Eq. 11)."""
    pred, target = paired_boxes(pred_boxes, target_boxes)
    weight = _power(paired_iou(pred, target), gamma)
    weight = weight.detach() if detach_weight else weight
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


def _power(overlap: Tensor, gamma: float) -> Tensor:
    """``overlap^gamma`` with gradient 0 at 0, where the slope is infinite for ``gamma < 1``."""
    if gamma < 0:
        raise InputError(f"gamma must be >= 0, got {gamma}")
    positive = overlap > 0
    return torch.where(positive, torch.where(positive, overlap, 1).pow(gamma), float(gamma == 0))


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


def bounded_iou_loss(
    pred_boxes: Tensor, target_boxes: Tensor, reduction: str = "none", beta: float = 0.2
) -> Tensor:
    """Bounded IoU loss (thesis Eq. 3.12-3.14): how far cx, cy, w, h alone would let the IoU go.

    ``2 smooth_l1(1 - IoU_B)`` summed over the four, in [0, 8 - 4 beta] for ``beta <= 1``.

    Args:
        pred_boxes: [N, 4] xyxy, pixels, float.
        target_boxes: [N, 4].
        reduction: "none", "mean" or "sum".
        beta: where smooth L1 becomes linear.
    """
    pred, target = paired_boxes(pred_boxes, target_boxes)
    shift = 2 * (box_centers(pred) - box_centers(target)).abs()
    pred_size, target_size = box_sizes(pred), box_sizes(target)
    of_centers = ratio(target_size - shift, target_size + shift).clamp(min=0)  # Eq. 3.13
    of_sizes = torch.minimum(ratio(pred_size, target_size), ratio(target_size, pred_size))  # 3.14
    error = 1 - torch.cat([of_centers, of_sizes], dim=-1)
    loss = 2 * F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=beta)
    return reduce_loss(loss.sum(-1), reduction, pred_boxes)  # Eq. 3.12


# --- on encoded deltas and something else ----------------------------------------------------


def kl_loss(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    log_variances: Tensor,
    reduction: str = "none",
    clipped: bool = False,
) -> Tensor:
    """KL loss with a predicted variance per coordinate (thesis Eq. 3.10), in (-inf, inf).

    ``x^2 / (2 sigma^2) + ln(sigma^2) / 2`` for ``x = pred_deltas - target_deltas``, elementwise.

    Args:
        pred_deltas: [N, 4] encoded deltas.
        target_deltas: [N, 4].
        log_variances: [N, 4], ``ln(sigma^2)``, which a branch of the network predicts.
        reduction: "none", "mean" or "sum".
        clipped: make the error linear beyond 1, as smooth L1 does (He et al., CVPR 2019).
    """
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    check_same_shape(pred_deltas, log_variances, "pred_deltas and log_variances")
    if clipped:
        error = F.smooth_l1_loss(pred_deltas, target_deltas, reduction="none")
    else:
        error = F.mse_loss(pred_deltas, target_deltas, reduction="none") / 2
    return reduce_loss(
        error * torch.exp(-log_variances) + log_variances / 2, reduction, pred_deltas
    )


def iou_balanced_loss(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    pred_boxes: Tensor,
    target_boxes: Tensor,
    reduction: str = "none",
    gamma: float = 1.4,
    w_loc: float = 1.0,
    beta: float = 1.0,
    detach_weight: bool = True,
) -> Tensor:
    """IoU-balanced localisation: ``w_loc IoU^gamma smooth_l1(x)`` (GGIoU paper, Eq. 5-6 with IoU).

    Args:
        pred_deltas: [N, 4] encoded deltas.
        target_deltas: [N, 4].
        pred_boxes: [N, 4] xyxy, pixels: the decoded predictions.
        target_boxes: [N, 4] their ground truths.
        reduction: "none" (elementwise), "mean" or "sum".
        gamma: exponent of the weight (lambda in Eq. 6, gamma in the paper's tables), > 0.
        w_loc: factor of the weight.
        beta: of smooth L1.
        detach_weight: whether the overlap is only a number; the paper does not say.
    """
    overlap = paired_iou(*paired_boxes(pred_boxes, target_boxes))
    return _overlap_balanced(
        pred_deltas, target_deltas, overlap, reduction, gamma, w_loc, beta, detach_weight
    )


def ggiou_balanced_loss(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    pred_boxes: Tensor,
    target_boxes: Tensor,
    reduction: str = "none",
    gamma: float = 1.4,
    w_loc: float = 1.0,
    beta: float = 1.0,
    alpha: float = 0.3,
    sigma: float = 1 / 6,
    detach_weight: bool = True,
) -> Tensor:
    """GGIoU-balanced localisation: ``w_loc GGIoU^gamma smooth_l1(x)`` (GGIoU paper, Eq. 5-6).

    Arguments as in `iou_balanced_loss`; ``alpha`` and ``sigma`` are `ggiou`'s alpha and beta.
    """
    overlap = ggiou(*paired_boxes(pred_boxes, target_boxes), alpha, sigma)
    return _overlap_balanced(
        pred_deltas, target_deltas, overlap, reduction, gamma, w_loc, beta, detach_weight
    )


def _overlap_balanced(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    overlap: Tensor,
    reduction: str,
    gamma: float,
    w_loc: float,
    beta: float,
    detach_weight: bool,
) -> Tensor:
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    weight = w_loc * _power(overlap, gamma)[:, None]
    weight = weight.detach() if detach_weight else weight
    loss = F.smooth_l1_loss(pred_deltas, target_deltas, reduction="none", beta=beta)
    return reduce_loss(weight * loss, reduction, pred_deltas)


def carl_loss(
    pred_deltas: Tensor,
    target_deltas: Tensor,
    class_scores: Tensor,
    reduction: str = "none",
    gamma: float = 1.0,
    bias: float = 0.2,
    beta: float = 1.0,
) -> Tensor:
    """Classification-aware regression loss (thesis Eq. 3.20): ``c'_i smooth_l1(x_i)``, elementwise.

    Args:
        pred_deltas: [N, 4] encoded deltas.
        target_deltas: [N, 4].
        class_scores: [N] probabilities of the ground-truth classes; they get a gradient.
        reduction: "none", "mean" or "sum".
        gamma: see `carl_weights`.
        bias: see `carl_weights`.
        beta: of smooth L1.
    """
    check_same_shape(pred_deltas, target_deltas, "pred_deltas and target_deltas")
    if class_scores.shape != pred_deltas.shape[:1]:
        raise InputError(
            f"class_scores must be [{len(pred_deltas)}], got {list(class_scores.shape)}"
        )
    loss = F.smooth_l1_loss(pred_deltas, target_deltas, reduction="none", beta=beta)
    return reduce_loss(
        carl_weights(class_scores, gamma, bias)[:, None] * loss, reduction, pred_deltas
    )
