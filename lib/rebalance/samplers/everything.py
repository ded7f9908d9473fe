"""The sampler of detectors that do not sample (RetinaNet, ATSS, ranking losses)."""

from collections.abc import Callable

import torch
from torch import Tensor

from rebalance.assigners.assignment import Assignment


def sample_all(
    assignment: Assignment,
    *,
    rng: torch.Generator,
    boxes: Tensor | None = None,
    losses: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Every positive and every negative; ignored candidates take no part."""
    return assignment.taking_part()
