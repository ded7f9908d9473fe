"""One picture for each part: what it does on a small scene, by the part's own function."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from plot_losses import plot_boxes, plot_deltas, plot_logits
from rebalance.assigners import Assignment, make_assigner
from rebalance.boxes import paired_iou
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.samplers import Sampler
from rebalance.figures.box_generator import draw as generator
from rebalance.figures.metric_behaviour import draw as metric
from rebalance.figures.style import LINE, PALETTE, SOFT, figure, legend_below
from rebalance.losses import LOSSES
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


def pictures() -> dict[str, Callable[[], Figure]]:
    """Name -> what draws it."""
    found: dict[str, Callable[[], Figure]] = {}
    for plot in (plot_boxes, plot_deltas, plot_logits):
        found |= of_losses(plot())
    found |= {f"assigner_{name}": partial(of_assigner, name) for name in Assigner.parts()}
    found |= {f"sampler_{name}": partial(of_sampler, name) for name in Sampler.parts()}
    return found | {
        "generator_generate_boxes": generator.plot_thousand,
        "generator_generate_positive_rois": generator.plot_roi_sources,
        "generator_feasible_region": generator.plot_regions,
        "metric_curves": metric.plot_curves,
        "metric_equal_ap": metric.plot_equal_ap,
        "metric_grid": metric.plot_grid,
        "metric_growth": metric.plot_growth,
        "metric_correlation": metric.plot_correlation,
    }


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
    drawing.subplots_adjust(left=0.06, right=0.99, top=0.9, bottom=0.26, wspace=0.14)
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
