"""Matrix NMS of masks."""

import torch
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.detectors.select.grouping import by_falling_score
from rebalance.errors import InputError

KERNELS = ("gaussian", "linear")


def matrix_nms(
    masks: Tensor,
    scores: Tensor,
    groups: Tensor,
    *,
    kernel: str = "gaussian",
    sigma: float = 2.0,
    pre_nms: int | None = 500,
    threshold: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """Matrix NMS: the decay that soft-NMS would come to, estimated for all masks at once.

    Wang et al., "SOLOv2: Dynamic and Fast Instance Segmentation", NeurIPS 2020, "Matrix NMS":
    mask j keeps the share min over better masks i of its class of f(IoU_ij) / f(IoU_.i), where
    IoU_.i is the largest IoU of i with a mask better than i, f(x) = 1 - x or exp(-sigma x^2)
    (the paper writes exp(-x^2 / sigma); the published code multiplies, with sigma 2).

    With the linear kernel a mask i that equals a better one has f = 0 and the published share is
    0 / 0 or infinite; here it decays nothing, as the better one does already.

    Args:
        masks: [K, h, w] bool, all of one size; those of one image, as their number asks for memory.
        scores: [K].
        groups: [K] int64, the class.
        kernel: "gaussian" or "linear".
        sigma: of the Gaussian kernel, > 0.
        pre_nms: best masks of the call, over all groups, that take part; None: all.
        threshold: masks whose score falls below are dropped.

    Returns:
        rows [R] int64 and decayed scores [R], falling.

    Raises:
        InputError: unknown kernel, sigma not above 0.
    """
    if kernel not in KERNELS:
        raise InputError(f"kernel of matrix_nms must be one of {list(KERNELS)}, got {kernel!r}")
    if sigma <= 0:
        raise InputError(f"sigma of matrix_nms must be > 0, got {sigma}")
    order = scores.argsort(descending=True, stable=True)[:pre_nms]
    if not len(order):
        return order, scores[order]
    same = groups[order, None] == groups[order]
    overlaps = (_pairwise_mask_iou(masks[order]) * same).triu(1)  # [better, worse]
    of_better = overlaps.amax(0)[:, None]
    if kernel == "gaussian":
        shares = (sigma * (of_better.square() - overlaps.square()).amin(0)).exp()
    else:
        shares = torch.where(of_better < 1, (1 - overlaps) / (1 - of_better), torch.inf).amin(0)
    decayed = scores[order] * shares
    stays = decayed >= threshold
    return by_falling_score(order[stays], decayed[stays])


def _pairwise_mask_iou(masks: Tensor) -> Tensor:
    """[K, h, w] bool -> [K, K] IoU; two empty masks have 0."""
    # Half precision would round numbers of pixels, and ends at 65,504 of them.
    with torch.autocast(masks.device.type, enabled=False):
        flat = masks.flatten(1).float()
        inter = flat @ flat.T
    areas = inter.diagonal()
    return ratio(inter, areas[:, None] + areas - inter)
