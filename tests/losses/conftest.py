"""Random boxes for the losses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture
def random_boxes() -> Callable[..., Tensor]:
    """[N, 4] boxes of 20 to 60 px within 100 x 100 px, float32."""

    def draw(num: int, seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        corner = torch.rand(num, 2, generator=rng) * 40
        return torch.cat([corner, corner + 20 + 40 * torch.rand(num, 2, generator=rng)], dim=1)

    return draw
