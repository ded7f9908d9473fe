"""Dynamic R-CNN: a stage's IoU threshold and box loss follow the quality of its proposals."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rebalance.assigners.overlaps import pairwise_iou
from rebalance.detectors.types import Candidates, Truths
from rebalance.distributed import gather_rows, world_mean, world_size
from rebalance.errors import InputError


class Dynamic(nn.Module):
    """What a box step has seen in its last iterations, and the two settings that follow from it.

    Zhang et al., "Dynamic R-CNN", ECCV 2020, Algorithm 1, and its published code, where the ground
    truths among the RoIs count, with IoU 1 and deltas 0. Everything lies in buffers, so that it
    travels in checkpoints, and a single process does not wait for the device. What is noted is of
    the global batch, however many processes share it; there, each process follows its own images.

    Args:
        iou: threshold at first.
        iou_top_k: of an image's RoIs, the one whose IoU is noted, counted from the best.
        beta_top_k: of the positives, per image, the one whose shift is noted, counted from the
            smallest.
        interval: iterations between changes.
        least_iou: the threshold is not below it.
        largest_beta: beta is not above it; beta at first.

    Attributes:
        iou: [] float, the present threshold.
        beta: [] float, where the present smooth L1 loss turns linear.

    Raises:
        InputError: a number that is not above 0.
    """

    iou: Tensor
    beta: Tensor
    ious: Tensor
    betas: Tensor
    count: Tensor

    def __init__(
        self,
        iou: float,
        *,
        iou_top_k: int = 75,
        beta_top_k: int = 10,
        interval: int = 100,
        least_iou: float = 0.4,
        largest_beta: float = 1.0,
    ) -> None:
        super().__init__()
        numbers = {"iou_top_k": iou_top_k, "beta_top_k": beta_top_k, "interval": interval,
                   "largest_beta": largest_beta}  # fmt: skip
        for name, number in numbers.items():
            if number <= 0:
                raise InputError(f"dynamic: {name} must be above 0, got {number}")
        self.iou_top_k, self.beta_top_k = iou_top_k, beta_top_k
        self.least_iou, self.largest_beta = least_iou, largest_beta
        self.register_buffer("iou", torch.tensor(iou))
        self.register_buffer("beta", torch.tensor(float(largest_beta)))
        self.register_buffer("ious", torch.zeros(interval))
        self.register_buffer("betas", torch.full((interval,), torch.nan))
        self.register_buffer("count", torch.tensor(0))

    @torch.no_grad()
    def observe(self, rois: Candidates, truths: Truths, target_deltas: Tensor) -> None:
        """Note an iteration; after every ``interval``-th the threshold and beta change.

        Without a positive no shift is noted. (There, that ends the training.)

        Args:
            rois: all RoIs that were assigned.
            truths: of the batch.
            target_deltas: [P, 4] of the positives.
        """
        iou, shift = self._iou_of(rois, truths), self._shift_of(target_deltas, len(truths.counts))
        here = torch.arange(len(self.ious), device=iou.device) == self.count % len(self.ious)
        self.ious = torch.where(here, iou, self.ious)
        self.betas = torch.where(here, shift, self.betas)
        self.count = self.count + 1
        due = self.count % len(self.ious) == 0
        median = self.betas.nanquantile(0.5)
        self.iou = torch.where(due, self.ious.mean().clamp(min=self.least_iou), self.iou)
        # A median of 0, where ground truths are most of the positives, changes nothing.
        beta = median.clamp(max=self.largest_beta)
        self.beta = torch.where(due & (median > 0), beta, self.beta)

    def _iou_of(self, rois: Candidates, truths: Truths) -> Tensor:
        """[] the ``iou_top_k``-th IoU of an image, mean over the images."""
        found = []
        parts = zip(_split(rois.boxes, rois), _split(truths.boxes, truths), strict=True)
        for boxes, gt_boxes in parts:
            if len(boxes) == 0 or len(gt_boxes) == 0:
                found.append(self.iou.new_zeros(()))
            else:
                best = pairwise_iou(boxes.float(), gt_boxes.float()).amax(dim=1)
                found.append(best.topk(min(self.iou_top_k, len(best))).values[-1])
        return world_mean(torch.stack(found).mean())  # each process has as many images

    def _shift_of(self, target_deltas: Tensor, num_images: int) -> Tensor:
        """[] the ``beta_top_k``-th mean of |dx| and |dy|; nan, which no median counts: none."""
        shifts = gather_rows(target_deltas[:, :2].abs().mean(dim=1).to(self.beta))
        if len(shifts) == 0:
            return self.beta.new_full((), torch.nan)
        place = min(self.beta_top_k * num_images * world_size(), len(shifts)) - 1
        return shifts.sort().values[place]


def _split(rows: Tensor, batch: Candidates | Truths) -> Sequence[Tensor]:
    return rows.split(list(batch.counts))
