"""A point or a line per run (focal_eiou Figure 4, thesis 3.17, 7.3 and 7.4)."""

from rebalance.figures.family import FigureOfRuns
from rebalance.figures.trained_runs.compute import (
    alrp_part_claims,
    alrp_parts,
    gradient_balance,
    gradient_balance_claims,
    loss_setting_claims,
    loss_settings,
    rpn_loss_claims,
    rpn_losses,
)
from rebalance.figures.trained_runs.draw import (
    plot_alrp_parts,
    plot_gradient_balance,
    plot_loss_settings,
    plot_rpn_losses,
)

FIGURES: dict[str, FigureOfRuns] = {
    "loss_settings": FigureOfRuns(loss_setting_claims, plot_loss_settings, loss_settings),
    "rpn_losses": FigureOfRuns(rpn_loss_claims, plot_rpn_losses, rpn_losses),
    "alrp_parts": FigureOfRuns(alrp_part_claims, plot_alrp_parts, alrp_parts),
    "gradient_balance": FigureOfRuns(
        gradient_balance_claims, plot_gradient_balance, gradient_balance
    ),
}
