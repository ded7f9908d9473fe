"""RoIs as usual: the proposals, and the ground truths among them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rebalance.detectors.roi_sources.rois import Rois


def rois_from_proposals(
    proposals: Tensor,
    target: Mapping[str, Any],
    *,
    rng: torch.Generator,
    iou: float,
    add_ground_truth: bool = True,
) -> Rois:
    """The proposals themselves.

    Args:
        proposals: [R, 4] xyxy, of the region proposal network or refined by the stage before.
        target: "boxes" [G, 4] xyxy is read.
        rng: not used by this source.
        iou: not used by this source.
        add_ground_truth: append the ground truths, so that there are positives from the start.
    """
    if not add_ground_truth:
        return Rois(proposals, len(proposals))
    return Rois(torch.cat([proposals, target["boxes"]]), len(proposals), has_truths=True)
