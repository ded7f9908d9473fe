"""SOLOv2's head: classes and a kernel per grid cell, a mask feature per image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rebalance.detectors.head_parts import (
    HeadContext,
    conv_block,
    init_normal,
    init_prior,
    lay_flat,
    tower,
)
from rebalance.detectors.types import Predictions
from rebalance.errors import InputError


class SoloHead(nn.Module):
    """Wang et al., "SOLOv2: Dynamic and Fast Instance Segmentation", NeurIPS 2020.

    A cell's mask is the mask feature convolved by the cell's kernel. Kernels are 1x1, as in all
    published models, hence a mask is a sum of the feature's channels, weighted by the kernel:
    kernels are coefficients and the mask feature is prototypes, as YOLACT calls them.

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of each tower, one for classes and one for kernels.
        channels: of the towers.
        num_prototypes: channels of the mask feature, numbers of a kernel.
        mask_channels: of the layers of the mask feature.
        mask_levels: how many maps, from the finest, the mask feature is made of.
        prior: score of every class before training.
        groups: of all group norms; None: groups of eight channels, which are 32 of 256.
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 512,
        num_prototypes: int = 256,
        mask_channels: int = 128,
        mask_levels: int = 4,
        prior: float = 0.01,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.num_columns, self.num_prototypes = context.num_columns, num_prototypes
        self.class_tower = tower(context.channels, channels, num_convs, "group", groups)
        self.kernel_tower = tower(context.channels + 2, channels, num_convs, "group", groups)
        self.class_logits = nn.Conv2d(channels, context.num_columns, 3, padding=1)
        self.kernels = nn.Conv2d(channels, num_prototypes, 3, padding=1)
        init_normal(self, std=0.01, published_channels=512)
        init_prior(self.class_logits, prior)
        self.mask_feature = MaskFeature(
            context.channels, mask_channels, num_prototypes, mask_levels, groups
        )

    def forward(self, maps: Sequence[Tensor], num_cells: Sequence[int]) -> Predictions:
        """Maps [B, c, h, w] and the n of each level's n x n cells -> predictions of all cells.

        logits [N, columns], "coefficients" [N, D], the kernels, and per image "prototypes"
        [B, D, h, w] of the finest map's size, the mask feature.
        """
        logits, kernels = [], []
        for map_, num in zip(self._resized(maps), num_cells, strict=True):
            cells = functional.interpolate(with_places(map_), (num, num), mode="bilinear")
            logits.append(self.class_logits(self.class_tower(cells[:, :-2])))
            kernels.append(self.kernels(self.kernel_tower(cells)))
        return Predictions(
            lay_flat(logits, self.num_columns),
            extra={"coefficients": lay_flat(kernels, self.num_prototypes)},
            shared={"prototypes": self.mask_feature(maps)},
        )

    def _resized(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The finest map as large as the next, the coarsest as large as the one before."""
        sizes = [map_.shape[-2:] for map_ in maps]
        sizes[0], sizes[-1] = sizes[1], sizes[-2]
        return [
            map_ if map_.shape[-2:] == size else functional.interpolate(map_, size, mode="bilinear")
            for map_, size in zip(maps, sizes, strict=True)
        ]


class MaskFeature(nn.Module):
    """One map of the finest level's size from several levels, as in a panoptic pyramid.

    Level i passes i times through a 3x3 convolution, group norm, ReLU and doubling of its size (the
    finest once, without doubling), all are summed, and a 1x1 convolution follows. The coarsest is
    given its places (SOLOv2, "Mask Feature Representation").

    Args:
        in_channels: of the maps.
        channels: of the layers.
        out_channels: of the feature.
        num_levels: maps read.
        groups: of the norms; None: groups of eight channels.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        num_levels: int,
        groups: int | None,
    ) -> None:
        super().__init__()
        if num_levels < 2:
            raise InputError(f"head: mask_levels must be 2 or more, got {num_levels}")
        self.levels = nn.ModuleList()
        for level in range(num_levels):
            width = in_channels + (2 if level == num_levels - 1 else 0)
            layers: list[nn.Module] = []
            for _ in range(max(level, 1)):
                layers += conv_block(width, channels, 3, "group", groups)
                layers += [nn.Upsample(scale_factor=2, mode="bilinear")] if level else []
                width = channels
            self.levels.append(nn.Sequential(*layers))
        self.last = nn.Sequential(*conv_block(channels, out_channels, 1, "group", groups))
        init_normal(self, std=0.01, published_channels=128)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[B, c, h, w] of all levels, finest first -> [B, out, h, w] >= 0."""
        used = [*maps[: len(self.levels) - 1], with_places(maps[len(self.levels) - 1])]
        parts = [layers(map_) for layers, map_ in zip(self.levels, used, strict=True)]
        height, width = maps[0].shape[-2:]
        # A map of odd size is doubled to one cell too many.
        return self.last(sum((part[..., :height, :width] for part in parts[1:]), parts[0]))


def with_places(map_: Tensor) -> Tensor:
    """[B, c, h, w] -> [B, c + 2, h, w], with x and y of each cell, -1 ... 1 from end to end."""
    height, width = map_.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=map_.dtype, device=map_.device),
        torch.linspace(-1, 1, width, dtype=map_.dtype, device=map_.device),
        indexing="ij",
    )
    return torch.cat([map_, torch.stack([x, y]).expand(len(map_), -1, -1, -1)], dim=1)
