"""The bounding box generator: boxes with at least a given IoU with a reference (bbgen, Alg. 1).

The first corner is uniform over all places where the IoU is at least T while the opposite corner is
the reference's own; the second is uniform over the places that the first leaves to it. The paper
draws both by rejection from polygons. Here each is one exact draw from the closed form of its
region (see ``rebalance.generators.regions``): x by the inverse of its distribution function, y
uniform on the interval that x leaves. So there is no loop over boxes, no polygon and no precision
to choose. On a CPU the arithmetic is NumPy's, on other devices torch's (see ``Region``).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rebalance.checks import check_boxes
from rebalance.errors import InputError
from rebalance.generators.regions import Array, Region, corner_region
from rebalance.rng import uniform

ORDERS = ("random", "top_left", "bottom_right")

Proposal = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""``proposal(low, high, rng)``: one point for each of M rectangles, [M, 2] each.

The rectangles enclose the feasible regions, in outward offsets: distances from the reference box's
own corner, positive outside the box, in units of its width and height.
"""

MAX_ROUNDS = 1000
"""Rounds of proposals after which a proposal distribution is taken to miss the feasible region."""

MARGIN = 1e-13
"""Relative, added to T inside: covers the rounding of the arithmetic on the way to coordinates."""

HALLEY_STEPS = 2
"""They leave an error in the distribution function below 1e-8 for T >= 0.3 and 1e-5 for T >= 0.05
(never in the IoU, which the chosen point has by construction)."""

BLOCK = 1 << 14
"""Boxes that one thread of a CPU works on at a time: intermediate results stay in its cache."""


def generate_boxes(
    reference_boxes: Tensor,
    min_ious: Tensor | float,
    rng: torch.Generator | None = None,
    order: str = "random",
    *,
    proposal: Proposal | None = None,
    validate: bool = True,
    image: int | str | None = None,
) -> Tensor:
    """One box per reference box, with an IoU of at least its threshold.

    Computed in float64; coordinates are rounded to the references' dtype towards the reference, so
    that rounding never lowers the IoU.

    Args:
        reference_boxes: [N, 4] xyxy, float32 or float64, x1 < x2 and y1 < y2, anywhere.
        min_ious: [N] or one number, T in (0, 1].
        rng: source of all randomness; None is torch's default generator.
        order: the corner drawn first, "top_left", "bottom_right" or a fair coin per box ("random").
            A fixed order is not isotropic (bbgen, section 3.2).
        proposal: draws the points; None is uniform. A point outside the feasible region is rejected
            and drawn again, as in bbgen section 3.2.2.
        validate: False skips the checks of coordinates and thresholds, the only thing here that
            waits for a CUDA device (a proposal does too).
        image: how messages name the image.

    Returns:
        [N, 4] xyxy, not clamped to any image.

    Raises:
        InputError: a bad box or threshold (image and box are named), shape or order, or a proposal
            that never hits the feasible region of a box.
        TypeError: boxes that are not float32 or float64.
    """
    if order not in ORDERS:
        raise InputError(f"order must be one of {ORDERS}, got {order!r}")
    if reference_boxes.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"reference_boxes must be float32 or float64, got {reference_boxes.dtype}")
    if reference_boxes.dim() != 2 or reference_boxes.shape[1] != 4:
        raise InputError(f"reference_boxes must be [N, 4] xyxy, got {list(reference_boxes.shape)}")
    reference_boxes = reference_boxes.detach()
    num, device = len(reference_boxes), reference_boxes.device
    if isinstance(min_ious, Tensor):
        thresholds = min_ious.detach().to(torch.float64)
    else:
        thresholds = torch.full((num,), float(min_ious), dtype=torch.float64, device=device)
    if thresholds.shape != (num,):
        raise InputError(f"min_ious must be one number or [{num}], got {list(thresholds.shape)}")
    if validate:
        check_boxes(reference_boxes, "box", image, with_area=True)
        _check_thresholds(thresholds, image)
    if rng is None:
        rng = torch.default_generator

    # Five numbers per box: two for each corner, one for the order.
    numbers = uniform((5, num), rng, device)
    inverse_ious = thresholds.reciprocal() * (1.0 - MARGIN)
    if proposal is not None:
        origin = torch.zeros_like(inverse_ious)
        first = _draw_proposed(corner_region(torch, origin, origin, inverse_ious), proposal, rng)
        second = _draw_proposed(corner_region(torch, *first, inverse_ious), proposal, rng)
        rows = reference_boxes.T
        return _to_boxes(torch, rows, [*first, *second], numbers[4], order).T.contiguous()
    rows = reference_boxes.T.contiguous()
    if device.type != "cpu":
        corners = _draw_corners(torch, inverse_ious, numbers)
        return _to_boxes(torch, rows, corners, numbers[4], order).T.contiguous()
    boxes = np.empty(rows.shape, dtype=rows.numpy().dtype)
    arrays = (rows.numpy(), inverse_ious.numpy(), numbers.numpy(), boxes)

    def fill(start: int) -> None:
        references, inverses, draws, out = (a[..., start : start + BLOCK] for a in arrays)
        out[:] = _to_boxes(np, references, _draw_corners(np, inverses, draws), draws[4], order)

    _run_blocks(fill, range(0, num, BLOCK))
    return torch.from_numpy(boxes).T.contiguous()


def _run_blocks(fill: Callable[[int], None], starts: range) -> None:
    """Call ``fill`` for every start, on as many threads as torch may use; NumPy lets them run."""
    num_threads = min(torch.get_num_threads(), len(starts))
    if num_threads <= 1:
        for start in starts:
            fill(start)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        # Reading the results raises what a block has raised.
        list(pool.map(fill, starts))


def _check_thresholds(thresholds: Tensor, image: int | str | None) -> None:
    fine = (thresholds > 0) & (thresholds <= 1)
    if not bool(fine.all()):
        position = int((~fine).nonzero()[0])
        got = float(thresholds[position])
        where = f"box {position}" if image is None else f"image {image}, box {position}"
        raise InputError(f"{where}: min_ious must be in (0, 1], got {got}")


def _draw_corners(xp: ModuleType, inverse_ious: Array, numbers: Array) -> list[Array]:
    """x and y of the first corner's offset, then of the second's; [N] each."""
    origin = xp.zeros_like(inverse_ious)
    first = _draw_uniform(corner_region(xp, origin, origin, inverse_ious), numbers[0], numbers[1])
    second = _draw_uniform(corner_region(xp, *first, inverse_ious), numbers[2], numbers[3])
    return [*first, *second]


def _draw_uniform(region: Region, along: Array, across: Array) -> tuple[Array, Array]:
    """x and y [N] of offsets uniform over the regions, from numbers [N] uniform on [0, 1).

    The interval of y at x is N(x) (1 / s + 1 / g) long. On either side of x = 0 partial fractions
    make that A - B / (W + x) - C / (v + x), and with x = r end the area between 0 and x becomes
        G(r) = M r + B phi(r end / W) + C phi(r end / v),   phi(z) = z - ln(1 + z),
    where M is the length at x = 0, the largest, times ``end``. G is monotone; solving it for the
    wanted share of the whole area gives x.
    """
    xp, k, w, h, m, n, km, kn, excess = region
    inverse = k - 1.0
    # How far the opposite corner lies outside the reference, 0 when inside; k / inverse times in x.
    outside = w - m
    gap_x, gap_y = outside * k / inverse, h - n
    v_high = w - km
    middle = excess / w - excess / v_high
    low = _side(
        xp,
        end=excess / (h - kn),
        middle=middle,
        w=w,
        v=w - gap_x,
        b=kn * outside + 1.0,
        c=(gap_x * gap_y + 1.0) / inverse,
    )
    high = _side(
        xp, end=excess / h, middle=middle, w=w, v=v_high, b=1.0 - km * n, c=-1.0 - km * gap_y
    )
    # Signed area between x = 0 and the wanted x; its sign is that of x.
    target = low.area + along * (high.area - low.area)
    is_low = target < 0.0
    side = _Side(*(xp.where(is_low, *fields) for fields in zip(low, high, strict=True)))
    x = _solve(xp, side, target) * side.end
    y_low, y_high = region.y_range_at(x)
    return x, y_low + across * (y_high - y_low)


class _Side(NamedTuple):
    """G of ``_draw_uniform`` on one side of x = 0; all fields are [N].

    Attributes:
        end: the x of least length, where r = 1.
        linear: M.
        b, c: B and C.
        by_w, by_v: end / W and end / v.
        area: G(1).
    """

    end: Array
    linear: Array
    b: Array
    c: Array
    by_w: Array
    by_v: Array
    area: Array


def _side(
    xp: ModuleType, *, end: Array, middle: Array, w: Array, v: Array, b: Array, c: Array
) -> _Side:
    linear, by_w, by_v = middle * end, end / w, end / v
    area = linear + b * (by_w - xp.log1p(by_w)) + c * (by_v - xp.log1p(by_v))
    return _Side(end, linear, b, c, by_w, by_v, area)


def _solve(xp: ModuleType, side: _Side, target: Array) -> Array:
    """r in [0, 1] with G(r) = target."""
    # The length shrinks about linearly in r, so the remaining area is about quadratic.
    r = 1.0 - xp.sqrt(xp.clip((side.area - target) / side.area, 1e-16, None))
    for _ in range(HALLEY_STEPS):
        zw, zv = r * side.by_w, r * side.by_v
        qw, qv = side.by_w / (zw + 1.0), side.by_v / (zv + 1.0)
        bq, cq = side.b * qw, side.c * qv
        curved = side.b * (zw - xp.log1p(zw)) + side.c * (zv - xp.log1p(zv))
        miss = side.linear * r + curved - target
        length = side.linear + bq * zw + cq * zv
        slope = bq * qw + cq * qv
        r = r - miss * length / (length * length - 0.5 * miss * slope)
        # Short of the very end, where the length is 0 and the next step would be 0 / 0.
        r = xp.clip(r, 0.0, 1.0 - 1e-8)
    return r


def _draw_proposed(
    region: Region, proposal: Proposal, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """x and y [N] of offsets from the proposal distribution, restricted to the regions."""
    (x_low, x_high), (y_low, y_high) = region.x_range(), region.y_range()
    low, high = torch.stack([x_low, y_low], dim=1), torch.stack([x_high, y_high], dim=1)
    offsets = torch.zeros_like(low)
    waiting = torch.arange(len(low), device=low.device)
    for _ in range(MAX_ROUNDS):
        if len(waiting) == 0:
            return offsets[:, 0], offsets[:, 1]
        points = proposal(low[waiting], high[waiting], rng).to(low)
        if points.shape != (len(waiting), 2):
            raise InputError(
                f"proposal must give [{len(waiting)}, 2] points, got {list(points.shape)}"
            )
        still = Region(region.xp, *(field[waiting] for field in region[1:]))
        accepted = still.contains(*points.unbind(1))
        offsets[waiting[accepted]] = points[accepted]
        waiting = waiting[~accepted]
    raise InputError(
        f"proposal: no point of {MAX_ROUNDS} fell into the feasible region of box {int(waiting[0])}"
    )


def _to_boxes(
    xp: ModuleType, references: Array, corners: list[Array], coins: Array, order: str
) -> Array:
    """[4, N] boxes from references [4, N] and the corners' offsets, rounded towards the reference.

    Args:
        xp: the module torch or numpy, whichever the arrays are of.
        references: x1, y1, x2, y2, of the dtype that is returned.
        corners: offsets [N] in x and y of the corner drawn first, then of the second.
        coins: [N] in [0, 1), for a random order.
        order: one of ``ORDERS``.
    """
    first, second = xp.stack(corners[:2]), xp.stack(corners[2:])
    if order == "random":
        heads = coins < 0.5
        first, second = xp.where(heads, first, second), xp.where(heads, second, first)
    elif order == "bottom_right":
        first, second = second, first
    exact = xp.asarray(references, dtype=xp.float64)
    size = exact[2:] - exact[:2]
    moves = xp.concatenate([-first * size, second * size])
    rounded = xp.asarray(exact + moves, dtype=references.dtype)
    moved = xp.asarray(rounded, dtype=xp.float64) - exact
    too_far = abs(moved) > abs(moves)
    return xp.where(too_far, xp.nextafter(rounded, references), rounded)
