"""One picture for each part: what it does on a small scene, by the part's own function."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from metric_pictures import metric_pictures
from plot_losses import (
    draw,
    plot_boxes,
    plot_deltas,
    plot_logits,
    plot_masks,
    plot_ranking,
    two_panels,
)
from rebalance.assigners import Assignment, make_assigner
from rebalance.boxes import centerness, paired_iou
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.losses import CoupledRankingLoss, InstanceWeights, RankingLoss
from rebalance.config.options.objectives import Balance
from rebalance.config.options.samplers import Sampler
from rebalance.detectors.objectives.balance import Tasks, make_balance
from rebalance.figures.box_generator import draw as generator
from rebalance.figures.style import LINE, PALETTE, SOFT, figure, legend_below
from rebalance.losses import LOSSES, make_instance_weights, make_loss
from rebalance.samplers import make_sampler

OPTIONS_OF_ASSIGNER = {"foveabox": {"scale_ranges": [[1, 40], [30, 70], [60, 200]]}}
OPTIONS_OF_SAMPLER = {
    "random": {"num": 64},
    "combined": {"num": 64, "positive": "hard", "negative": "iou_balanced"},
    "ofb": {"num": 64},
    "iou_balanced_negatives": {"num": 64},
    "ohem": {"num": 64, "nms_iou": None},
    "ohpm": {"num": 64, "nms_iou": None},
}
OPTIONS_OF_BALANCE = {"epoch": {"initial": 5.0, "period": 50}}


def pictures() -> dict[str, Callable[[], Figure]]:
    """Name -> what draws it."""
    found: dict[str, Callable[[], Figure]] = {}
    for plot in (plot_boxes, plot_deltas, plot_dynamic, plot_logits, plot_masks, *OTHER_MASKS):
        found |= of_losses(plot())
    for kind in (RankingLoss, CoupledRankingLoss):
        found |= {f"loss_{name}": partial(plot_ranking, name) for name in kind.parts()}
    for noun, parts, plot_part in (
        ("weights", InstanceWeights.parts(), of_weights),
        ("balance", Balance.parts(), of_balance),
        ("assigner", Assigner.parts(), of_assigner),
        ("sampler", Sampler.parts(), of_sampler),
    ):
        found |= {f"{noun}_{name}": partial(plot_part, name) for name in parts}
    return found | {
        "generator_generate_boxes": generator.plot_thousand,
        "generator_generate_positive_rois": generator.plot_roi_sources,
        "generator_feasible_region": generator.plot_regions,
        **{f"metric_{name}": plot for name, plot in metric_pictures().items()},
    }


def plot_dynamic() -> Figure:
    """Smooth L1 at three of the betas that a training goes through."""
    x = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64)
    loss = make_loss("dynamic_smooth_l1")

    def at(beta: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda v: loss(v, torch.zeros_like(v), v.new_tensor(beta))

    drawing, axes = two_panels("prediction - target")
    draw(axes, x, {f"dynamic_smooth_l1 (beta {beta:g})": at(beta) for beta in (1.0, 0.4, 0.1)})
    return drawing


def plot_size_normalised() -> Figure:
    """An object on a quarter of the image, by what its box is said to cover."""
    x, mask = masks()
    loss = make_loss("size_normalised_mask")

    def at(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
        shares = torch.full((len(x),), share, dtype=x.dtype)
        return lambda v: loss(torch.where(mask > 0, v[:, None, None], -3.0), mask, shares)

    drawing, axes = two_panels("logit of the object's pixels (others: -3)")
    shares = (0.25, 0.5, 1.0)
    draw(axes, x, {f"size_normalised_mask (box: {s:g})": at(s) for s in shares})
    return drawing


def plot_semantic() -> Figure:
    """A class on a quarter of the image, and on none of it."""
    x, mask = masks()
    loss = make_loss("semantic_cross_entropy")

    def of(target: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        there = target.amax((1, 2)) > 0
        return lambda v: loss(v[:, None, None, None].expand(-1, 1, 8, 8), target[:, None], there)

    drawing, axes = two_panels("logit of the class at every pixel")
    curves = {
        "semantic_cross_entropy (on a quarter)": of(mask),
        "semantic_cross_entropy (not there)": of(torch.zeros_like(mask)),
    }
    draw(axes, x, curves)
    return drawing


def plot_mask_iou() -> Figure:
    """Predicted IoUs against those to learn; an IoU of 0 teaches nothing."""
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    loss = make_loss("mask_iou")

    def at(target: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda v: loss(v, torch.full_like(v, target))

    drawing, axes = two_panels("predicted IoU of the mask")
    draw(axes, x, {f"mask_iou (IoU {t:g})": at(t) for t in (0.9, 0.5, 0.0)})
    return drawing


OTHER_MASKS = (plot_size_normalised, plot_semantic, plot_mask_iou)
"""Their inputs are not those of the losses in the overview."""


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n], and for each a mask of 8 x 8 that covers a quarter."""
    x = torch.linspace(-6, 6, 201, dtype=torch.float64)
    mask = torch.zeros(len(x), 8, 8, dtype=x.dtype)
    mask[:, :4, :4] = 1
    return x, mask


def of_weights(name: str) -> Figure:
    """What each of eight positives of one object weighs, the highest score first."""
    truth = torch.tensor([[0.0, 0, 40, 40]]).expand(8, 4)
    scores = torch.tensor([0.95, 0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1])
    shifts = torch.tensor([3.0, 1, 6, 2, 10, 4, 12, 8])
    points = torch.tensor(
        [[20.0, 20], [14, 22], [28, 20], [20, 33], [8, 20], [30, 31], [20, 12], [5, 7]]
    )
    negatives = torch.tensor([0.92, 0.75, 0.5, 0.3])
    logits = torch.cat([scores, negatives]).logit()
    inputs = {
        "target_boxes": truth,
        "pred_boxes": truth + shifts[:, None] * torch.tensor([1.0, 0, 1, 0]),
        "points": points,
        "positive_logits": scores.logit()[:, None],
        "logits": logits,
        "targets": torch.tensor([1.0] * 8 + [0.0] * 4),
    }
    weigh = make_instance_weights(name)
    weights = weigh(*(inputs[one] for one in weigh.inputs))
    ious = paired_iou(inputs["pred_boxes"], truth)
    central = centerness(points, truth)
    drawing, axis = figure(columns=2, aspect=0.3)
    axis.bar(range(8), weights.tolist(), width=0.6, color=PALETTE[0])
    axis.set(ylabel="weight", xticks=range(8), ylim=(0, 1.05 * max(1.0, weights.max().item())))
    axis.set_xticklabels([
        f"score {score:.2f}\nIoU {iou:.2f}\ncentral {middle:.2f}"
        for score, iou, middle in zip(scores, ious, central, strict=True)
    ])  # fmt: skip
    axis.grid(axis="x", visible=False)
    return drawing


def of_balance(name: str) -> Figure:
    """A made-up training whose ranking loss falls slowly and whose box loss falls fast."""
    settings = {"name": name} | OPTIONS_OF_BALANCE.get(name, {})
    balance = make_balance(settings)
    steps = torch.arange(200)
    of_classes, of_boxes = 0.35 + 0.6 * (-steps / 90).exp(), 0.08 + 0.7 * (-steps / 35).exp()
    weights = []
    for ranking, boxes in zip(of_classes, of_boxes, strict=True):
        logits, deltas = (torch.ones(4, requires_grad=True) for _ in range(2))
        # The gradient of the classes is as large as their loss, that of the task twice its loss.
        tasks = Tasks(
            ranking * logits.mean(), boxes * deltas.square().mean(), logits, deltas, present=True
        )
        weights.append(balance(tasks).item())
    drawing, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.5)
    left.plot(steps, of_classes, color=PALETTE[0], label="ranking loss")
    left.plot(steps, of_boxes, color=PALETTE[1], label="task loss")
    left.set(xlabel="iteration", title="Losses", ylim=(0, 1))
    left.legend()
    right.plot(steps, weights, color=PALETTE[2])
    right.set(xlabel="iteration", title="Weight of the task", ylim=(0, 1.08 * max(weights)))
    return drawing


def of_losses(overview: Figure) -> dict[str, Callable[[], Figure]]:
    """The curves of each loss in an overview of docs/figures, on axes of its own."""
    curves: dict[str, dict[str, tuple[np.ndarray, list[np.ndarray]]]] = {}
    for line, slope in zip(*(axis.get_lines() for axis in overview.axes), strict=True):
        label = str(line.get_label())
        name = label.replace(",", " ").split()[0]
        values = [np.asarray(one.get_ydata()) for one in (line, slope)]
        curves.setdefault(name, {})[label] = (np.asarray(line.get_xdata()), values)
    x_label = overview.axes[0].get_xlabel()
    assert set(curves) <= set(LOSSES)
    return {f"loss_{name}": partial(_curves, own, x_label) for name, own in curves.items()}


def _curves(curves: Mapping[str, tuple[np.ndarray, list[np.ndarray]]], x_label: str) -> Figure:
    drawing, axes = figure(columns=2, grid=(1, 2), aspect=0.55)
    # Laying out by measuring every word takes most of the time of a small figure.
    drawing.set_layout_engine(None)
    drawing.subplots_adjust(left=0.06, right=0.99, top=0.9, bottom=0.3, wspace=0.14)
    for index, title in enumerate(("Loss", "Gradient")):
        for (label, (x, values)), colour in zip(curves.items(), PALETTE, strict=False):
            axes[index].plot(x, values[index], label=label, color=colour)
        axes[index].set(xlabel=x_label, title=title)
    if len(curves) > 1:
        legend_below(drawing, axes[0])
    return drawing


def scene() -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """Square anchors of three levels over 128 x 128 px, their numbers, and two ground truths."""
    levels = []
    for stride in (8, 16, 32):
        at = torch.arange(stride / 2, 128, stride)
        centers = torch.cartesian_prod(at, at)
        levels.append(torch.cat([centers - 2 * stride, centers + 2 * stride], dim=1))
    truths = torch.tensor([[14.0, 20, 62, 78], [58, 50, 122, 104]])
    return torch.cat(levels), [len(level) for level in levels], truths


def of_assigner(name: str) -> Figure:
    """The scene, its anchors as dots: positives, negatives and ignored."""
    boxes, sizes, truths = scene()

    def costs(assignment: Assignment) -> torch.Tensor:
        """Stands for the losses of a detector: small where the overlap is large."""
        return 2 * (1 - paired_iou(boxes, truths[assignment.gt_idxs.clamp(min=0)]))

    assign = make_assigner(name, **OPTIONS_OF_ASSIGNER.get(name, {}))
    found = assign(boxes, truths, torch.tensor([1, 2]), level_sizes=sizes, costs=costs)
    drawing, axes = figure(columns=2, grid=(1, 3), aspect=1.0)
    start = 0
    for axis, size, stride in zip(axes, sizes, (8, 16, 32), strict=True):
        level = slice(start, start + size)
        start += size
        x, y = ((boxes[level, :2] + boxes[level, 2:]) / 2).T
        for truth, colour in zip(truths, PALETTE, strict=False):
            x1, y1, x2, y2 = truth.tolist()
            corners = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.2)
            axis.add_patch(corners)
        for value, marker, colour, dots in (
            (-1, "o", LINE, 5),
            (-2, "x", SOFT, 14),
            (0, "o", PALETTE[0], 16),
            (1, "o", PALETTE[1], 16),
        ):
            at = found.gt_idxs[level] == value
            axis.scatter(x[at], y[at], s=dots, marker=marker, color=colour, linewidths=0.9)
        count = int(found.positives[level].sum())
        axis.set(xlim=(0, 128), ylim=(128, 0), xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"anchors of {4 * stride} px: {count} positive")
    return drawing


def candidates() -> tuple[Assignment, torch.Tensor]:
    """600 assigned candidates of four objects of three classes, and their losses."""
    rng = torch.Generator().manual_seed(0)
    overlaps = torch.rand(600, generator=rng).pow(2.2) * 0.95
    positive = overlaps >= 0.5
    objects = torch.multinomial(torch.tensor([0.6, 0.2, 0.15, 0.05]), 600, True, generator=rng)
    labels = torch.tensor([1, 1, 2, 3])[objects]
    noise = torch.rand(600, generator=rng)
    losses = torch.where(positive, 1.2 - overlaps, 0.2 + overlaps) + noise
    none = torch.zeros_like(objects)
    gt_idxs = torch.where(positive, objects, none - 1)
    return Assignment(gt_idxs, overlaps, torch.where(positive, labels, none)), losses


def of_sampler(name: str) -> Figure:
    """Candidates by IoU, and those kept."""
    assignment, losses = candidates()
    sample = make_sampler(name, **OPTIONS_OF_SAMPLER.get(name, {}))
    boxes = torch.zeros(600, 4)
    rng = torch.Generator().manual_seed(0)
    kept = sample(assignment, rng=rng, boxes=boxes, losses=lambda rows: losses[rows])
    drawing, axis = figure(columns=2, aspect=0.3)
    drawing.set_layout_engine(None)
    drawing.subplots_adjust(left=0.08, right=0.99, top=0.96, bottom=0.2)
    bins = np.linspace(0, 1, 21).tolist()
    values = assignment.overlaps
    axis.hist(values.tolist(), bins=bins, color=LINE, label="candidates")
    chosen = torch.zeros(600, dtype=torch.bool)
    chosen[kept] = True
    for label, mask, colour in (
        ("negatives kept", chosen & assignment.negatives, PALETTE[0]),
        ("positives kept", chosen & assignment.positives, PALETTE[1]),
    ):
        text = f"{label}: {int(mask.sum())}"
        axis.hist(values[mask].tolist(), bins=bins, color=colour, label=text)
    axis.set(xlabel="IoU", ylabel="candidates", yscale="symlog")
    axis.legend()
    return drawing
