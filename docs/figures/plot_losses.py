"""The figures of docs/losses.md: value and gradient of every loss."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rebalance.figures.style import colours, figure, legend_below, line_styles
from rebalance.losses import LOSSES, make_loss
from torch import Tensor


def draw(axes: list[Axes], x: Tensor, curves: dict[str, Callable[[Tensor], Tensor]]) -> None:
    """Values on the first axes and slopes on the second, one line per curve."""
    styles = line_styles(curves)
    for label, function in curves.items():
        variable = x.clone().requires_grad_()
        value = function(variable)
        (slope,) = torch.autograd.grad(value.sum(), variable)
        for axis, y in zip(axes, (value.detach(), slope), strict=True):
            axis.plot(x, y, label=label, **styles[label])


def two_panels(x_label: str) -> tuple[Figure, list[Axes]]:
    """A figure with axes for value and gradient."""
    drawing, axes = figure(columns=2, grid=(1, 2), aspect=0.72)
    for axis, title in zip(axes, ("Loss", "Gradient"), strict=True):
        axis.set(xlabel=x_label, title=title)
    return drawing, axes


def with_legend(drawing: Figure) -> Figure:
    """The figure with its legend."""
    legend_below(drawing, drawing.axes[0], columns=5)
    return drawing


def plot_deltas() -> Figure:
    """Losses of one encoded delta."""

    def on_deltas(name: str, *more: Tensor, **options: float) -> Callable[[Tensor], Tensor]:
        loss = make_loss(name, **options)
        return lambda x: loss(
            x[:, None].expand(-1, 4), torch.zeros(len(x), 4, dtype=x.dtype), *more
        )[:, 0]

    x = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64)
    drawing, axes = two_panels("prediction - target")
    log_variance = torch.full((len(x), 4), 0.25, dtype=x.dtype).log()
    half = torch.tensor([[0.0, 0, 4, 4]], dtype=x.dtype).expand(len(x), 4)
    whole = torch.tensor([[0.0, 0, 4, 5]], dtype=x.dtype).expand(len(x), 4)
    scores = torch.linspace(0, 1, len(x), dtype=x.dtype)
    curves = {
        "l1": on_deltas("l1"),
        "smooth_l1 (1)": on_deltas("smooth_l1"),
        "smooth_l1 (1/9)": on_deltas("smooth_l1", beta=1 / 9),
        "balanced_l1": on_deltas("balanced_l1"),
        "focal_l1 (0.8)": on_deltas("focal_l1"),
        "focal_l1 (1)": on_deltas("focal_l1", beta=1.0),
        "kl (sigma 1/2)": on_deltas("kl", log_variance),
        "iou_balanced (IoU 0.8)": on_deltas("iou_balanced", half, whole),
        "ggiou_balanced (IoU 0.8)": on_deltas("ggiou_balanced", half, whole),
        "carl (score rises along x)": on_deltas("carl", scores),
    }
    draw(axes, x, curves)
    axes[0].set_ylim(-0.8, 4)
    axes[1].set_ylim(-3, 3)
    return with_legend(drawing)


def plot_boxes() -> Figure:
    """Losses of a 10 x 10 box that moves to the right over its ground truth."""

    def shifted(name: str, **options: object) -> Callable[[Tensor], Tensor]:
        loss = make_loss(name, **options)

        def of_shift(x: Tensor) -> Tensor:
            zero = torch.zeros_like(x)
            pred = torch.stack([x, zero, x + 10, zero + 8], dim=1)
            return loss(pred, torch.tensor([[0.0, 0, 10, 10]], dtype=x.dtype).expand(len(x), 4))

        return of_shift

    x = torch.linspace(-13, 13, 521, dtype=torch.float64)
    drawing, axes = two_panels("shift of a 10 x 8 box over a 10 x 10 one, px")
    on_boxes = ("pred_boxes", "target_boxes")
    curves = {name: shifted(name) for name in LOSSES if make_loss(name).inputs == on_boxes}
    draw(axes, x, curves | {"iou (log)": shifted("iou", form="log")})
    axes[0].set_ylim(-0.1, 5)
    axes[1].set_ylim(-0.65, 0.65)
    return with_legend(drawing)


def plot_logits() -> Figure:
    """Losses of one logit, for a positive and a negative."""

    def of_target(name: str, target: float, **options: int) -> Callable[[Tensor], Tensor]:
        loss = make_loss(name, **options)
        return lambda x: loss(x, torch.full_like(x, target))

    def softmax(x: Tensor) -> Tensor:
        logits = torch.stack([torch.zeros_like(x), x, torch.zeros_like(x)], dim=1)
        return make_loss("softmax_cross_entropy")(logits, torch.ones(len(x), dtype=torch.int64))

    x = torch.linspace(-6, 6, 401, dtype=torch.float64)
    drawing, axes = two_panels("logit")
    names = {"sigmoid_cross_entropy": 1.0, "focal": 1.0, "quality_focal": 0.7, "ghm_c": 1.0}
    curves = {}
    for name, positive in names.items():
        options = {"bins": 10} if name == "ghm_c" else {}
        curves[f"{name}, {positive:g}"] = of_target(name, positive, **options)
        curves[f"{name}, 0"] = of_target(name, 0.0, **options)
    draw(axes, x, curves | {"softmax_cross_entropy": softmax})
    axes[0].set_ylim(-0.2, 6)
    return with_legend(drawing)


def plot_masks() -> Figure:
    """Mask losses of a constant logit, for a mask that covers a quarter of the square."""
    x = torch.linspace(-6, 6, 201, dtype=torch.float64)
    mask = torch.zeros(len(x), 8, 8, dtype=x.dtype)
    mask[:, :4, :4] = 1

    def of_object(name: str, **options: object) -> Callable[[Tensor], Tensor]:
        loss = make_loss(name, **options)
        # The object's pixels have the logit x, the others -3.
        return lambda v: loss(torch.where(mask > 0, v[:, None, None], -3.0), mask)

    drawing, axes = two_panels("logit of the object's pixels (others: -3)")
    curves = {
        "mask_cross_entropy": of_object("mask_cross_entropy"),
        "dice": of_object("dice"),
        "dice (not squared)": of_object("dice", squared=False),
    }
    draw(axes, x, curves)
    return with_legend(drawing)


def plot_ranking(*names: str) -> Figure:
    """Ranking losses while one negative passes three positives, and the gradients on its way.

    Args:
        names: of the losses; all, if there are none.
    """
    positives = torch.tensor([-1.5, 0.0, 1.5], dtype=torch.float64)
    targets = torch.tensor([0.9, 0.7, 0.5, 0.0], dtype=torch.float64)
    errors = 1 - targets[:3]
    x = torch.linspace(-4, 4, 321, dtype=torch.float64)
    losses = {}
    for name in names or ("rank_sort", "alrp", "ap"):
        losses[name] = make_loss(name)
        if name == "rank_sort":
            losses["rank_sort (delta 0)"] = make_loss(name, delta=0.0)
    labels = {"targets": targets, "localisation_errors": errors}
    drawing, axes = two_panels("logit of the negative (grey: the positives)")
    axes[1].set_title("Gradient (dashed: of the positives, summed)")
    colour = colours(losses)
    for label, loss in losses.items():
        values, gradients = [], []
        for logit in x:
            logits = torch.cat([positives, logit[None]]).requires_grad_()
            found = loss(logits, *(labels[name] for name in loss.inputs[1:]))
            value = found if isinstance(found, Tensor) else found.loss
            values.append(value.item())
            gradients.append(torch.autograd.grad(value, logits)[0])
        of_negative, of_positives = torch.stack(gradients).split([3, 1], dim=1)[::-1]
        axes[0].plot(x, values, color=colour[label], label=label)
        axes[1].plot(x, of_negative.squeeze(1), color=colour[label])
        axes[1].plot(x, of_positives.sum(1), "--", color=colour[label], linewidth=0.8)
    for axis in axes:
        for score in positives:
            axis.axvline(score.item(), color="0.7", linewidth=0.8, zorder=0)
    return with_legend(drawing)


FIGURES = {
    "losses_on_deltas": plot_deltas,
    "losses_on_boxes": plot_boxes,
    "losses_on_logits": plot_logits,
    "losses_on_masks": plot_masks,
    "losses_on_rankings": plot_ranking,
}
