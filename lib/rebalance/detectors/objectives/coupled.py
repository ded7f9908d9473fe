"""aLRP: one ranking loss of classes and boxes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rebalance.detectors.objectives.balance import Tasks, make_balance
from rebalance.detectors.objectives.linear import Term, make_linear
from rebalance.detectors.objectives.ranking import RankingObjective, make_ranking_term
from rebalance.detectors.types import Matched
from rebalance.errors import InputError


class CoupledRanking(RankingObjective):
    """Average Localisation-Recall-Precision loss (thesis chapter 7).

    The logits' gradient knows the localisation errors, the boxes' the ranks. The box loss is
    ``weight * balance * L_loc``; balance and weight change the gradient of the boxes only (K.3).
    Both losses are 0 without positives.

    Args:
        class_loss: aLRP.
        box: the loss whose sum over a positive is its localisation error, before normalisation.
        tau: IoU at which an error is 1 (Eq. 7.3), in [0, 1).
        error_range: errors are divided by ``error_range * (1 - tau)``. 2 is the range of GIoU loss,
            and what the published code takes for every loss; 1 with IoU loss is Eq. 7.3.
        normalise: which errors are divided: those of "both" losses (the thesis and its code), or
            only those that enter the gradient of the "class" loss (aLRP in the published code of
            Rank & Sort).
        balance: see ``rebalance.detectors.objectives.balance``, against ``L_aLRP``; 50 in the first
            epoch (7.4.1).
        options: see ``RankingObjective``.
    """

    def __init__(
        self,
        class_loss: Term,
        box: Term,
        *,
        tau: float = 0.5,
        error_range: float = 2.0,
        normalise: str = "both",
        balance: str | Mapping[str, Any] = "epoch",
        **options: Any,
    ) -> None:
        super().__init__(class_loss.loss, **options)
        if not 0 <= tau < 1:
            raise InputError(f"objective.tau must be in [0, 1), got {tau}")
        if not error_range > 0:
            raise InputError(f"objective.error_range must be positive, got {error_range}")
        if normalise not in ("both", "class"):
            raise InputError(
                f"objective.normalise must be one of ('both', 'class'), got {normalise!r}"
            )
        self.class_weight, self.box = class_loss.weight, box
        self.divisor = error_range * (1 - tau)
        self.regain = 1.0 if normalise == "both" else self.divisor
        self.balance = make_balance(balance)

    def forward(self, matched: Matched) -> dict[str, Tensor]:
        """See ``Objective``; with ``log`` also the unweighted localisation loss and the balance."""
        assert self.class_loss is not None
        view = self.view(matched)
        errors = self.rows("box", self.box.loss, view) / self.divisor
        found = self.class_loss(view.logits.flatten(), view.targets.flatten(), errors)
        localisation = found.localisation * self.regain
        balance = self.balance(
            Tasks(
                found.classification + localisation,
                localisation,
                view.logits,
                view.pred_deltas,
                len(view.positives) > 0,
            )
        )
        losses = {
            "class_loss": found.classification * self.class_weight,
            "box_loss": localisation * balance * self.box.weight,
        }
        if self.log:
            losses |= {"localisation": localisation.detach(), "box_balance": balance}
            losses |= self.logged(found.classification, view)
        return losses


def make_coupled_ranking(
    *, box: Mapping[str, Any], costs_by: Mapping[str, Any] | None = None, **options: Any
) -> CoupledRanking:
    """A coupled objective from settings.

    Args:
        box: ``{name, weight, options of the loss}``.
        costs_by: settings of a linear objective, see ``RankingObjective``.
        options: ``class``: ``{name: alrp, weight, options of the loss}``; others see
            ``CoupledRanking``.

    Raises:
        InputError: unknown names or options; a class loss that is not aLRP.
    """
    settings = options.pop("class", {"name": "alrp"})
    class_loss = make_ranking_term("class", settings)
    if class_loss.loss.name != "alrp":
        raise InputError(f"objective.class.name must be 'alrp', got {class_loss.loss.name!r}")
    return CoupledRanking(
        class_loss,
        make_ranking_term("box", box),
        costs_by=None if costs_by is None else make_linear(**costs_by),
        **options,
    )
