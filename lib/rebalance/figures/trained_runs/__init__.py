"""A point or a line per run (focal_eiou Figure 4, thesis Figure 3.17)."""

from rebalance.figures.family import FigureOfRuns
from rebalance.figures.trained_runs.compute import (
    loss_setting_checks,
    loss_settings,
    rpn_loss_checks,
    rpn_losses,
)
from rebalance.figures.trained_runs.draw import (
    plot_loss_settings,
    plot_rpn_losses,
)

FIGURES: dict[str, FigureOfRuns] = {
    "loss_settings": FigureOfRuns(loss_setting_checks, plot_loss_settings, loss_settings),
    "rpn_losses": FigureOfRuns(rpn_loss_checks, plot_rpn_losses, rpn_losses),
}
