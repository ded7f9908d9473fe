"""The answer of every assigner: which ground truth, if any, each candidate box belongs to."""

from typing import NamedTuple

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
    """

    gt_idxs: Tensor
    overlaps: Tensor
    labels: Tensor

    @property
    def positives(self) -> Tensor:
        """[N] bool."""
        return self.gt_idxs >= 0

    @property
    def negatives(self) -> Tensor:
        """[N] bool."""
        return self.gt_idxs == NEGATIVE
