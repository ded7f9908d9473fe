"""Single images of a data set with their ground truth (thesis Figures 1.1 and 3.19)."""

from rebalance.figures.annotated_images.compute import (
    ambiguous_claims,
    ambiguous_table,
    tasks_claims,
    tasks_table,
)
from rebalance.figures.annotated_images.draw import (
    plot_ambiguous,
    plot_tasks,
)
from rebalance.figures.family import TabledFigure

FIGURES: dict[str, TabledFigure] = {
    "tasks": TabledFigure(tasks_claims, plot_tasks, tasks_table),
    "ambiguous": TabledFigure(ambiguous_claims, plot_ambiguous, ambiguous_table),
}
