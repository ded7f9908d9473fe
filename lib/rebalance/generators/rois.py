"""The positive RoI generator: RoIs of a wanted class and IoU distribution (bbgen, Alg. 2)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.boxes import paired_iou
from rebalance.checks import check_boxes
from rebalance.errors import InputError
from rebalance.generators.boxes import Proposal, generate_boxes
from rebalance.rng import uniform

LARGEST_MIN_IOU = 0.95
"""Thresholds above are cut to it, as in the paper (appendix 3.2)."""


class IouPreset(NamedTuple):
    """Distribution of the thresholds that a generated RoI must reach.

    Attributes:
        bins: a lower edge each, the upper one being the next lower edge (1 for the last), or
            (lower, upper) pairs.
        weights: of the bins; only their ratios count.
    """

    bins: tuple[float, ...] | tuple[tuple[float, float], ...]
    weights: tuple[float, ...]


_BINS = (0.5, 0.6, 0.7, 0.8, 0.9)

# bbgen Table 9. The left-skew weights are printed with a sum of 1.05 and are normalised on use, as
# the multinomial draw of the published code does.
IOU_PRESETS: dict[str, IouPreset] = {
    "right_skew": IouPreset(_BINS, (0.02, 0.10, 0.20, 0.30, 0.38)),
    "uniform": IouPreset(_BINS, (0.33, 0.17, 0.18, 0.17, 0.15)),
    "left_skew": IouPreset(_BINS, (0.73, 0.12, 0.15, 0.05, 0.0)),
    # No bins: T = 0.5 for every box.
    "base_0.5": IouPreset(((0.5, 0.5),), (1.0,)),
    # The balanced sources for training at a higher IoU (bbgen Table 4).
    "uniform_0.5": IouPreset(_BINS, (0.33, 0.17, 0.18, 0.17, 0.15)),
    "uniform_0.6": IouPreset(_BINS, (0.0, 0.38, 0.20, 0.22, 0.20)),
    "uniform_0.7": IouPreset(_BINS, (0.0, 0.0, 0.48, 0.25, 0.27)),
    "uniform_0.8": IouPreset(_BINS, (0.0, 0.0, 0.0, 0.64, 0.36)),
    "uniform_0.9": IouPreset(_BINS, (0.0, 0.0, 0.0, 0.0, 1.0)),
}


class PositiveRois(NamedTuple):
    """Generated RoIs, ordered by the class and then the index of their ground truth.

    Attributes:
        boxes: [R, 4] xyxy, within the image.
        labels: [R] int64, class of the ground truth.
        gt_idxs: [R] int64, its index.
        ious: [R] float64, IoU with it after clamping. A ground truth inside the image is met with
            at least the drawn threshold: clamping moves corners towards it. For one that reaches
            over the border the IoU can fall below, to 0 when it lies outside altogether.
    """

    boxes: Tensor
    labels: Tensor
    gt_idxs: Tensor
    ious: Tensor


def generate_positive_rois(
    gt_boxes: Tensor,
    gt_labels: Tensor,
    num_rois: int,
    iou_bins: Sequence[float] | Sequence[tuple[float, float]],
    bin_weights: Sequence[float],
    image_size: tuple[int, int],
    foreground_balanced: bool = True,
    rng: torch.Generator | None = None,
    *,
    proposal: Proposal | None = None,
    validate: bool = True,
    image: int | str | None = None,
) -> PositiveRois:
    """``num_rois`` RoIs around the ground truths, none when there is no ground truth with area.

    With ``foreground_balanced`` the RoIs are divided equally over the classes present and then over
    the ground truths of a class, otherwise equally over the ground truths; where that does not come
    out even, chance decides who gets one more, and every share is rounded up or down, never more.
    The threshold of each RoI is uniform within a bin drawn by weight, and cut to 0.95.

    Args:
        gt_boxes: [G, 4] xyxy, float32 or float64. One without area gets no RoIs.
        gt_labels: [G] int64, 1 ... C.
        num_rois: R, 0 or more.
        iou_bins: lower edges, ascending, or (lower, upper) pairs; see ``IouPreset``.
        bin_weights: one per bin, 0 or more, not all 0.
        image_size: height and width that the RoIs are clamped to, pixels.
        foreground_balanced: see above.
        rng: source of all randomness; None is torch's default generator.
        proposal: spatial distribution of the corners, see ``generate_boxes``.
        validate: False promises finite boxes with area and waits for no device.
        image: how messages name the image.

    Raises:
        InputError: a nan, infinite or inverted ground truth (image and box are named), bad bins or
            weights, a wrong shape.
        TypeError: boxes that are not float32 or float64, labels that are not int64.
    """
    if gt_labels.dtype != torch.int64:
        raise TypeError(f"gt_labels must be int64, got {gt_labels.dtype}")
    if gt_boxes.dim() != 2 or gt_boxes.shape[1] != 4 or gt_labels.shape != gt_boxes.shape[:1]:
        raise InputError(
            "gt_boxes and gt_labels must be [G, 4] and [G], "
            f"got {list(gt_boxes.shape)} and {list(gt_labels.shape)}"
        )
    if num_rois < 0:
        raise InputError(f"num_rois must be 0 or more, got {num_rois}")
    bins, weights = _check_bins(iou_bins, bin_weights)
    with_area = (gt_boxes[:, 2:] > gt_boxes[:, :2]).all(1)
    if validate:
        check_boxes(gt_boxes, "ground truth", image)
        if not bool(with_area.any()):
            num_rois = 0
    if len(gt_boxes) == 0:
        num_rois = 0
    if rng is None:
        rng = torch.default_generator

    device = gt_boxes.device
    numbers = uniform((2, num_rois), rng, device)
    start = uniform((1,), rng, device)
    gt_idxs = _allocate(gt_labels, with_area, num_rois, foreground_balanced, start)
    min_ious = _draw_thresholds(numbers[0], numbers[1], bins, weights)
    references = gt_boxes[gt_idxs]
    boxes = generate_boxes(references, min_ious, rng, proposal=proposal, validate=False)
    height, width = image_size
    x, y = boxes.view(-1, 2, 2).unbind(2)
    boxes = torch.stack([x.clamp(0, width), y.clamp(0, height)], dim=2).flatten(1)
    ious = paired_iou(boxes.double(), references.double())
    return PositiveRois(boxes, gt_labels[gt_idxs], gt_idxs, ious)


def _allocate(
    gt_labels: Tensor, with_area: Tensor, num_rois: int, foreground_balanced: bool, start: Tensor
) -> Tensor:
    """[R] ground truth of each RoI, by systematic sampling of the ground truths' shares.

    The shares are laid end to end with the classes together, and R points one R-th apart, from a
    random start, pick whom they fall on. So each ground truth and each class gets its share rounded
    up or down, and exactly its share on average.
    """
    if num_rois == 0:
        return gt_labels.new_zeros(0)
    order = torch.argsort(gt_labels, stable=True)
    share = with_area[order].double()
    if foreground_balanced:
        labels = gt_labels[order]
        same_label = (labels[:, None] == labels[None]).double()
        share = share / (same_label @ share).clamp(min=1)
    ends = share.cumsum(0)
    points = (torch.arange(num_rois, device=gt_labels.device) + start) / num_rois
    # Rounding must not push a point to the very end, past the last ground truth with a share.
    picked = torch.searchsorted(ends / ends[-1], points.clamp(max=1 - 1e-12), right=True)
    return order[picked.clamp(max=len(order) - 1)]


def _draw_thresholds(
    which: Tensor, where: Tensor, bins: tuple[tuple[float, float], ...], weights: tuple[float, ...]
) -> Tensor:
    """[R] thresholds from two uniform numbers each: the bin and the place in it."""
    lower, upper, ends = _on_device(_bin_table(bins, weights), which.device)
    chosen = torch.searchsorted(ends, which, right=True).clamp(max=len(bins) - 1)
    return torch.lerp(lower[chosen], upper[chosen], where).clamp(max=LARGEST_MIN_IOU)


def _check_bins(
    iou_bins: Sequence[float] | Sequence[tuple[float, float]], bin_weights: Sequence[float]
) -> tuple[tuple[tuple[float, float], ...], tuple[float, ...]]:
    edges = [bin_ if isinstance(bin_, Sequence) else (float(bin_), None) for bin_ in iou_bins]
    pairs = []
    for position, (lower, upper) in enumerate(edges):
        if upper is None:
            upper = edges[position + 1][0] if position + 1 < len(edges) else 1.0
        pairs.append((float(lower), float(upper)))
    if not pairs or any(not 0 < lower <= upper <= 1 for lower, upper in pairs):
        raise InputError(f"iou_bins must be ascending within (0, 1], got {list(iou_bins)}")
    weights = tuple(float(weight) for weight in bin_weights)
    if len(weights) != len(pairs):
        raise InputError(
            f"bin_weights must be one per bin, got {len(weights)} weights and {len(pairs)} bins"
        )
    if any(not weight >= 0 for weight in weights) or not 0 < sum(weights) < float("inf"):
        raise InputError(f"bin_weights must be 0 or more and not all 0, got {list(weights)}")
    return tuple(pairs), weights


def _bin_table(
    bins: tuple[tuple[float, float], ...], weights: tuple[float, ...]
) -> tuple[tuple[float, ...], ...]:
    """Lower edges, upper edges and cumulative normalised weights."""
    ends, total = [], 0.0
    for weight in weights:
        total += weight
        ends.append(total)
    lower, upper = zip(*bins, strict=True)
    # A last bin of weight 0 must not catch a number that rounding leaves above the last end.
    return lower, upper, tuple(1.0 if end == total else end / total for end in ends)


@lru_cache(maxsize=64)
def _on_device(rows: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """A small constant; made once per device, because copying it there waits for the device."""
    return torch.tensor(rows, dtype=torch.float64, device=device)
