"""What every assigner does with its input before, and with its answer after, its own rule."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment
from rebalance.checks import check_boxes
from rebalance.errors import InputError


def check_scene(
    boxes: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    image: int | str | None = None,
    validate: bool = True,
) -> None:
    """Refuse shapes, dtypes and coordinates that no assigner can answer for.

    Boxes outside the image, boxes of zero area and empty tensors are fine.

    Args:
        boxes: [N, 4] xyxy, pixels, float.
        gt_boxes: [G, 4].
        gt_labels: [G] int64, 1 ... C.
        image: how messages name the image; None leaves it out.
        validate: False leaves the coordinates unchecked, because checking waits for the device.

    Raises:
        InputError: a wrong shape; a nan, infinite or inverted box, named by its position.
        TypeError: boxes that are not floating point, labels that are not int64.
    """
    if gt_labels.dtype != torch.int64:
        raise TypeError(f"gt_labels must be int64, got {gt_labels.dtype}")
    if gt_labels.shape != gt_boxes.shape[:1]:
        raise InputError(
            f"gt_labels must have one label per ground truth, got {list(gt_labels.shape)} labels "
            f"and {list(gt_boxes.shape)} boxes"
        )
    if validate:
        check_boxes(boxes, "box", image)
        check_boxes(gt_boxes, "ground truth", image)


def check_level_sizes(boxes: Tensor, level_sizes: Sequence[int] | None) -> list[int]:
    """The number of boxes of each level; all on one when there is none given.

    Raises:
        InputError: the sizes do not add up to the number of boxes.
    """
    sizes = [len(boxes)] if level_sizes is None else list(level_sizes)
    if sum(sizes) != len(boxes):
        raise InputError(f"level_sizes must add up to {len(boxes)} boxes, got {sizes}")
    return sizes


def finish_assignment(
    gt_idxs: Tensor,
    overlaps: Tensor,
    boxes: Tensor,
    gt_labels: Tensor,
    ignored_boxes: Tensor | None,
    ignore_iof: float,
) -> Assignment:
    """Add the labels, and turn negatives inside an ignored region into ``IGNORED``.

    A box that belongs to a ground truth keeps it, wherever it lies: the regions say where
    unannotated objects may be, not that the annotated ones are wrong.

    Args:
        gt_idxs: [N] int64, index, ``NEGATIVE`` or ``IGNORED``.
        overlaps: [N] float.
        boxes: [N, 4] xyxy.
        gt_labels: [G] int64.
        ignored_boxes: [K, 4] crowd or difficult regions, or None.
        ignore_iof: intersection over the box's own area from which a negative is ignored.
    """
    if ignored_boxes is not None and len(ignored_boxes) and len(boxes):
        covered = pairwise_iof(boxes, ignored_boxes).amax(dim=1) >= ignore_iof
        gt_idxs = torch.where(covered & (gt_idxs < 0), IGNORED, gt_idxs)
    if len(gt_labels):
        labels = torch.where(gt_idxs >= 0, gt_labels[gt_idxs.clamp(min=0)], 0)
    else:
        labels = torch.zeros_like(gt_idxs)
    return Assignment(gt_idxs, overlaps, labels)


def assign_nothing(
    boxes: Tensor, gt_labels: Tensor, ignored_boxes: Tensor | None, ignore_iof: float
) -> Assignment:
    """Every box negative (or ignored): the answer when there are no ground truths or no boxes."""
    gt_idxs = torch.full((len(boxes),), NEGATIVE, dtype=torch.int64, device=boxes.device)
    overlaps = torch.zeros(len(boxes), dtype=torch.float32, device=boxes.device)
    return finish_assignment(gt_idxs, overlaps, boxes, gt_labels, ignored_boxes, ignore_iof)


def pairwise_iof(boxes: Tensor, regions: Tensor) -> Tensor:
    """[N, K] intersection over the area of the box; 0 for a box without area."""
    corner_min = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    corner_max = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inter = (corner_max - corner_min).clamp(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)[:, None]
    return torch.where(area > 0, inter / area, 0.0)
