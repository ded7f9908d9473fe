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
        """(rows, columns) of each map -> [N_l, 4] float64 boxes of each level, on the CPU."""


class CellGrid(Grid):
    """The same few boxes around a point of every cell.

    Args:
        shapes: per level [A, 4] boxes around (0, 0), pixels.
        strides: pixels per cell, one per level.
        offset: the cell's point, in cells: 0 its top left corner (mmdetection's anchors), 0.5 its
            centre.
        input_size: side of the square input where cells divide it evenly (YOLACT): a level of n
            cells then has input_size / n pixels per cell, not its nominal stride. None: it has.
    """

    def __init__(
        self,
        shapes: Sequence[Tensor],
        strides: Sequence[float],
        *,
        offset: float,
        input_size: int | None = None,
    ) -> None:
        super().__init__(strides, [len(boxes) for boxes in shapes])
        self.shapes, self.offset, self.input_size = list(shapes), offset, input_size

    def _steps(self, sizes: Sequence[Size]) -> list[tuple[float, float]]:
        if self.input_size is None:
            return [(stride, stride) for stride in self.strides]
        return [(self.input_size / rows, self.input_size / columns) for rows, columns in sizes]

    def _levels(self, sizes: Sequence[Size]) -> list[Tensor]:
        levels = []
        for (rows, columns), (y_step, x_step), shapes in zip(
            sizes, self._steps(sizes), self.shapes, strict=True
        ):
            y = (torch.arange(rows).double() + self.offset) * y_step
            x = (torch.arange(columns).double() + self.offset) * x_step
            y, x = torch.meshgrid(y, x, indexing="ij")
            points = torch.stack((x, y, x, y), dim=-1)
            levels.append((points[:, :, None] + shapes).flatten(0, 2))
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
