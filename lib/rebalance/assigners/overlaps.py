"""The overlap functions an assigner can be given by name: pairwise, [N, 4] and [G, 4] -> [N, G]."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torchvision.ops import box_iou

from rebalance.errors import InputError
from rebalance.lookup import bind_options

Overlap = Callable[[Tensor, Tensor], Tensor]


def pairwise_iou(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """[N, G] IoU; 0 for two boxes without area, where torchvision's is nan."""
    return box_iou(boxes, gt_boxes).nan_to_num(0.0)


OVERLAPS: dict[str, Callable[..., Tensor]] = {
    "iou": pairwise_iou,
}


def make_overlap(overlap: str | Mapping[str, Any] | Overlap) -> Overlap:
    """An overlap function from its name, from ``{name: ..., options}`` or from itself.

    Raises:
        InputError: unknown name or option, or a mapping without a name.
    """
    if isinstance(overlap, str):
        return bind_options("overlap", OVERLAPS, overlap, {})
    if isinstance(overlap, Mapping):
        options = dict(overlap)
        if "name" not in options:
            raise InputError(f"overlap must have a name, one of {sorted(OVERLAPS)}, got {overlap}")
        return bind_options("overlap", OVERLAPS, options.pop("name"), options)
    return overlap
