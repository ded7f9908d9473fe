"""Anchors as the published detectors lay them, points and cells."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rebalance.detectors.candidates.grid import CellGrid, DividedCanvas, DividedInput
from rebalance.errors import InputError


def anchors(
    strides: Sequence[float],
    *,
    base_scale: float = 4,
    scales_per_octave: int = 3,
    scales: Sequence[float] | None = None,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    rounded: bool = False,
) -> CellGrid:
    """Anchors of sides ``scale * stride``, centred on the top left corner of their cell.

    Lin et al., "Focal Loss for Dense Object Detection" (RetinaNet), ICCV 2017, Section 4; Ren et
    al., "Faster R-CNN", NeurIPS 2015. Per cell: all scales of the first ratio, then of the next.

    Args:
        strides: pixels per cell, one per level.
        base_scale: smallest scale, in strides.
        scales_per_octave: k scales ``base_scale * 2^(i / k)``.
        scales: the scales themselves, in strides, instead of the two above.
        ratios: height / width.
        rounded: half sides are whole pixels (torchvision); else exact (mmdetection).
    """
    if scales is None:
        scales = [base_scale * 2 ** (step / scales_per_octave) for step in range(scales_per_octave)]
    shapes = []
    for stride in strides:
        boxes = _centred(
            [(scale * stride, ratio) for ratio in _positive("ratios", ratios) for scale in scales]
        )
        shapes.append(boxes.round() if rounded else boxes)
    return CellGrid(shapes, strides, offset=0)


def ssd_anchors(
    strides: Sequence[float],
    *,
    sizes: Sequence[float],
    ratios: Sequence[Sequence[float]],
    longest: float | None = None,
) -> CellGrid:
    """SSD's default boxes, around the centre of their cell.

    Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, Section 2.2. Per cell: a square of
    side s_l, one of side sqrt(s_l s_l+1), then for each ratio r boxes of the area of the first with
    width : height r and 1 / r.

    Args:
        strides: pixels per cell, one per level.
        sizes: s, pixels, one more than levels (mmdetection at 300: 21, 45, 99, 153, 207, 261, 315;
            at 512: 20, 51, 133, 215, 296, 378, 460, 542).
        ratios: of each level, > 1.
        longest: pixels that sides are cut to (torchvision: those of the image); None: any length.
    """
    if not len(strides) == len(ratios) == len(sizes) - 1:
        raise InputError(
            f"ssd anchors of {len(strides)} levels take {len(strides)} lists of ratios and "
            f"{len(strides) + 1} sizes, got {len(ratios)} and {len(sizes)}"
        )
    shapes = []
    for size, larger, of_level in zip(sizes[:-1], sizes[1:], ratios, strict=True):
        boxes = [(size, 1.0), (math.sqrt(size * larger), 1.0)]
        for ratio in _positive("ratios", of_level):
            boxes += [(size, 1 / ratio), (size, ratio)]
        half = math.inf if longest is None else longest / 2
        shapes.append(_centred(boxes).clamp(-half, half))
    return CellGrid(shapes, strides, offset=0.5)


def yolact_anchors(
    strides: Sequence[float],
    *,
    input_size: int = 550,
    base_scale: float = 3,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> DividedInput:
    """YOLACT's anchors, around the centres of cells that divide the square input evenly.

    Bolya et al., "YOLACT", ICCV 2019, Section 4. Sides are multiples of the nominal strides (24 to
    384 pixels at 550), steps are input size / cells, which is no whole number.

    Args:
        strides: nominal, one per level: 8, 16, 32, 64, 128.
        input_size: side of the input, pixels.
        base_scale: side of an anchor in nominal strides.
        ratios: height / width.
    """
    sides = [base_scale * stride for stride in strides]
    return DividedInput(sides, _positive("ratios", ratios), strides, input_size)


def points(strides: Sequence[float], *, base_edges: Sequence[float]) -> CellGrid:
    """FoveaBox' points: squares of half side ``base_edges`` around the centres of cells.

    Kong et al., "FoveaBox: Beyound Anchor-based Object Detection", TIP 2020. Distances to the sides
    of an object are measured in base edges, see `rebalance.detectors.coders.DistanceCoder`.

    Args:
        strides: pixels per cell, one per level.
        base_edges: pixels, one per level: 16, 32, 64, 128, 256.
    """
    if len(strides) != len(base_edges):
        raise InputError(
            f"base_edges of {len(strides)} levels must be as many, got {len(base_edges)}"
        )
    shapes = [_centred([(2 * edge, 1.0)]) for edge in base_edges]
    return CellGrid(shapes, strides, offset=0.5)


def cells(strides: Sequence[float], *, num_cells: Sequence[int]) -> DividedCanvas:
    """SOLOv2's grid cells, see `DividedCanvas`; published numbers are 40, 36, 24, 16, 12."""
    return DividedCanvas(strides, num_cells)


def _centred(boxes: Sequence[tuple[float, float]]) -> Tensor:
    """(side, height / width) of each -> [A, 4] boxes of that area around (0, 0), float64."""
    sides, ratios = torch.tensor(boxes, dtype=torch.float64).unbind(1)
    half = torch.stack((sides / ratios.sqrt(), sides * ratios.sqrt()), dim=1) / 2
    return torch.cat((-half, half), dim=1)


def _positive(name: str, values: Sequence[float]) -> Sequence[float]:
    if not all(value > 0 for value in values):
        raise InputError(f"{name} of anchors must be > 0, got {list(values)}")
    return values
