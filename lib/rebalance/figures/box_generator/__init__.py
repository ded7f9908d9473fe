"""What the box and positive RoI generators draw (bbgen Figures 2 to 6; thesis 3.16, 4.2 to 4.6)."""

from rebalance.figures.box_generator.compute import (
    corner_claims,
    initial_claims,
    region_claims,
    roi_source_claims,
    thousand_claims,
    two_step_claims,
)
from rebalance.figures.box_generator.draw import (
    plot_corners,
    plot_initial_losses,
    plot_regions,
    plot_roi_sources,
    plot_thousand,
    plot_two_steps,
)
from rebalance.figures.family import FamilyFigure

FIGURES: dict[str, FamilyFigure] = {
    "two_steps": FamilyFigure(two_step_claims, plot_two_steps),
    "thousand": FamilyFigure(thousand_claims, plot_thousand),
    "regions": FamilyFigure(region_claims, plot_regions),
    "sources": FamilyFigure(roi_source_claims, plot_roi_sources),
    "corners": FamilyFigure(corner_claims, plot_corners),
    "initial_losses": FamilyFigure(initial_claims, plot_initial_losses),
}
