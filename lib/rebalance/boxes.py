"""Overlaps of boxes that torchvision.ops lacks: paired IoU and Gaussian Guided IoU.

Boxes are [N, 4] xyxy corners in pixels with x1 <= x2 and y1 <= y2.
"""

import torch
from torch import Tensor

from rebalance.errors import InputError


def paired_boxes(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """The two sets in float64, once it is certain that they are paired row by row.

    Double precision keeps ``1 - IoU`` of nearly perfect boxes accurate to float32 resolution; only
    positives are paired, so its cost does not show.

    Raises:
        InputError: the shapes are not [N, 4] twice.
        TypeError: a tensor that is not floating point.
    """
    if boxes1.ndim != 2 or boxes1.shape[-1] != 4 or boxes1.shape != boxes2.shape:
        raise InputError(
            "pred_boxes and target_boxes must be paired row by row as [N, 4], "
            f"got {list(boxes1.shape)} and {list(boxes2.shape)}"
        )
    check_floating("pred_boxes", boxes1)
    check_floating("target_boxes", boxes2)
    return boxes1.double(), boxes2.double()


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise TypeError unless ``tensor`` is floating point."""
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}")


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """``numerator / denominator``; 0, with gradient 0, where the denominator is not positive."""
    defined = denominator > 0
    return torch.where(defined, numerator / torch.where(defined, denominator, 1), 0)


def box_sizes(boxes: Tensor) -> Tensor:
    """[..., 2]: width and height of [..., 4] boxes."""
    return boxes[..., 2:] - boxes[..., :2]


def box_centers(boxes: Tensor) -> Tensor:
    """[..., 2]: x and y of the centres of [..., 4] boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """How central points lie in boxes (FCOS, Tian et al., ICCV 2019, Eq. 3), [P] in [0, 1].

    1 at the centre, 0 on the border and outside.

    Args:
        points: [P, 2] x and y.
        boxes: [P, 4].
    """
    sides = torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], dim=1).clamp(min=0)
    near, far = torch.aminmax(sides.view(-1, 2, 2), dim=1)
    return ratio(near, far).prod(dim=1).sqrt()


def overlap_sizes(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """[..., 2]: width and height of the intersections, 0 where there is none."""
    top_left = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    return (bottom_right - top_left).clamp(min=0)


def enclosing_sizes(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """[..., 2]: width and height of the smallest boxes around both."""
    top_left = torch.minimum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.maximum(boxes1[..., 2:], boxes2[..., 2:])
    return bottom_right - top_left


def inter_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of the intersection and of the union of [..., 4] boxes that broadcast, px^2."""
    inter = overlap_sizes(boxes1, boxes2).prod(-1)
    return inter, box_sizes(boxes1).prod(-1) + box_sizes(boxes2).prod(-1) - inter


def paired_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU in [0, 1] of boxes that broadcast against each other on all but the last axis.

    Two boxes without area have IoU 0. ``paired_iou(a, b)`` of [N, 4] boxes is [N];
    ``paired_iou(a[:, None], b)`` is pairwise (torchvision's ``box_iou`` without the 0 / 0).
    """
    return ratio(*inter_union(boxes1, boxes2))


def ggiou(boxes1: Tensor, boxes2: Tensor, alpha: float = 0.3, beta: float = 1 / 6) -> Tensor:
    """Gaussian Guided IoU of boxes paired row by row (GGIoU paper, Eq. 2-4).

    Args:
        boxes1: [N, 4] xyxy, pixels, float.
        boxes2: [N, 4].
        alpha: share of the centre distance in the product, in [0, 1]; 0 gives IoU.
        beta: standard deviation of the Gaussian in widths and heights of the overlap, > 0.

    Returns:
        [N] in [0, 1], higher is better, 0 without overlap; differentiable.
    """
    return _ggiou(*paired_boxes(boxes1, boxes2), alpha, beta).to(boxes1.dtype)


def pairwise_ggiou(
    boxes1: Tensor,
    boxes2: Tensor,
    alpha: float = 0.3,
    beta: float = 1 / 6,
    sigma_from: str = "overlap",
) -> Tensor:
    """Gaussian Guided IoU of every box of ``boxes1`` with every one of ``boxes2``.

    Args:
        boxes1: [N, 4] xyxy, pixels, float.
        boxes2: [M, 4]; the ground truths, for an assigner.
        alpha: see `ggiou`.
        beta: see `ggiou`.
        sigma_from: whose width and height ``beta`` is measured in: "overlap" (Eq. 3) or "boxes2"
            (the variant of the paper's Table 1).

    Returns:
        [N, M] in [0, 1].
    """
    if sigma_from not in ("overlap", "boxes2"):
        raise InputError(f"sigma_from must be 'overlap' or 'boxes2', got {sigma_from!r}")
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        check_floating(name, boxes)
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise InputError(f"{name} must be [N, 4], got {list(boxes.shape)}")
    return _ggiou(boxes1[:, None], boxes2[None], alpha, beta, sigma_from)


def _ggiou(
    boxes1: Tensor, boxes2: Tensor, alpha: float, beta: float, sigma_from: str = "overlap"
) -> Tensor:
    if not 0 <= alpha <= 1 or beta <= 0:
        raise InputError(f"alpha must be in [0, 1] and beta > 0, got {alpha} and {beta}")
    measure = overlap_sizes(boxes1, boxes2) if sigma_from == "overlap" else box_sizes(boxes2)
    sigma = beta * measure  # Eq. 3
    distance = box_centers(boxes1) - box_centers(boxes2)
    exponent = ratio(distance.square(), sigma.square()).sum(-1) / 2  # Eq. 2: Dc = exp(-exponent)
    iou = paired_iou(boxes1, boxes2)
    overlapping = iou > 0
    # The inner `where` keeps the infinite slope of IoU^(1 - alpha) at 0 out of the gradient.
    power = torch.where(overlapping, iou, 1).pow(1 - alpha)
    return torch.where(overlapping, power * torch.exp(-alpha * exponent), 0)  # Eq. 4
