"""Single images of a data set with their ground truth (thesis Figures 1.1 and 3.19)."""

from rebalance.figures.annotated_images.compute import (
    ambiguous_checks,
    ambiguous_table,
    tasks_checks,
    tasks_table,
)
from rebalance.figures.annotated_images.draw import (
    plot_ambiguous,
    plot_tasks,
)
from rebalance.figures.family import TabledFigure

FIGURES: dict[str, TabledFigure] = {
    "tasks": TabledFigure(tasks_checks, plot_tasks, tasks_table),
    "ambiguous": TabledFigure(ambiguous_checks, plot_ambiguous, ambiguous_table),
}
