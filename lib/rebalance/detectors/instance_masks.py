"""Masks of the whole canvas: sums of an image's prototypes, weighted by a candidate's coefficients.

YOLACT (Bolya et al., ICCV 2019, section 3.1) cuts them to the box. SOLOv2 (Wang et al., NeurIPS
2020) does not; its kernels are coefficients and its mask feature is prototypes.
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from rebalance.boxes import box_sizes
from rebalance.detectors.canvas import Size
from rebalance.detectors.masks import resized_masks
from rebalance.detectors.types import Matched

OUTSIDE = -100.0
"""Logit outside a box: the probability is 0, and a wrong one costs 100, torch's limit of a log."""


class Owners(NamedTuple):
    """Which of a step's candidates learn which mask; a candidate may learn several.

    Attributes:
        places: [Q] int64 among the M that take part, those of one image together, images in order.
        gt: [Q] int64 into the ground truths.
    """

    places: Tensor
    gt: Tensor


class MaskMatched(Matched):
    """Candidates with coefficients beside their targets, images with prototypes beside theirs.

    Masks have a row for each owner, which need not be each positive.

    Args:
        matched: what is known without masks.
        owners: who learns which mask.
        canvas: (height, width) of the batch.
        cut: masks are cut to the boxes of their ground truths, widened by a cell (YOLACT).
        at_half: whether a cell of which just half belongs to an object is the object's.
    """

    def __init__(
        self, matched: Matched, owners: Owners, canvas: Size, *, cut: bool, at_half: bool
    ) -> None:
        super().__init__(
            matched.predictions,
            matched.candidates,
            matched.truths,
            matched.matches,
            matched.coder,
            taken=True,
            given=matched.given,
        )
        self.owners, self.canvas, self.cut, self.at_half = owners, canvas, cut, at_half

    @property
    def num_masks(self) -> int:
        """Q."""
        return len(self.owners.gt)

    @cached_property
    def mask_logits(self) -> Tensor:
        """[Q, h, w] of the whole canvas."""
        prototypes = self.predictions.shared["prototypes"]
        places = self.owners.places
        logits = combine(
            self.predictions.extra["coefficients"][places], prototypes, self.image[places]
        )
        if not self.cut:
            return logits
        boxes = self.truths.boxes[self.owners.gt]
        return cut_to_boxes(logits, boxes, self.canvas, OUTSIDE)

    @cached_property
    def mask_targets(self) -> Tensor:
        """[Q, h, w] in {0, 1}: the ground truths' masks, resized bilinearly."""
        height, width = self.predictions.shared["prototypes"].shape[-2:]
        return self._resized_truths((height, width))[self.owners.gt]

    @cached_property
    def box_shares(self) -> Tensor:
        """[Q] which part of its image each mask's ground truth box covers, in (0, 1]."""
        areas = box_sizes(self.truths.boxes[self.owners.gt]).prod(dim=1)
        sizes = [height * width for height, width in self.truths.sizes]
        return areas / areas.new_tensor(sizes)[self.truths.image[self.owners.gt]]

    @property
    def semantic(self) -> Tensor:
        """[B, C, h, w] logits of each class at each cell."""
        return self.predictions.shared["semantic"]

    @cached_property
    def semantic_targets(self) -> Tensor:
        """[B, C, h, w] in {0, 1}: the cells that masks of each class cover together."""
        batch, classes, height, width = self.semantic.shape
        channels = self.truths.image * classes + self.truths.labels - 1
        masks = self._resized_truths((height, width))
        targets = masks.new_zeros(batch * classes, height, width).index_add(0, channels, masks)
        return targets.clamp(max=1).unflatten(0, (batch, classes))

    @cached_property
    def has_objects(self) -> Tensor:
        """[B] bool, images with a ground truth."""
        return torch.tensor(self.truths.counts, device=self.truths.image.device) > 0

    def _resized_truths(self, size: Size) -> Tensor:
        """[G, h, w] in {0, 1}."""
        assert self.truths.masks is not None
        masks = self.truths.masks[:, None].float()
        if not len(masks):
            return masks.new_zeros(0, *size)
        masks = functional.interpolate(masks, size, mode="bilinear")[:, 0]
        return (masks >= 0.5 if self.at_half else masks > 0.5).float()


def combine(coefficients: Tensor, prototypes: Tensor, image: Tensor) -> Tensor:
    """[Q, D] coefficients, sorted by [Q] image, and [B, D, h, w] prototypes -> [Q, h, w] logits."""
    counts = torch.bincount(image, minlength=len(prototypes)).tolist()
    parts = [
        torch.einsum("qd,dhw->qhw", own.to(of_image.dtype), of_image)
        for own, of_image in zip(coefficients.split(counts), prototypes, strict=True)
    ]
    return torch.cat(parts).float()


def cut_to_boxes(masks: Tensor, boxes: Tensor, canvas: Size, outside: float) -> Tensor:
    """Masks with a value of ``outside`` beyond their boxes, widened by a cell (YOLACT, 3.1).

    A cell is within if its index (its top left corner) is.

    Args:
        masks: [Q, h, w] of the whole canvas.
        boxes: [Q, 4] xyxy, pixels.
        canvas: (height, width), pixels.
        outside: the value.
    """
    limits = masks.new_tensor([masks.shape[2], masks.shape[1]])
    corners = boxes.view(-1, 2, 2) / limits.new_tensor([canvas[1], canvas[0]]) * limits
    low, high = corners[:, 0] - 1, corners[:, 1] + 1
    within = []
    for axis, cells in enumerate((masks.shape[2], masks.shape[1])):
        cell = torch.arange(cells, device=masks.device)
        within.append((cell >= low[:, axis, None]) & (cell < high[:, axis, None]))
    inside = within[0][:, None, :] & within[1][:, :, None]
    return torch.where(inside, masks, outside)


def boxes_around(masks: Tensor, canvas: Size, size: Size, threshold: float) -> Tensor:
    """The smallest boxes around masks, as ``resize_masks`` makes them; zeros for an empty one.

    Args:
        masks: [Q, h, w] probabilities, each of the whole canvas.
        canvas: (height, width), pixels.
        size: (height, width) of the image on it.
        threshold: of the probabilities.

    Returns:
        [Q, 4] xyxy, pixels.
    """
    parts = list(resized_masks(masks, size, threshold, (canvas, size)))
    if not parts:
        return masks.new_zeros(0, 4)
    covered = [torch.cat([part.any(dim=axis) for part in parts]) for axis in (1, 2)]  # x, y
    low = [cells.byte().argmax(dim=1) for cells in covered]
    high = [cells.shape[1] - cells.byte().flip(1).argmax(dim=1) for cells in covered]
    boxes = torch.stack(low + high, dim=1).to(masks.dtype)
    return torch.where(covered[0].any(dim=1)[:, None], boxes, 0)
