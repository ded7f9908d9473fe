"""Anchors: a fixed grid of boxes over all pyramid levels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator


class AnchorGrid:
    """Anchors of sizes ``base_scale * stride * 2^(k / scales_per_octave)`` and given aspect ratios.

    Made by torchvision's ``AnchorGenerator`` (ratio = height / width, sides rounded to pixels).
    Grids are kept per (map sizes, device), because batches share a few canvas sizes.

    Args:
        strides: pixels per cell, one per level.
        base_scale: side of the smallest anchor of a level, in strides.
        scales_per_octave: anchor sizes per level.
        ratios: aspect ratios.
    """

    def __init__(
        self,
        strides: Sequence[int],
        base_scale: float = 4,
        scales_per_octave: int = 3,
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
    ) -> None:
        self.strides = tuple(strides)
        steps = range(scales_per_octave)
        sizes = tuple(
            tuple(base_scale * stride * 2 ** (step / scales_per_octave) for step in steps)
            for stride in strides
        )
        self.generator = AnchorGenerator(sizes, (tuple(ratios),) * len(sizes))
        self.num_per_cell = scales_per_octave * len(ratios)
        self._grids: dict[tuple[object, ...], tuple[Tensor, list[int]]] = {}

    def __call__(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
        """Feature maps, finest first -> ([N, 4] xyxy float32, anchors per level)."""
        device = maps[0].device
        key = (device, *(map_.shape[-2:] for map_ in maps))
        if key not in self._grids:
            self.generator.set_cell_anchors(torch.float32, device)
            strides = [torch.tensor(stride, device=device) for stride in self.strides]
            levels = self.generator.grid_anchors(
                [list(map_.shape[-2:]) for map_ in maps], [[stride, stride] for stride in strides]
            )
            if len(self._grids) >= 64:
                self._grids.clear()
            self._grids[key] = (torch.cat(levels), [len(level) for level in levels])
        return self._grids[key]
