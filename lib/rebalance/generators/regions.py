"""Where the corners of a box may lie so that its IoU with a reference box is at least T.

bbgen (section 3.2 and appendix) bounds these regions by tables of curves, one set for each corner.
Here one set serves both, in coordinates that make it short: the reference box is the unit square,
and a corner is given by its *outward offset*, how far it lies outside the reference's own corner in
x and in y, in units of the reference's width and height (negative: inside). The IoU does not change
under this map, nor under the reflection that exchanges the two corners.

With the other corner at offset (ox, oy) and this one at (x, y), the box is W + x wide and H + y
high, W = 1 + ox, H = 1 + oy, and overlaps the square by m + min(x, 0) times n + min(y, 0), with
m = 1 + min(ox, 0), n = 1 + min(oy, 0). Written with k = 1 + 1 / T, IoU >= T says

    E(x, y) = k * overlap - 1 - area >= 0.

E is linear in y on either side of 0, so for a given x the feasible y form one interval around 0,
    [-N(x) / g(x), N(x) / s(x)],  N(x) = E(x, 0),  s(x) = W + x,  g(x) = k (m + min(x, 0)) - s(x),
and x itself runs over
    [-N(0) / (k n - H), N(0) / H].
Nothing here subtracts nearly equal numbers when the region is small (T close to 1, or the other
corner close to the border of its own region).
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rebalance.errors import InputError

CORNERS = ("top_left", "bottom_right")


EMPTY = 1e-30
"""Least excess: a region that has shrunk to its corner keeps a size that rounds away in any sum, so
that its proportions stay defined."""

Array = Any
"""A float64 torch.Tensor or numpy.ndarray; see ``Region``."""


class Region(NamedTuple):
    """Feasible offsets of one corner given the other, for N reference boxes; arrays are [N].

    The arrays are of the library ``xp``, torch or NumPy; the formulas are the same and are written
    once. NumPy serves the CPU: a call to it costs a third of a call to torch, which is what counts
    for the boxes of one image, and blocks of a large batch run on threads that never wait for each
    other.

    Attributes:
        xp: the module torch or numpy.
        k: 1 + 1 / T.
        w, h: size of the box while this corner is at the reference's own.
        m, n: size of its overlap with the reference then.
        km, kn: k times those.
        excess: E(0, 0), at least ``EMPTY``.
    """

    xp: ModuleType
    k: Array
    w: Array
    h: Array
    m: Array
    n: Array
    km: Array
    kn: Array
    excess: Array

    def x_range(self) -> tuple[Array, Array]:
        """Least and largest feasible x offset, [N] each."""
        return self.excess / (self.h - self.kn), self.excess / self.h

    def y_range(self) -> tuple[Array, Array]:
        """Least and largest feasible y offset, [N] each."""
        return self.excess / (self.w - self.km), self.excess / self.w

    def y_range_at(self, x: Array) -> tuple[Array, Array]:
        """Least and largest feasible y offset at an x within ``x_range``, like ``x``."""
        inside = self.xp.clip(x, None, 0.0)
        height = self.excess + self.kn * inside - self.h * x
        width = self.w + x
        return height / (width - self.km - self.k * inside), height / width

    def contains(self, x: Array, y: Array) -> Array:
        """[N] bool of offsets [N] each."""
        clip = self.xp.clip
        overlap_x = clip(self.m + clip(x, None, 0.0), 0.0, None)
        overlap_y = clip(self.n + clip(y, None, 0.0), 0.0, None)
        width, height = self.w + x, self.h + y
        fits = self.k * (overlap_x * overlap_y) - 1.0 - width * height >= 0.0
        return fits & (width > 0.0) & (height > 0.0)


def corner_region(xp: ModuleType, other_x: Array, other_y: Array, inverse_iou: Array) -> Region:
    """The region of one corner.

    Args:
        xp: the module torch or numpy, whichever the arrays are of.
        other_x: [N] float64, outward offset of the opposite corner.
        other_y: [N] float64.
        inverse_iou: [N] float64, 1 / T.
    """
    k = inverse_iou + 1.0
    w, h = other_x + 1.0, other_y + 1.0
    m, n = xp.clip(w, None, 1.0), xp.clip(h, None, 1.0)
    km = k * m
    return Region(xp, k, w, h, m, n, km, k * n, xp.clip(km * n - w * h - 1.0, EMPTY, None))


class QuadrantAreas(NamedTuple):
    """Parts of the region of the corner drawn first, by the quadrants around the reference's own.

    Attributes:
        inside: [N] both coordinates inside the reference, in units of its area.
        outside: [N] both outside.
        mixed: [N] one inside and the other outside; there are two such quadrants, this is one.
    """

    inside: Tensor
    outside: Tensor
    mixed: Tensor


def quadrant_areas(min_ious: Tensor) -> QuadrantAreas:
    """The three areas in closed form, for thresholds [N] in (0, 1]; the same for every box."""
    t = min_ious.double()
    return QuadrantAreas(
        inside=1 - t + t * t.log(),
        outside=-t.log() / t - (1 / t - 1),
        mixed=(1 - t) / t + t.log(),
    )


def feasible_area(reference_boxes: Tensor, min_ious: Tensor) -> Tensor:
    """[N] area, px^2, of the feasible region of the corner drawn first, in closed form.

    Args:
        reference_boxes: [N, 4] xyxy, pixels.
        min_ious: [N], in (0, 1].
    """
    inside, outside, mixed = quadrant_areas(min_ious)
    sizes = (reference_boxes[:, 2:] - reference_boxes[:, :2]).double()
    return (inside + outside + 2 * mixed) * sizes.prod(dim=1)


def feasible_region(
    reference: Tensor,
    iou: float,
    corner: str,
    other: Tensor | None = None,
    num_points: int = 400,
) -> Tensor:
    """Boundary of where one corner may lie, as a closed polyline on which the IoU is T.

    Args:
        reference: [4] xyxy, x1 < x2 and y1 < y2.
        iou: T, in (0, 1].
        corner: "top_left" or "bottom_right", the one whose region is asked for.
        other: [2] xy of the opposite corner; None puts it on the reference's own (the region of
            the corner drawn first).
        num_points: at least 8; a quarter on each of the four curved sides.

    Returns:
        [num_points + 1, 2] float64 xy, the last point equal to the first.

    Raises:
        InputError: a bad argument, or no box with that opposite corner reaches T.
    """
    if corner not in CORNERS:
        raise InputError(f"corner must be one of {CORNERS}, got {corner!r}")
    if not 0 < iou <= 1:
        raise InputError(f"iou must be in (0, 1], got {iou}")
    if num_points < 8 or num_points % 4:
        raise InputError(f"num_points must be 8 or more and divide by 4, got {num_points}")
    if reference.shape != (4,) or not bool((reference[2:] > reference[:2]).all()):
        raise InputError(f"reference must be [4] xyxy with area, got {reference.tolist()}")
    reference = reference.double()
    size = reference[2:] - reference[:2]
    mine, sign = (reference[:2], -1.0) if corner == "top_left" else (reference[2:], 1.0)
    offset = torch.zeros(2, dtype=torch.float64, device=reference.device)
    if other is not None:
        own = reference[2:] if corner == "top_left" else reference[:2]
        offset = (other.double() - own) * -sign / size
    inverse_iou = torch.full((1,), 1 / iou, dtype=torch.float64, device=reference.device)
    region = corner_region(torch, offset[:1], offset[1:], inverse_iou)
    if not bool(region.contains(torch.zeros_like(inverse_iou), torch.zeros_like(inverse_iou))):
        assert other is not None  # with IoU 1 at hand there is always a box
        raise InputError(f"no box with the corner {other.tolist()} has an IoU of {iou} or more")
    low, high = region.x_range()
    steps = torch.linspace(0, 1, num_points // 4 + 1, dtype=torch.float64, device=offset.device)
    left = low * (1 - steps)
    right = high * steps
    x = torch.cat([left[:-1], right])
    lower, upper = region.y_range_at(x)
    outline = torch.cat(
        [torch.stack([x, upper], dim=1), torch.stack([x, lower], dim=1).flip(0)[1:]]
    )
    outline[-1] = outline[0]
    return mine + sign * outline * size
