"""The answer of every sampler: which candidates take part in the loss."""

from typing import NamedTuple

from torch import Tensor


class Sample(NamedTuple):
    """Positions in the candidate list, without duplicates.

    Attributes:
        positive_idxs: [P] int64.
        negative_idxs: [Q] int64.
    """

    positive_idxs: Tensor
    negative_idxs: Tensor
