"""What the annotations of a data set look like (thesis Figures 3.4 to 3.7 and 3.13)."""

from rebalance.figures.dataset_statistics.compute import (
    anchor_claims,
    class_claims,
    contrast_claims,
    location_claims,
    scale_claims,
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
    "anchors": FamilyFigure(anchor_claims, plot_anchors),
    "classes": FamilyFigure(class_claims, plot_classes),
    "contrast": FamilyFigure(contrast_claims, plot_contrast),
    "scales": FamilyFigure(scale_claims, plot_scales),
    "locations": FamilyFigure(location_claims, plot_locations),
}
