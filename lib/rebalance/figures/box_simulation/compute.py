"""Gradient descent on boxes, one loss at a time (EIoU paper, Algorithm 1, Figures 1 and 5 to 7).

The gradients are written out: Algorithm 1 in full needs 343 million of them, which automatic
differentiation of ``rebalance.losses`` would take ten minutes for. They equal its gradients.

Boxes are held as two tensors [2, N]: ``centers`` (x, y) and ``sizes`` (width, height).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from rebalance.boxes import ratio
from rebalance.errors import InputError
from rebalance.figures.checks import Check, named_numbers, printed_claim, printed_number

LOSSES = {"iou": "IoU", "giou": "GIoU", "ciou": "CIoU", "eiou": "EIoU", "focal_eiou": "Focal-EIoU"}
"""The losses that Algorithm 1 compares, and what they are called."""
NORMALISED = "Focal-EIoU, Eq. 11"
"""What Focal-EIoU with normalised weights is called."""
SCALES = ("area", "percent", "side")
STEPS = ("plain", "two_minus_iou")
PARAMETERS = ("center_size", "corners")
WEIGHTS = ("constant", "differentiated", "normalised")
ITERATIONS = 200
CHUNK = 16_000
"""Boxes per step: they stay in a core's cache, and torch does not split the work over threads."""
SMALLEST_SIZE = 1e-6


class Setup(NamedTuple):
    """Anchors and targets of a simulation; a case is one anchor with one target.

    Attributes:
        points: [P, 2] centres of the anchors.
        anchor_sizes: [A, 2] widths and heights around each point.
        target_center: [2].
        target_sizes: [S, 2].
    """

    points: Tensor
    anchor_sizes: Tensor
    target_center: Tensor
    target_sizes: Tensor

    @property
    def num_cases(self) -> int:
        """Anchors times targets."""
        return len(self.points) * len(self.anchor_sizes) * len(self.target_sizes)

    def cases(self) -> "Boxes":
        """Every anchor against every target."""
        points, anchors, targets = (
            len(self.points), len(self.anchor_sizes), len(self.target_sizes)
        )  # fmt: skip
        shape = (2, points, anchors, targets)
        return Boxes(
            self.points.T[:, :, None, None].expand(shape).flatten(1).clone(),
            self.anchor_sizes.T[:, None, :, None].expand(shape).flatten(1).clone(),
            self.target_center[:, None].expand(2, self.num_cases).clone(),
            self.target_sizes.T[:, None, None, :].expand(shape).flatten(1).clone(),
        )


class Boxes(NamedTuple):
    """Boxes and their targets, all [2, N] float."""

    centers: Tensor
    sizes: Tensor
    target_centers: Tensor
    target_sizes: Tensor


class Reading(NamedTuple):
    """How the places that Algorithm 1 leaves open are read.

    Attributes:
        scale: an anchor "scale" of 100 is an "area" of 100, 100 "percent" of a unit area (the DIoU
            paper's simulation), or a "side" of 100.
        step: "plain" is the printed algorithm; "two_minus_iou" has the DIoU simulation's factor.
        parameters: what is descended on, "center_size" (x, y, w, h) or "corners".
        weight: Focal-EIoU's IoU^gamma is "constant" in the gradient, "differentiated", or constant
            and "normalised" by its mean over all cases (Eq. 11, times their number).
    """

    scale: str = "area"
    step: str = "plain"
    parameters: str = "center_size"
    weight: str = "constant"

    def check(self) -> None:
        """Raise InputError for an unknown reading."""
        allowed = (SCALES, STEPS, PARAMETERS, WEIGHTS)
        for field, value, names in zip(self._fields, self, allowed, strict=True):
            if value not in names:
                raise InputError(f"{field} must be one of {names}, got {value!r}")


class Run(NamedTuple):
    """What a simulation of one loss leaves.

    Attributes:
        errors: [T + 1] sum over all cases of |x|, |y|, |w|, |h| differences, before and after each
            iteration.
        ious: iteration -> [N] IoU of every case.
    """

    errors: Tensor
    ious: dict[int, Tensor]


def setup(
    number: int, reading: Reading, rng: torch.Generator, num_points: int | None = None
) -> Setup:
    """Set-up 1 (mostly poor anchors) or 2 (better ones) of section 5.1.

    Args:
        number: 1 or 2.
        reading: its ``scale``.
        rng: draws the points.
        num_points: fewer points than the paper's 1,000 and 100.
    """
    reading.check()
    target = torch.tensor([10.0, 10.0])
    if number == 1:
        scales, ratios = [50, 67, 75, 100, 133, 150, 200], [1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4]
        points = 20 * torch.rand(num_points or 1000, 2, generator=rng)
    elif number == 2:
        scales, ratios = [50, 100, 150], [1 / 3, 1, 3]
        points = target + 2.5 * (torch.rand(num_points or 100, 2, generator=rng) - 0.5)
    else:
        raise InputError(f"number must be 1 or 2, got {number}")
    areas = {
        "area": [float(scale) for scale in scales],
        "percent": [scale / 100 for scale in scales],
        "side": [float(scale) ** 2 for scale in scales],
    }[reading.scale]
    target_area = {"area": 100.0, "percent": 1.0, "side": 1.0e4}[reading.scale]
    anchors = [_size(area, ratio) for area in areas for ratio in ratios]
    targets = [_size(target_area, ratio) for ratio in ratios]
    return Setup(points, torch.tensor(anchors), target, torch.tensor(targets))


def _size(area: float, width_to_height: float) -> tuple[float, float]:
    return math.sqrt(area * width_to_height), math.sqrt(area / width_to_height)


def learning_rate(iteration: int, iterations: int) -> float:
    """Algorithm 1: 0.1 up to 0.8 T, 0.01 below 0.9 T, then 0.001; iterations count from 1."""
    if iteration <= 0.8 * iterations:
        return 0.1
    return 0.01 if iteration < 0.9 * iterations else 0.001


def simulate(
    boxes: Boxes,
    loss: str,
    reading: Reading,
    iterations: int = ITERATIONS,
    keep: Sequence[int] = (),
    gamma: float = 0.5,
) -> Run:
    """Algorithm 1 with the sign corrected: it descends, where the paper prints an ascent.

    Sizes stay above SMALLEST_SIZE: with a unit area a step can be larger than a box.

    Args:
        boxes: start and targets; left as they are.
        loss: one of LOSSES.
        reading: of the places left open.
        iterations: T.
        keep: iterations after which the IoUs are kept (0 is the start).
        gamma: exponent of Focal-EIoU.

    Raises:
        InputError: unknown loss or reading.
    """
    reading.check()
    if loss not in GRADIENTS:
        raise InputError(f"loss must be one of {list(GRADIENTS)}, got {loss!r}")
    chunks = [
        Boxes(*(field[:, start : start + CHUNK].clone() for field in boxes))
        for start in range(0, boxes.centers.shape[1], CHUNK)
    ]
    normalised = loss == "focal_eiou" and reading.weight == "normalised"
    errors = torch.zeros(iterations + 1, dtype=torch.float64)
    ious: dict[int, Tensor] = {}
    for iteration in range(iterations + 1):
        errors[iteration] = sum(float(_error(chunk)) for chunk in chunks)
        if iteration in keep:
            ious[iteration] = torch.cat([_geometry(chunk).iou for chunk in chunks])
        if iteration == iterations:
            break
        step = learning_rate(iteration + 1, iterations)
        if normalised:  # by the mean weight over all cases: Eq. 11 times their number
            weights = sum(float(_geometry(chunk).iou.pow(gamma).sum()) for chunk in chunks)
            # Without any overlap there is no weight, and no gradient either.
            step = step * boxes.centers.shape[1] / weights if weights > 0 else 0.0
        for chunk in chunks:
            _descend(chunk, loss, reading, step, gamma)
    return Run(errors, ious)


def trajectory(boxes: Boxes, loss: str, reading: Reading, iterations: int, step: float) -> Tensor:
    """[iterations + 1, N, 4] (x, y, w, h) of boxes that descend with a constant step.

    Raises:
        InputError: unknown reading.
    """
    reading.check()
    moving = Boxes(*(field.clone() for field in boxes))
    states = [torch.cat([moving.centers, moving.sizes]).T]
    for _ in range(iterations):
        _descend(moving, loss, reading, step, gamma=0.5)
        states.append(torch.cat([moving.centers, moving.sizes]).T)
    return torch.stack(states)


def _descend(boxes: Boxes, loss: str, reading: Reading, step: float, gamma: float) -> None:
    """One step, in place."""
    geometry = _geometry(boxes)
    weight = "differentiated" if reading.weight == "differentiated" else "constant"
    by_center, by_size = GRADIENTS[loss](boxes, geometry, gamma, weight)
    factor = step * (2 - geometry.iou) if reading.step == "two_minus_iou" else step
    if reading.parameters == "corners":
        # d/d(x1) = d/d(x) / 2 - d/d(w) and d/d(x2) = d/d(x) / 2 + d/d(w): the centre moves half as
        # far, the size changes twice as much.
        by_center, by_size = by_center / 2, by_size * 2
    boxes.centers.sub_(by_center * factor)
    boxes.sizes.sub_(by_size * factor).clamp_(min=SMALLEST_SIZE)


def _error(boxes: Boxes) -> Tensor:
    centers = (boxes.centers - boxes.target_centers).abs().sum(dtype=torch.float64)
    return centers + (boxes.sizes - boxes.target_sizes).abs().sum(dtype=torch.float64)


class _Geometry(NamedTuple):
    """Overlap and hull of each pair, with derivatives by the box's centre and size.

    For one axis the overlap is min(ends) - max(starts). Moving the centre moves it by +1 where only
    the box's end bounds it, -1 where only its start does; growing the size by half for each of the
    two that does. The hull is the other way round.
    """

    iou: Tensor  # [N]
    iou_by_center: Tensor  # [2, N]
    iou_by_size: Tensor
    union: Tensor  # [N]
    union_by_center: Tensor
    union_by_size: Tensor
    hull: Tensor  # [2, N]
    hull_by_center: Tensor
    hull_by_size: Tensor


def _geometry(boxes: Boxes) -> _Geometry:
    half, target_half = boxes.sizes / 2, boxes.target_sizes / 2
    start, end = boxes.centers - half, boxes.centers + half
    target_start = boxes.target_centers - target_half
    target_end = boxes.target_centers + target_half
    end_inside, start_inside = (end < target_end).float(), (start > target_start).float()
    overlap = (torch.minimum(end, target_end) - torch.maximum(start, target_start)).clamp_(min=0)
    hull = torch.maximum(end, target_end) - torch.minimum(start, target_start)
    by_center = end_inside - start_inside
    by_size = (end_inside + start_inside) / 2
    other_overlap = overlap.flip(0)
    slope = other_overlap * (overlap > 0)
    inter = overlap[0] * overlap[1]
    inter_by_center, inter_by_size = slope * by_center, slope * by_size
    union = boxes.sizes[0] * boxes.sizes[1] + boxes.target_sizes[0] * boxes.target_sizes[1] - inter
    iou = inter / union
    area_by_size = boxes.sizes.flip(0)
    union_by_center = -inter_by_center
    union_by_size = area_by_size - inter_by_size
    return _Geometry(
        iou,
        (inter_by_center - iou * union_by_center) / union,
        (inter_by_size - iou * union_by_size) / union,
        union,
        union_by_center,
        union_by_size,
        hull,
        -by_center,
        1 - by_size,
    )


Gradients = tuple[Tensor, Tensor]
"""By centre and by size, [2, N] each."""


def _iou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    return -at.iou_by_center, -at.iou_by_size


def _giou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    area = at.hull[0] * at.hull[1]
    other = at.hull.flip(0)
    filled = at.union / area
    # GIoU = IoU - 1 + U / C
    by_center = (at.union_by_center - filled * (other * at.hull_by_center)) / area
    by_size = (at.union_by_size - filled * (other * at.hull_by_size)) / area
    return -at.iou_by_center - by_center, -at.iou_by_size - by_size


def _diou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    offset = boxes.centers - boxes.target_centers
    distance = offset.square().sum(0)
    diagonal = at.hull.square().sum(0)
    relative = distance / diagonal
    by_center = 2 * (offset - relative * at.hull * at.hull_by_center) / diagonal
    by_size = -2 * relative * at.hull * at.hull_by_size / diagonal
    return by_center - at.iou_by_center, by_size - at.iou_by_size


def _ciou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    by_center, by_size = _diou(boxes, at, gamma, weight)
    width, height = boxes.sizes
    angle = torch.atan2(*boxes.target_sizes) - torch.atan2(width, height)
    v = 4 / math.pi**2 * angle.square()
    alpha = ratio(v, 1 - at.iou + v)
    # The paper's Eq. 6 has both signs of dv reversed.
    factor = alpha * 8 / math.pi**2 * angle / boxes.sizes.square().sum(0)
    return by_center, by_size + torch.stack([-factor * height, factor * width])


def _eiou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    by_center, by_size = _diou(boxes, at, gamma, weight)
    difference = boxes.sizes - boxes.target_sizes
    relative = difference / at.hull
    by_center = by_center - 2 * relative.square() * at.hull_by_center / at.hull
    by_size = by_size + 2 * relative * (1 - relative * at.hull_by_size) / at.hull
    return by_center, by_size


def _focal_eiou(boxes: Boxes, at: _Geometry, gamma: float, weight: str) -> Gradients:
    by_center, by_size = _eiou(boxes, at, gamma, weight)
    factor = at.iou.pow(gamma)
    if weight != "differentiated":
        return by_center * factor, by_size * factor
    offset = boxes.centers - boxes.target_centers
    differences = (boxes.sizes - boxes.target_sizes) / at.hull
    eiou = (
        1 - at.iou + offset.square().sum(0) / at.hull.square().sum(0) + differences.square().sum(0)
    )
    # IoU^gamma has an infinite slope at 0, where the loss gives no gradient.
    slope = eiou * gamma * ratio(factor, at.iou)
    return (
        by_center * factor + slope * at.iou_by_center,
        by_size * factor + slope * at.iou_by_size,
    )


GRADIENTS: dict[str, Callable[[Boxes, _Geometry, float, str], Gradients]] = {
    "iou": _iou,
    "giou": _giou,
    "diou": _diou,
    "ciou": _ciou,
    "eiou": _eiou,
    "focal_eiou": _focal_eiou,
}


def gradients(boxes: Boxes, loss: str, gamma: float = 0.5, weight: str = "constant") -> Gradients:
    """Gradient of a loss by centres and by sizes, [2, N] each."""
    return GRADIENTS[loss](boxes, _geometry(boxes), gamma, weight)


def simulate_all(
    boxes: Boxes, reading: Reading, keep: Sequence[int] = (0, ITERATIONS)
) -> dict[str, Run]:
    """A run of every loss by its display name; Focal-EIoU also with Eq. 11's normalisation."""
    runs = {name: simulate(boxes, loss, reading, keep=keep) for loss, name in LOSSES.items()}
    if reading.weight != "normalised":
        normalised = reading._replace(weight="normalised")
        runs[NORMALISED] = simulate(boxes, "focal_eiou", normalised, keep=keep)
    return runs


def summary(runs: Mapping[str, Run]) -> pd.DataFrame:
    """One line per loss after the last iteration.

    Returns:
        loss, relative_error (final by initial error sum), mean_iou, iou_75th_percentile,
        iou_95th_percentile, share_above_0.9 (of the cases with IoU > 0.9).
    """
    lines = []
    for name, run in runs.items():
        iou = run.ious[max(run.ious)].sort().values
        lines.append({
            "loss": name,
            "relative_error": float(run.errors[-1] / run.errors[0]),
            "mean_iou": float(iou.mean()),
            "iou_75th_percentile": float(iou[int(0.75 * (len(iou) - 1))]),
            "iou_95th_percentile": float(iou[int(0.95 * (len(iou) - 1))]),
            "share_above_0.9": float((iou > 0.9).float().mean()),
        })  # fmt: skip
    return pd.DataFrame(lines)


def simulation_checks(
    number: int, runs: Mapping[str, Run], focal: str = "Focal-EIoU"
) -> list[Check]:
    """What section 5.2 says about a set-up, and whether it is so in these runs.

    Args:
        number: the set-up, 1 or 2.
        runs: by display name.
        focal: which of the runs stands for Focal-EIoU.
    """
    table = summary(runs).set_index("loss")
    error, high, mean = table["relative_error"], table["share_above_0.9"], table["mean_iou"]
    plain = [name for name in LOSSES.values() if name != "Focal-EIoU"]
    others = [name for name in plain if name != "EIoU"]
    found = [
        printed_claim(
            "EIoU ends with a lower error than IoU, GIoU and CIoU",
            error["EIoU"] < error[others].min(),
            _against(error, "EIoU", others),
        )
    ]
    if number == 1:
        return [
            *found,
            printed_claim(
                "the error of Focal-EIoU stays above that of EIoU",
                error[focal] > error["EIoU"],
                _against(error, focal, ["EIoU"]),
            ),
            printed_claim(
                "Focal-EIoU has more boxes of IoU > 0.9 than the others",
                high[focal] > high[plain].max(),
                _against(high, focal, plain),
            ),
        ]
    return [
        *found,
        printed_claim(
            "Focal-EIoU ends with the lowest error",
            error[focal] < error[plain].min(),
            _against(error, focal, plain),
        ),
        printed_claim(
            "Focal-EIoU has a higher mean IoU than EIoU",
            mean[focal] > mean["EIoU"],
            _against(mean, focal, ["EIoU"]),
        ),
    ]


def _against(values: pd.Series, name: str, others: Sequence[str]) -> str:
    rest = named_numbers({other: values[other] for other in others}, 3)
    return f"{values[name]:.3f} against {rest}"


def checks_by_reading(number: int, num_points: int | None, seed: int) -> pd.DataFrame:
    """Which claims hold under which reading of what the paper leaves open.

    Args:
        number: the set-up, 1 or 2.
        num_points: how many of the set-up's points; None takes all.
        seed: of the points.

    Returns:
        One line per reading: scale, step, weight of Focal-EIoU, then yes or no per claim.
    """
    lines = []
    for scale in SCALES:
        rng = torch.Generator().manual_seed(seed)
        boxes = setup(number, Reading(scale), rng, num_points).cases()
        for step in STEPS:
            reading = Reading(scale, step)
            runs = {name: simulate(boxes, loss, reading, keep=(ITERATIONS,))
                    for loss, name in LOSSES.items() if loss != "focal_eiou"}  # fmt: skip
            for weight in WEIGHTS:
                focal = reading._replace(weight=weight)
                run = simulate(boxes, "focal_eiou", focal, keep=(ITERATIONS,))
                found = simulation_checks(number, {**runs, "Focal-EIoU": run})
                lines.append(
                    {"scale": scale, "step": step.replace("_", " "), "weight": weight}
                    | {claim.name: claim.holds for claim in found}
                )
    return pd.DataFrame(lines)


def setup_checks(setups: Mapping[str, Setup], printed_cases: Sequence[int]) -> list[Check]:
    """Figure 5: the number of cases of each set-up, beside those that the paper counts."""
    return [
        printed_number(f"{name}: anchors times targets", made.num_cases, printed)
        for (name, made), printed in zip(setups.items(), printed_cases, strict=True)
    ]


def descent_start(offset: Sequence[float]) -> Boxes:
    """Figure 1's anchor, 1 wide and 2.4 high, with its centre ``offset`` from a unit square's."""
    return Boxes(
        torch.tensor(offset)[:, None],
        torch.tensor([[1.0], [2.4]]),
        torch.zeros(2, 1),
        torch.ones(2, 1),
    )


def descent_checks(numbers: Mapping[str, Sequence[float]], path: Tensor) -> list[Check]:
    """Figure 1: CIoU's box after 50 steps, and the gradients of Eq. 6 as it is printed.

    Args:
        numbers: {"ciou_wh_after_50": [w, h]} as printed.
        path: [>= 51, 1, 4] of CIoU, from ``trajectory``.
    """
    width, height = numbers["ciou_wh_after_50"]
    by_size = _aspect_gradient(1.0, 2.4)
    factor = 8 / math.pi**2 * (math.atan2(1, 1) - math.atan2(1, 2.4)) / (1 + 2.4**2)
    return [
        printed_number("width of CIoU's box after 50 steps", float(path[50, 0, 2]), width),
        printed_number("height of CIoU's box after 50 steps", float(path[50, 0, 3]), height),
        printed_number("dv/dw at w = 1, h = 2.4", by_size[0], round(factor * 2.4, 4), 4),
        printed_number("dv/dh at w = 1, h = 2.4", by_size[1], round(-factor, 4), 4),
    ]


def _aspect_gradient(width: float, height: float) -> tuple[float, float]:
    """dv/dw and dv/dh of CIoU's v against a square, by automatic differentiation."""
    size = torch.tensor([width, height], dtype=torch.float64, requires_grad=True)
    v = 4 / math.pi**2 * (math.pi / 4 - torch.atan2(size[0], size[1])).square()
    v.backward()
    assert size.grad is not None
    return float(size.grad[0]), float(size.grad[1])
