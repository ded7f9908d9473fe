"""Where the RoIs that a stage trains on come from.

Every source is called as ``source(proposals, gt_boxes, rng=...)`` for one image and returns [N, 4]
RoIs: first all proposals in their order, then its own. Other keyword parameters are options.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rebalance.lookup import bind_options

RoiSource = Callable[..., Tensor]


def rois_from_proposals(
    proposals: Tensor,
    gt_boxes: Tensor,
    *,
    rng: torch.Generator,
    add_ground_truth: bool = True,
) -> Tensor:
    """The proposals themselves.

    Args:
        proposals: [R, 4] xyxy, of the region proposal network or refined by the stage before.
        gt_boxes: [G, 4] xyxy.
        rng: not used by this source.
        add_ground_truth: append the ground truths, so that there are positives from the start.
    """
    return torch.cat([proposals, gt_boxes]) if add_ground_truth else proposals


ROI_SOURCES: dict[str, RoiSource] = {
    "rpn": rois_from_proposals,
}


def make_roi_source(name: str, **options: Any) -> RoiSource:
    """The source of that name with its options bound; unknown name or option: InputError."""
    return bind_options("roi_source", ROI_SOURCES, name, options)
