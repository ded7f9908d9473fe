"""Figures of numbers that a work itself prints."""

import pandas as pd
from matplotlib.figure import Figure

from rebalance.figures.style import INK, SOFT, figure


def plot_gains(gains: pd.DataFrame) -> Figure:
    """GGIoU's Figure 3: gain in AP over the IoU threshold; thin lines are the backbones."""
    fig, ax = figure(columns=1, aspect=0.75)
    backbones = [name for name in gains.columns if name not in ("threshold", "gain")]
    for index, name in enumerate(backbones):
        ax.plot(gains["threshold"], gains[name], color=SOFT, linewidth=0.7, alpha=0.6,
                label="one backbone" if index == 0 else None)  # fmt: skip
    ax.plot(gains["threshold"], gains["gain"], "o-", color=INK, label=f"mean of {len(backbones)}")
    for index in (0, len(gains) - 1):
        ax.annotate(
            f"{gains['gain'][index]:.3f}", (gains["threshold"][index], gains["gain"][index]),
            xytext=(-4 if index else 2, 6), textcoords="offset points",
            ha="right" if index else "left", fontsize=7,
        )  # fmt: skip
    ax.set(xlabel="IoU threshold of AP", ylabel="gain in AP (points)")
    ax.legend(loc="upper left")
    return fig
