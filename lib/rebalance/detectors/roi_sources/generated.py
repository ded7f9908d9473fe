"""Positive RoIs from the generator in place of the proposals' (bbgen, section 5 and Fig. 7)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rebalance.assigners.overlaps import pairwise_iou
from rebalance.detectors.roi_sources.rois import Rois
from rebalance.errors import InputError
from rebalance.generators import IOU_PRESETS, IouPreset, generate_positive_rois


def rois_from_generator(
    proposals: Tensor,
    target: Mapping[str, Any],
    *,
    rng: torch.Generator,
    iou: float,
    preset: str | None = None,
    iou_bins: Sequence[float] | Sequence[tuple[float, float]] | None = None,
    bin_weights: Sequence[float] | None = None,
    num_rois: int = 32,
    foreground_balanced: bool = True,
) -> Rois:
    """Proposals that are no positives, and generated RoIs that are.

    Proposals that overlap a ground truth by ``iou`` or more are left out: they would be positives.
    So are generated RoIs below ``iou``, which there are only where the bins or the image's border
    (see ``PositiveRois``) let them be: they would be negatives. A generated RoI is assigned as any
    other, so where objects overlap it can belong to another one than it was made for.

    Args:
        proposals: [R, 4] xyxy.
        target: "boxes" [G, 4] xyxy with area, "labels" [G] and "image_size" are read.
        rng: source of all randomness.
        iou: the stage's least IoU of a positive.
        preset: distribution of the IoU, a name in ``IOU_PRESETS``; or
        iou_bins: and
        bin_weights: of ``generate_positive_rois``.
        num_rois: to generate per image; a sampler may keep fewer.
        foreground_balanced: equally over the classes of the image, then over their objects.

    Raises:
        InputError: not exactly one of preset and bins with weights, an unknown preset, bad bins.
    """
    bins, weights = _distribution(preset, iou_bins, bin_weights)
    gt_boxes = target["boxes"]
    generated = generate_positive_rois(
        gt_boxes,
        target["labels"],
        num_rois,
        bins,
        weights,
        target["image_size"],
        foreground_balanced,
        rng,
        validate=False,  # the loader has refused boxes without area, the assigner refuses nan
    )
    if len(gt_boxes):
        proposals = proposals[pairwise_iou(proposals, gt_boxes).amax(dim=1) < iou]
    boxes = generated.boxes[generated.ious >= iou].to(proposals.dtype)
    return Rois(torch.cat([proposals, boxes]), len(proposals))


def _distribution(
    preset: str | None,
    iou_bins: Sequence[float] | Sequence[tuple[float, float]] | None,
    bin_weights: Sequence[float] | None,
) -> IouPreset:
    if preset is None and iou_bins is not None and bin_weights is not None:
        return IouPreset(tuple(iou_bins), tuple(bin_weights))  # type: ignore[arg-type]
    if preset is None or iou_bins is not None or bin_weights is not None:
        raise InputError(
            "roi_source 'generator' needs either preset or both iou_bins and bin_weights, got "
            f"preset {preset!r}, iou_bins {iou_bins!r}, bin_weights {bin_weights!r}"
        )
    if preset not in IOU_PRESETS:
        raise InputError(
            f"roi_source 'generator': preset must be one of {list(IOU_PRESETS)}, got {preset!r}"
        )
    return IOU_PRESETS[preset]
