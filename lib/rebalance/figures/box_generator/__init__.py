"""What the box and positive RoI generators draw (bbgen Figures 2 to 5; thesis 3.16, 4.2 to 4.5)."""

from rebalance.figures.box_generator.compute import (
    initial_checks,
    region_checks,
    roi_source_checks,
    thousand_checks,
    two_step_checks,
)
from rebalance.figures.box_generator.draw import (
    plot_initial_losses,
    plot_regions,
    plot_roi_sources,
    plot_thousand,
    plot_two_steps,
)
from rebalance.figures.family import FamilyFigure

FIGURES: dict[str, FamilyFigure] = {
    "two_steps": FamilyFigure(two_step_checks, plot_two_steps),
    "thousand": FamilyFigure(thousand_checks, plot_thousand),
    "regions": FamilyFigure(region_checks, plot_regions),
    "sources": FamilyFigure(roi_source_checks, plot_roi_sources),
    "initial_losses": FamilyFigure(initial_checks, plot_initial_losses),
}
