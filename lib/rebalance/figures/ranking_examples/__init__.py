"""Worked examples of ranking losses (thesis Figures 6.1, 7.1, 7.2, 8.1, M.1 and M.2)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.ranking_examples.compute import (
    alrp_checks,
    localiser_checks,
    primary_checks,
    rank_sort_checks,
    target_checks,
    update_checks,
)
from rebalance.figures.ranking_examples.draw import (
    plot_alrp_gradients,
    plot_localisers,
    plot_primary_terms,
    plot_rank_sort,
    plot_target_ranking,
    plot_update,
)

FIGURES: dict[str, FamilyFigure] = {
    "localisers": FamilyFigure(localiser_checks, plot_localisers),
    "alrp_gradients": FamilyFigure(alrp_checks, plot_alrp_gradients),
    "rank_sort": FamilyFigure(rank_sort_checks, plot_rank_sort),
    "primary_terms": FamilyFigure(primary_checks, plot_primary_terms),
    "update": FamilyFigure(update_checks, plot_update),
    "target_ranking": FamilyFigure(target_checks, plot_target_ranking),
}
