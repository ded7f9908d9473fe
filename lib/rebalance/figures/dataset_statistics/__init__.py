"""What the annotations of a data set look like (thesis Figures 3.4 to 3.7 and 3.13)."""

from rebalance.figures.dataset_statistics.compute import (
    anchor_checks,
    class_checks,
    contrast_checks,
    location_checks,
    scale_checks,
)
from rebalance.figures.dataset_statistics.draw import (
    plot_anchors,
    plot_classes,
    plot_contrast,
    plot_locations,
    plot_scales,
)
from rebalance.figures.family import FamilyFigure

FIGURES: dict[str, FamilyFigure] = {
    "anchors": FamilyFigure(anchor_checks, plot_anchors),
    "classes": FamilyFigure(class_checks, plot_classes),
    "contrast": FamilyFigure(contrast_checks, plot_contrast),
    "scales": FamilyFigure(scale_checks, plot_scales),
    "locations": FamilyFigure(location_checks, plot_locations),
}
