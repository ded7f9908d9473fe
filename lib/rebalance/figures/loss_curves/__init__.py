"""FocalL1 and how its gradient was designed (EIoU paper, Figures 2 and 3)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.loss_curves.compute import (
    design_checks,
    focal_l1_claims,
)
from rebalance.figures.loss_curves.draw import (
    plot_focal_l1,
    plot_gradient_design,
)

FIGURES: dict[str, FamilyFigure] = {
    "focal_l1": FamilyFigure(focal_l1_claims, plot_focal_l1),
    "gradient_design": FamilyFigure(design_checks, plot_gradient_design),
}
