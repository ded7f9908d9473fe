"""Worked examples of ranking losses (thesis Figures 6.1, 7.1, 7.2, 8.1, M.1 and M.2)."""

from rebalance.figures.family import FamilyFigure
from rebalance.figures.ranking_examples.compute import (
    alrp_claims,
    localiser_claims,
    primary_claims,
    rank_sort_claims,
    target_claims,
    update_claims,
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
    "localisers": FamilyFigure(localiser_claims, plot_localisers),
    "alrp_gradients": FamilyFigure(alrp_claims, plot_alrp_gradients),
    "rank_sort": FamilyFigure(rank_sort_claims, plot_rank_sort),
    "primary_terms": FamilyFigure(primary_claims, plot_primary_terms),
    "update": FamilyFigure(update_claims, plot_update),
    "target_ranking": FamilyFigure(target_claims, plot_target_ranking),
}
