"""The overlap functions an assigner can be given by name: pairwise, [N, 4] and [G, 4] -> [N, G]."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from rebalance.config.options import overlaps as options_of
from rebalance.config.parse import parse

Overlap = Callable[[Tensor, Tensor], Tensor]


def pairwise_iou(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """[N, G] IoU; 0 for two boxes without area, where torchvision's is nan.

    Held as [G, N]: there are far more boxes than ground truths, so the long axis is the inner one.
    """
    x1, y1, x2, y2 = boxes.T.contiguous()
    gt_x1, gt_y1, gt_x2, gt_y2 = gt_boxes.T[:, :, None]
    width = (torch.minimum(x2, gt_x2) - torch.maximum(x1, gt_x1)).clamp_(min=0)
    height = (torch.minimum(y2, gt_y2) - torch.maximum(y1, gt_y1)).clamp_(min=0)
    inter = width.mul_(height)
    union = (x2 - x1) * (y2 - y1) + (gt_x2 - gt_x1) * (gt_y2 - gt_y1) - inter
    # Without a union there is no intersection either: 0 / tiny.
    return inter.div_(union.clamp_(min=torch.finfo(union.dtype).tiny)).T


def make_overlap(overlap: str | Mapping[str, Any] | Overlap) -> Overlap:
    """An overlap function from its name, from ``{name: ..., options}`` or from itself.

    Raises:
        InputError: unknown name or option, or a mapping without a name.
    """
    if isinstance(overlap, str):
        overlap = {"name": overlap}
    if isinstance(overlap, Mapping):
        return parse(options_of.Overlap, overlap, "overlap").bind()
    return overlap
