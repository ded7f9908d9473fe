"""Boxes on the cells of pyramid levels, made once per size of the maps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

Size = tuple[int, int]
MAX_KEPT = 64  # batches share a few canvas sizes


class Grid(ABC):
    """Maps -> boxes, by level, within a level by cell (row by row), within a cell as listed.

    Grids are kept per (map sizes, device).

    Attributes:
        strides: nominal pixels per cell, one per level.
        nums_per_cell: boxes of a cell, one number per level.
    """

    def __init__(self, strides: Sequence[float], nums_per_cell: Sequence[int]) -> None:
        self.strides = tuple(strides)
        self.nums_per_cell = tuple(nums_per_cell)
        self._kept: dict[tuple[object, ...], tuple[Tensor, list[int]]] = {}

    def __call__(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
        """Feature maps [..., h, w], finest first -> ([N, 4] xyxy float32, boxes per level)."""
        sizes = _sizes(maps)
        key = (maps[0].device, *sizes)
        if key not in self._kept:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            levels = self._levels(sizes)
            self._kept[key] = (
                torch.cat(levels).float().to(maps[0].device),
                [len(level) for level in levels],
            )
        return self._kept[key]

    @abstractmethod
    def _levels(self, sizes: Sequence[Size]) -> list[Tensor]:
        """(rows, columns) of each map -> [N_l, 4] boxes of each level, on the CPU."""


class CellGrid(Grid):
    """The same few boxes around a point of every cell.

    Args:
        shapes: per level [A, 4] boxes around (0, 0), pixels.
        strides: pixels per cell, one per level.
        offset: the cell's point, in cells: 0 its top left corner (mmdetection's anchors), 0.5 its
            centre.
    """

    def __init__(
        self, shapes: Sequence[Tensor], strides: Sequence[float], *, offset: float
    ) -> None:
        super().__init__(strides, [len(boxes) for boxes in shapes])
        self.shapes, self.offset = list(shapes), offset

    def _levels(self, sizes: Sequence[Size]) -> list[Tensor]:
        levels = []
        for (rows, columns), stride, shapes in zip(sizes, self.strides, self.shapes, strict=True):
            y = (torch.arange(rows).double() + self.offset) * stride
            x = (torch.arange(columns).double() + self.offset) * stride
            y, x = torch.meshgrid(y, x, indexing="ij")
            points = torch.stack((x, y, x, y), dim=-1)
            levels.append((points[:, :, None] + shapes).flatten(0, 2))
        return levels


class DividedInput(Grid):
    """The same few boxes around the centres of cells that divide a square input evenly (YOLACT).

    A level of n cells has input_size / n pixels per cell, not its nominal stride. All is done in
    float32, one operation after the other as in mmdetection: around a small object several anchors
    of a shape overlap it equally, and which of them it takes hangs on their last digits.

    Args:
        sides: of the square anchor, pixels, one per level.
        ratios: height / width.
        strides: nominal, one per level.
        input_size: side of the input, pixels.
    """

    def __init__(
        self,
        sides: Sequence[float],
        ratios: Sequence[float],
        strides: Sequence[float],
        input_size: int,
    ) -> None:
        super().__init__(strides, [len(ratios)] * len(strides))
        self.sides, self.ratios, self.input_size = list(sides), list(ratios), input_size

    def _levels(self, sizes: Sequence[Size]) -> list[Tensor]:
        heights = torch.tensor(self.ratios).sqrt()
        shapes = torch.stack((1 / heights, heights), dim=1)
        levels = []
        for (rows, columns), side in zip(sizes, self.sides, strict=True):
            steps = self.input_size / columns, self.input_size / rows
            center, half = torch.tensor(steps) / 2, shapes * side * 0.5
            first = torch.cat((center - half, center + half), dim=1)
            y, x = torch.meshgrid(
                torch.arange(rows) * steps[1], torch.arange(columns) * steps[0], indexing="ij"
            )
            shifts = torch.stack((x, y, x, y), dim=-1)
            levels.append((shifts[:, :, None] + first).flatten(0, 2))
        return levels


class DividedCanvas(Grid):
    """Cells that divide the canvas into n x n rectangles, whatever its shape (SOLO, SOLOv2).

    The canvas is that of the batch, as published: where an object lies on the grid depends on the
    largest image beside it.

    Args:
        strides: pixels per cell of the maps it is called with; the finest gives the canvas.
        num_cells: n, one per level.
    """

    def __init__(self, strides: Sequence[float], num_cells: Sequence[int]) -> None:
        super().__init__(strides, [1] * len(num_cells))
        self.num_cells = tuple(num_cells)

    def _levels(self, sizes: Sequence[Size]) -> list[Tensor]:
        height, width = (side * self.strides[0] for side in sizes[0])
        levels = []
        for num in self.num_cells:
            steps = torch.arange(num).double()
            y, x = torch.meshgrid(steps, steps, indexing="ij")
            corners = torch.stack((x, y, x + 1, y + 1), dim=-1).flatten(0, 1)
            levels.append(corners * torch.tensor([width, height] * 2).double() / num)
        return levels


def _sizes(maps: Sequence[Tensor]) -> list[Size]:
    return [(map_.shape[-2], map_.shape[-1]) for map_ in maps]
