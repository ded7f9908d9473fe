"""The answer of every assigner: which ground truth, if any, each candidate box belongs to."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NEGATIVE = -1
IGNORED = -2


class Assignment(NamedTuple):
    """One value per candidate box (anchor or proposal).

    Attributes:
        gt_idxs: [N] int64, index of the assigned ground truth, ``NEGATIVE`` or ``IGNORED``.
        overlaps: [N] float, the assigner's overlap with the assigned (for negatives: the best)
            ground truth; 0 when there is none.
        labels: [N] int64, class of the assigned ground truth (1 ... C); 0 for negatives, ignored.
        counts: how many positives and negatives there are, once `count_all` has read it.
    """

    gt_idxs: Tensor
    overlaps: Tensor
    labels: Tensor
    counts: tuple[int, int] | None = None

    @property
    def positives(self) -> Tensor:
        """[N] bool."""
        return self.gt_idxs >= 0

    @property
    def negatives(self) -> Tensor:
        """[N] bool."""
        return self.gt_idxs == NEGATIVE

    def positive_rows(self) -> Tensor:
        """[P] int64, ascending. Waits for the device unless counted."""
        return _rows(self.positives, None if self.counts is None else self.counts[0])

    def negative_rows(self) -> Tensor:
        """[Q] int64, ascending. Waits for the device unless counted."""
        return _rows(self.negatives, None if self.counts is None else self.counts[1])

    def taking_part(self) -> Tensor:
        """[P + Q] int64, ascending, all but the ignored. Waits for the device unless counted."""
        return _rows(self.gt_idxs != IGNORED, None if self.counts is None else sum(self.counts))


def count_all(assignments: Sequence[Assignment]) -> list[Assignment]:
    """The same with their counts, read from the device in one go."""
    counts = [torch.stack([one.positives.sum(), one.negatives.sum()]) for one in assignments]
    return [
        one._replace(counts=(positives, negatives))
        for one, (positives, negatives) in zip(
            assignments, torch.stack(counts).tolist(), strict=True
        )
    ]


def _rows(mask: Tensor, count: int | None) -> Tensor:
    """Where a mask [N] is true; without waiting for the device if it is known how often."""
    if count is None:
        return mask.nonzero().squeeze(1)
    return torch.nonzero_static(mask, size=count).squeeze(1)
