"""A point or a line per run (focal_eiou Figure 4, thesis 3.17, 7.3, 7.4 and L.1; cross)."""

from rebalance.figures.family import FigureOfRuns, OwnFigure
from rebalance.figures.trained_runs.compute import (
    alrp_part_checks,
    alrp_parts,
    gradient_balance,
    gradient_balance_checks,
    loss_setting_checks,
    loss_settings,
    rpn_loss_checks,
    rpn_losses,
    transfer,
    wrong_target,
    wrong_target_checks,
)
from rebalance.figures.trained_runs.draw import (
    plot_alrp_parts,
    plot_gradient_balance,
    plot_loss_settings,
    plot_rpn_losses,
    plot_transfer,
    plot_wrong_target,
)

FIGURES: dict[str, FigureOfRuns] = {
    "loss_settings": FigureOfRuns(loss_setting_checks, plot_loss_settings, loss_settings),
    "rpn_losses": FigureOfRuns(rpn_loss_checks, plot_rpn_losses, rpn_losses),
    "alrp_parts": FigureOfRuns(alrp_part_checks, plot_alrp_parts, alrp_parts),
    "gradient_balance": FigureOfRuns(
        gradient_balance_checks, plot_gradient_balance, gradient_balance
    ),
    "transfer": OwnFigure(lambda gains, numbers: [], plot_transfer, transfer),
    "wrong_target": FigureOfRuns(wrong_target_checks, plot_wrong_target, wrong_target),
}
