"""Ranking losses and the tasks beside them: AP loss, Rank & Sort."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rebalance.detectors.objectives.balance import Tasks, make_balance
from rebalance.detectors.objectives.base import Objective, evaluate, order_of_tasks, row_sums
from rebalance.detectors.objectives.linear import (
    Linear,
    Term,
    make_linear,
    make_term,
    make_weights,
)
from rebalance.detectors.objectives.log import gradient_sums, score_iou_correlation
from rebalance.detectors.types import Gathered, Matched, Trained
from rebalance.distributed import world_size
from rebalance.errors import InputError
from rebalance.losses import BoundLoss, make_loss
from rebalance.losses.balancing import weighted_mean
from rebalance.losses.mask import dice_loss

OVER = ("device", "batch")
UNIT_BOXES = {
    "pred_boxes": "unit_pred_boxes",
    "target_boxes": "unit_target_boxes",
    "ious": "unit_ious",
}
BOXES: dict[str, Mapping[str, str]] = {"image": {}, "unit": UNIT_BOXES}
"""Where boxes are compared -> other names of the inputs of losses."""
OUTPUTS = {"box": "pred_deltas", "mask": "mask_logits"}
"""Task -> the head's output, as ``Matched`` calls it, where that is not the task's name."""

Named = Callable[[str], Tensor]


def _dice_labels(of: Named) -> Tensor:
    return 1 - dice_loss(of("mask_logits").detach(), of("mask_targets"))


LABELS: dict[str, Callable[[Named], Tensor]] = {
    "binary": lambda of: torch.ones_like(of("target_boxes")[:, 0]),
    "iou": lambda of: of("ious"),
    "dice": _dice_labels,
    "mean": lambda of: (of("ious") + _dice_labels(of)) / 2,
}
"""What positives are sorted by -> [P] in [0, 1], of named inputs (thesis Eq. 8.10, Table P.4)."""


class RankingObjective(Objective):
    """What AP, Rank & Sort and aLRP share: which logits are ranked, and where boxes are compared.

    Args:
        class_loss: a ranking loss.
        over: what is one ranking: the logits of the images of one "device", as in all the works,
            or of the whole "batch" of all devices, then equal to one device with all images. The
            latter needs the logits of all ranks on every rank, see ``Gathered``.
        boxes: where predicted and target boxes are compared: in the "image", or around the "unit"
            square, as in the published RetinaNet and RPN. They differ in rounding only, and for
            targets beyond the limit of decoding.
        costs_by: what candidates cost for PAA and hard mining, as ranking losses have no value per
            candidate; the published RS-PAA takes focal loss and GIoU loss.
        log: give gradients and correlation, too, see ``rebalance.detectors.objectives.log``.
    """

    def __init__(
        self,
        class_loss: BoundLoss | None,
        *,
        over: str = "device",
        boxes: str = "image",
        costs_by: Linear | None = None,
        log: bool = False,
    ) -> None:
        super().__init__()
        for name, value, allowed in (("over", over, OVER), ("boxes", boxes, tuple(BOXES))):
            if value not in allowed:
                raise InputError(f"objective.{name} must be one of {allowed}, got {value!r}")
        self.class_loss, self.over, self.renamed = class_loss, over, BOXES[boxes]
        self.costs_by, self.log = costs_by, log

    def view(self, matched: Matched) -> Matched:
        """What is ranked together."""
        return Gathered(matched) if self.over == "batch" and world_size() > 1 else matched

    def named(self, matched: Matched) -> Named:
        """Inputs of losses by name."""
        return lambda name: getattr(matched, self.renamed.get(name, name))

    def rows(self, task: str, loss: BoundLoss, matched: Matched) -> Tensor:
        """[P] a task's loss of each positive."""
        return row_sums(evaluate(loss, matched, task, self.renamed))

    def logged(self, class_loss: Tensor, matched: Matched) -> dict[str, Tensor]:
        """Values for the log."""
        if not self.log:
            return {}
        return {
            **gradient_sums(class_loss, matched.logits, matched.targets > 0),
            **score_iou_correlation(matched, self.scores(matched.positive_logits)),
        }

    def costs(self, matched: Matched, tasks: Sequence[str] | None = None) -> Tensor:
        """See ``Objective``."""
        if self.costs_by is None:
            raise InputError(
                "objective.costs_by: a ranking loss has no cost of a candidate, which the assigner "
                "or sampler asks for; give {class: {name: focal}, box: {name: giou}} or the like"
            )
        return self.costs_by.costs(matched, tasks)


class Ranking(RankingObjective):
    """A ranking loss of the classes; the other tasks are weighted means, balanced with it.

    AP loss (Chen et al., CVPR 2019; thesis chapter 6) and Rank & Sort (thesis chapter 8). A task's
    loss is ``weight * balance * sum(w_i L_i) / sum(w_i)`` over the positives (Eq. 8.11), where L_i
    is summed over the four deltas. In a mask step, which has no classes, instance weights and class
    loss are those of the box step before it.

    Args:
        terms: task -> its loss and weight; "class" or not.
        labels: what positives are sorted by, a name in ``LABELS``: "iou" for Rank & Sort.
        weights: of the positives.
        balance: makes the balance of each task.
        without_positives: value of each part of each loss where there are no positives. Published
            Rank & Sort gives 1 in RPN and RoI head, PAA and aLRP 0; there is no gradient either
            way, so the default is what does not show in the sum.
        options: see ``RankingObjective``.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        *,
        labels: str,
        weights: BoundLoss,
        balance: str | Mapping[str, Any] = "constant",
        without_positives: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(terms["class"].loss if "class" in terms else None, **options)
        if labels not in LABELS:
            raise InputError(f"objective.labels must be one of {list(LABELS)}, got {labels!r}")
        self.terms = order_of_tasks(terms)
        self.labels, self.weights, self.without_positives = labels, weights, without_positives
        self.balances = nn.ModuleDict(
            {task: make_balance(balance) for task in self.terms if task != "class"}
        )

    def forward(self, matched: Matched) -> dict[str, Tensor]:
        """See ``Objective``; with ``log`` also the parts of the class loss and the balances."""
        view = self.view(matched)
        losses, log = dict[str, Tensor](), dict[str, Tensor]()
        if self.class_loss is not None:
            ranked = view
            class_loss, parts = self._ranked(view)
            losses["class_loss"] = class_loss * self.terms["class"].weight
            log = {**parts, **self.logged(class_loss, view)}
        else:
            boxes = _of_boxes(matched)
            ranked, class_loss = self.view(boxes.matched), boxes.losses["class_loss"]
        weights = evaluate(self.weights, ranked, renamed=self.renamed)
        present = len(ranked.positives) > 0
        for task, term in self.terms.items():
            if task == "class":
                continue
            mean = weighted_mean(self.rows(task, term.loss, view), weights)
            outputs = getattr(view, OUTPUTS.get(task, task))
            balance = self.balances[task](Tasks(class_loss, mean, ranked.logits, outputs, present))
            losses[f"{task}_loss"] = (
                mean * balance * term.weight if present else mean + self.without_positives
            )
            log[f"{task}_balance"] = balance
        return {**losses, **log} if self.log else losses

    def _ranked(self, matched: Matched) -> tuple[Tensor, dict[str, Tensor]]:
        """The class loss, and its parts by name."""
        assert self.class_loss is not None
        targets = matched.at_classes(LABELS[self.labels](self.named(matched)))
        size = len(matched.positives)
        found = self.class_loss.function(
            matched.logits.flatten(), targets.flatten(), max_positives=size
        )
        loss, *parts = found if isinstance(found, tuple) else (found,)
        if size == 0:
            loss = loss + self.without_positives * max(len(parts), 1)
        names = found._fields[1:] if parts else ()
        return loss, dict(zip(names, parts, strict=True))


def _of_boxes(matched: Matched) -> Trained:
    if matched.of_boxes is None:
        raise InputError(
            "objective: a ranking objective without classes takes those of the box step before, so "
            "it is for mask steps with refined: false"
        )
    if "class_loss" not in matched.of_boxes.losses:
        raise InputError("objective: the box step before has no class_loss to balance with")
    return matched.of_boxes


def make_ranking(
    *,
    labels: str | None = None,
    weigh: str | Mapping[str, Any] = "none",
    balance: str | Mapping[str, Any] = "constant",
    without_positives: float = 0.0,
    over: str = "device",
    boxes: str = "image",
    costs_by: Mapping[str, Any] | None = None,
    log: bool = False,
    **tasks: Mapping[str, Any],
) -> Ranking:
    """A ranking objective from settings.

    Args:
        labels: see ``Ranking``; None: "iou" for Rank & Sort, else "binary".
        weigh: name of instance weights, or ``{name, options}``.
        balance: name of a balance, or ``{name, options}``.
        without_positives: see ``Ranking``.
        over: see ``RankingObjective``.
        boxes: see ``RankingObjective``.
        costs_by: settings of a linear objective.
        log: see ``RankingObjective``.
        tasks: task -> ``{name, weight, options of the loss}``.

    Raises:
        InputError: unknown names or options.
    """
    terms = {task: make_ranking_term(task, settings) for task, settings in tasks.items()}
    if labels is None:
        sorts = "class" in terms and terms["class"].loss.name == "rank_sort"
        labels = "iou" if sorts else "binary"
    return Ranking(
        terms,
        labels=labels,
        weights=make_weights(weigh),
        balance=balance,
        without_positives=without_positives,
        over=over,
        boxes=boxes,
        costs_by=None if costs_by is None else make_linear(**costs_by),
        log=log,
    )


def make_ranking_term(task: str, settings: Mapping[str, Any]) -> Term:
    """A term from ``{name, weight, options of the loss}``; what is weighed or divided is given.

    Raises:
        InputError: a class loss that does not rank, an unknown name or option.
    """
    for key in ("per", "weigh"):
        if key in settings:
            raise InputError(
                f"objective.{task}.{key}: a ranking objective decides it for all tasks"
            )
    if task != "class":
        return make_term(settings)
    ranking = ("alrp", "ap", "rank_sort")
    if settings.get("name") not in ranking:
        raise InputError(
            f"objective.class.name must be one of {ranking}, got {settings.get('name')!r}"
        )
    # nan shows in the loss, which the engine refuses with the images' names.
    own = dict(settings)
    weight = float(own.pop("weight", 1.0))
    loss = make_loss(**own)
    return Term(replace(loss, function=partial(loss.function, check=False)), weight)
