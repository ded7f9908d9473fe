"""Figures 2 and 3 of the EIoU paper: losses and gradients over the regression error."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.figures.loss_curves.compute import BETAS, focal_l1_curve, wished_gradient
from rebalance.figures.style import SEQUENTIAL, figure, legend_below


def _shades() -> dict[str, tuple[float, float, float, float]]:
    """Ordered betas get ordered colours."""
    spread = np.linspace(0, 0.88, len(BETAS))
    return dict(zip(BETAS, colormaps[SEQUENTIAL](spread), strict=True))


def plot_focal_l1() -> Figure:
    """Loss and gradient of FocalL1 over the error, one curve per beta."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.68)
    errors = np.linspace(0, 1.6, 801)
    for (name, beta), colour in zip(BETAS.items(), _shades().values(), strict=True):
        curve = focal_l1_curve(beta, errors)
        left.plot(curve["error"], curve["loss"], color=colour, label=f"β = {name}")
        right.plot(curve["error"], curve["gradient"], color=colour)
    _mark_one(left)
    _mark_one(right)
    left.set(xlabel="regression error x", ylabel="loss", title="(a) FocalL1")
    right.set(xlabel="regression error x", ylabel="gradient", title="(b) its gradient")
    legend_below(fig, left, columns=len(BETAS))
    return fig


def plot_gradient_design() -> Figure:
    """The wished gradient, and the family that beta makes of it, before scaling."""
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.68, sharey=True)
    errors = np.linspace(0, 1, 501)
    shades = _shades()
    left.plot(errors, wished_gradient(1.0, errors), color=shades["1"])
    for name, beta in BETAS.items():
        right.plot(errors, wished_gradient(beta, errors), color=shades[name], label=f"β = {name}")
    left.set(xlabel="regression error x", ylabel="gradient", title="(a) −x ln x")
    right.set(xlabel="regression error x", title="(b) −x ln(βx)")
    legend_below(fig, right, columns=len(BETAS))
    return fig


def _mark_one(ax: Axes) -> None:
    ax.axvline(1, color="#8a93a3", linewidth=0.8, linestyle=(0, (4, 3)))
