"""The bounding box generator: boxes with at least a given IoU with a reference (bbgen, Alg. 1).

The first corner is uniform over all places where the IoU is at least T while the opposite corner is
the reference's own; the second is uniform over the places that the first leaves to it. The paper
draws both by rejection from polygons. Here each is one exact draw from the closed form of its
region (see ``rebalance.generators.regions``): x by the inverse of its distribution function, y
uniform on the interval that x leaves. So there is no loop over boxes, no polygon and no precision
to choose.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rebalance.checks import check_boxes
from rebalance.errors import InputError
from rebalance.generators.regions import Region, corner_region
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

CPU_BLOCK = 1 << 16
"""Boxes worked on at a time on a CPU, so that the intermediate results stay in its cache."""


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
    num, device = len(reference_boxes), reference_boxes.device
    if isinstance(min_ious, Tensor):
        thresholds = min_ious.to(torch.float64)
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
    inverse_ious = (1 - MARGIN) / thresholds
    if proposal is not None:
        origin = torch.zeros(2, num, dtype=torch.float64, device=device)
        first = _draw_proposed(corner_region(origin, inverse_ious), proposal, rng)
        second = _draw_proposed(corner_region(first, inverse_ious), proposal, rng)
        return _to_boxes(reference_boxes, first, second, numbers[4], order)
    block = CPU_BLOCK if device.type == "cpu" else max(num, 1)
    boxes = [
        _generate_block(references, inverses, rows, order)
        for references, inverses, rows in zip(
            reference_boxes.split(block),
            inverse_ious.split(block),
            numbers.split(block, dim=1),
            strict=True,
        )
    ]
    return boxes[0] if len(boxes) == 1 else torch.cat(boxes)


def _check_thresholds(thresholds: Tensor, image: int | str | None) -> None:
    fine = (thresholds > 0) & (thresholds <= 1)
    if not bool(fine.all()):
        position = int((~fine).nonzero()[0])
        got = float(thresholds[position])
        where = f"box {position}" if image is None else f"image {image}, box {position}"
        raise InputError(f"{where}: min_ious must be in (0, 1], got {got}")


def _generate_block(
    reference_boxes: Tensor, inverse_ious: Tensor, numbers: Tensor, order: str
) -> Tensor:
    origin = torch.zeros(2, len(inverse_ious), dtype=torch.float64, device=numbers.device)
    first = _draw_uniform(corner_region(origin, inverse_ious), numbers[0], numbers[1])
    second = _draw_uniform(corner_region(first, inverse_ious), numbers[2], numbers[3])
    return _to_boxes(reference_boxes, first, second, numbers[4], order)


def _draw_uniform(region: Region, along: Tensor, across: Tensor) -> Tensor:
    """[2, N] offsets, uniform over the regions, from numbers [N] that are uniform on [0, 1).

    The interval of y at x is N(x) (1 / s + 1 / g) long. On either side of x = 0 partial fractions
    make that A - B / (W + x) - C / (v + x), and with x = r end the area between 0 and x becomes
        G(r) = M r + B phi(r end / W) + C phi(r end / v),   phi(z) = z - ln(1 + z),
    where M is the length at x = 0 times ``end``. G is monotone; solving it for the wanted share of
    the whole area gives x.
    """
    k, w, h, m, n, km, kn, excess = region
    inverse = k - 1
    # Distance of the opposite corner outside the reference: one of w - m, m - 1 is zero.
    gap_x, gap_y = (w - m) * k / inverse, h - n
    v_low, v_high = w - gap_x, w - km
    ends = excess / torch.stack([h - kn, h])
    # [B or C, side, N] and the same for end / W, end / v.
    factors = torch.stack(
        [kn * (w - m) + 1, 1 - km * n, (gap_x * gap_y + 1) / inverse, -1 - km * gap_y]
    ).view(2, 2, -1)
    ratios = ends / torch.stack([w, w, v_low, v_high]).view(2, 2, -1)
    linear = ends * (excess / w - excess / v_high)
    areas = linear + (factors * (ratios - ratios.log1p())).sum(0)
    # Signed area between x = 0 and the wanted x; its sign is that of x.
    target = torch.lerp(areas[0], areas[1], along)
    sides = torch.cat([factors, ratios, linear[None], ends[None], areas[None]])
    side = torch.where(target < 0, sides[:, 0], sides[:, 1])
    x = _solve(target, side[:2], side[2:4], side[4], side[6]) * side[5]
    low, high = region.y_range_at(x)
    return torch.stack([x, torch.lerp(low, high, across)])


def _solve(target: Tensor, factors: Tensor, ratios: Tensor, linear: Tensor, area: Tensor) -> Tensor:
    """r in [0, 1] with G(r) = target, see ``_draw_uniform``; ``area`` is G(1)."""
    # The interval of y shrinks about linearly in r, so the remaining area is about quadratic.
    r = 1 - (1 - target / area).clamp(min=1e-16).sqrt()
    for _ in range(HALLEY_STEPS):
        z = r * ratios
        q = ratios / (z + 1)
        weighted = factors * q
        miss = (factors * (z - z.log1p())).sum(0) + torch.addcmul(-target, linear, r)
        length = (weighted * z).sum(0) + linear
        newton = miss / length
        r = r - newton / (1 - newton * (weighted * q).sum(0) / length / 2)
        # Short of the very end, where the length is 0 and the next step would be 0 / 0.
        r = r.clamp(0, 1 - 1e-8)
    return r


def _draw_proposed(region: Region, proposal: Proposal, rng: torch.Generator) -> Tensor:
    """[2, N] offsets, from the proposal distribution restricted to the regions, by rejection."""
    (x_low, x_high), (y_low, y_high) = region.x_range(), region.y_range()
    low, high = torch.stack([x_low, y_low], dim=1), torch.stack([x_high, y_high], dim=1)
    offsets = torch.zeros_like(low)
    waiting = torch.arange(len(low), device=low.device)
    for _ in range(MAX_ROUNDS):
        if len(waiting) == 0:
            return offsets.T
        points = proposal(low[waiting], high[waiting], rng).to(low)
        if points.shape != (len(waiting), 2):
            raise InputError(
                f"proposal must give [{len(waiting)}, 2] points, got {list(points.shape)}"
            )
        accepted = Region(*(field[waiting] for field in region)).contains(*points.unbind(1))
        offsets[waiting[accepted]] = points[accepted]
        waiting = waiting[~accepted]
    raise InputError(
        f"proposal: no point of {MAX_ROUNDS} fell into the feasible region of box {int(waiting[0])}"
    )


def _to_boxes(
    reference_boxes: Tensor, first: Tensor, second: Tensor, coins: Tensor, order: str
) -> Tensor:
    """[N, 4] boxes from the corners' offsets [2, N], rounded towards the reference."""
    if order == "random":
        heads = coins < 0.5
        first, second = torch.where(heads, first, second), torch.where(heads, second, first)
    elif order == "bottom_right":
        first, second = second, first
    exact = reference_boxes.double()
    sizes = exact[:, 2:] - exact[:, :2]
    moves = torch.cat([-first, second]).T * sizes.repeat(1, 2)
    rounded = (exact + moves).to(reference_boxes.dtype)
    too_far = (rounded.double() - exact).abs() > moves.abs()
    return torch.where(too_far, torch.nextafter(rounded, reference_boxes), rounded)
