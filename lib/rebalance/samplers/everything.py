"""The sampler of detectors that do not sample (RetinaNet, ATSS, ranking losses)."""

from collections.abc import Callable

import torch
from torch import Tensor

from rebalance.assigners.assignment import Assignment
from rebalance.samplers.sample import Sample


def sample_all(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
) -> Sample:
    """Every positive and every negative; ignored candidates take no part."""
    return Sample(
        assignment.positives.nonzero().squeeze(1), assignment.negatives.nonzero().squeeze(1)
    )
