"""The printed feasible regions of the box generator (bbgen Tables 6 to 9, thesis B.1 to B.3)."""

from rebalance.figures.corner_regions.compute import (
    bound_table,
    curve_table,
    top_left_table,
    weight_table,
)

TABLES = {
    "top_left_regions": top_left_table,
    "bottom_right_bounds": bound_table,
    "bottom_right_curves": curve_table,
    "bin_weights": weight_table,
}
