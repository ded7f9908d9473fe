"""Random numbers from an explicit generator, whatever device the generator and the boxes are on."""

import torch
from torch import Tensor


def uniform(
    shape: tuple[int, ...],
    rng: torch.Generator,
    device: torch.device,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Uniform numbers in [0, 1) on ``device``, drawn on the generator's own device.

    A generator on the CPU gives the same numbers to boxes on any device.
    """
    numbers = torch.rand(shape, generator=rng, device=rng.device, dtype=dtype)
    return numbers.to(device, non_blocking=True)
