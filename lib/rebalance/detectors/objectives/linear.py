"""Every task on its own: its loss, summed, over a count, times a constant."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rebalance.detectors.objectives.base import (
    Objective,
    evaluate,
    inputs_of,
    is_softmax,
    order_of_tasks,
    row_sums,
)
from rebalance.detectors.objectives.log import gradient_sums, score_iou_correlation
from rebalance.detectors.types import Matched
from rebalance.distributed import world_mean, world_size
from rebalance.errors import InputError
from rebalance.losses import BoundLoss, make_instance_weights, make_loss

SMALLEST_NORMALISER = 1e-6


def _positives_of_images(matched: Matched) -> Tensor:
    counts = torch.zeros(matched.num_images, device=matched.image.device)
    counts.index_add_(0, matched.image, matched.is_positive.float())
    return counts.clamp(min=1).sum()


def _positives_or_images(matched: Matched) -> Tensor:
    positives = torch.full((), float(len(matched.positives)), device=matched.image.device)
    return world_mean(positives).clamp(min=matched.num_images)  # each process has as many images


COUNTS: dict[str, Callable[[Matched], Tensor | float]] = {
    "positives": lambda matched: len(matched.positives),
    "samples": lambda matched: len(matched.matches.rows),
    "positives_of_images": _positives_of_images,
    "positives_and_images": lambda matched: len(matched.positives) + matched.num_images,
    "positives_or_images": _positives_or_images,
    "positives_and_one": lambda matched: len(matched.positives) + 1 / world_size(),
    "images": lambda matched: matched.num_images,
    "masks": lambda matched: matched.num_masks,
}
"""What a summed loss may be divided by: the processes' values add up to at least 1.

"positives_of_images" counts at least one for each image (mmdetection's RetinaNet),
"positives_and_images" adds one for each (its FoveaBox), "positives_or_images" is the larger of the
two numbers (its PAA), "positives_and_one" adds just one (its SOLOv2), each of the global batch and
not, as published, of each process's images.
"""


class Term(NamedTuple):
    """One task of a linear objective.

    Attributes:
        loss: its inputs are properties of ``Matched``.
        weight: factor.
        per: what the sum is divided by, a name in ``COUNTS``; a loss with a normaliser of its own
            (Eq. 11 of focal_eiou) is divided by that.
        weigh: weights of the positives; their sum takes the place of ``per`` (ATSS, PAA;
            mmdetection's ATSS divides by at least 1, which its authors do not). None: all weigh 1.
    """

    loss: BoundLoss
    weight: float = 1.0
    per: str = "positives"
    weigh: BoundLoss | None = None


def make_term(settings: Mapping[str, Any], per: str = "positives") -> Term:
    """A term from ``{name, weight, per, weigh, options of the loss}``; ``per`` by default."""
    settings = {"per": per, **settings}
    own = {key: settings[key] for key in ("weight", "per") if key in settings}
    weigh = settings.get("weigh")
    loss = {key: value for key, value in settings.items() if key not in (*own, "weigh")}
    term = Term(make_loss(**loss), **own, weigh=None if weigh is None else make_weights(weigh))
    if term.per not in COUNTS:
        raise InputError(f"per must be one of {list(COUNTS)}, got {term.per!r}")
    return term


def make_weights(settings: str | Mapping[str, Any]) -> BoundLoss:
    """Weights of the positives from a name in ``INSTANCE_WEIGHTS``, or ``{name, options}``."""
    return make_instance_weights(**({"name": settings} if isinstance(settings, str) else settings))


class Linear(Objective):
    """Losses that are sums over the global batch, each divided by a count, times its weight.

    Args:
        terms: task ("class", "box", "mask", "centerness", ...) -> its term.
        costs: tasks that count where candidates are chosen by their loss; None: "class" and "box",
            as Shrivastava et al. (OHEM, CVPR 2016, section 4). mmdetection's counts "class" alone.

        log: give gradients and correlation, too, see ``rebalance.detectors.objectives.log``. With
            softmax, all logits of a positive candidate count as positives.

    Raises:
        InputError: a task among the costs that there is not.
    """

    def __init__(
        self, terms: Mapping[str, Term], costs: Sequence[str] | None = None, log: bool = False
    ) -> None:
        super().__init__()
        if costs is not None and not set(costs) <= set(terms):
            raise InputError(f"costs must be among {sorted(terms)}, got {list(costs)}")
        self.cost_tasks = ("class", "box") if costs is None else tuple(costs)
        self.terms, self.log = order_of_tasks(terms), log
        self.has_background = "class" in terms and is_softmax(terms["class"].loss)

    def forward(self, matched: Matched) -> dict[str, Tensor]:
        """See ``Objective``."""
        losses = {f"{task}_loss": _total(task, term, matched) for task, term in self.terms.items()}
        if self.log and "class" in self.terms:
            positive = matched.is_positive[:, None]
            positive = positive if self.has_background else matched.targets > 0
            losses |= gradient_sums(losses["class_loss"], matched.logits, positive)
            losses |= score_iou_correlation(matched, self.scores(matched.positive_logits))
        return losses

    @torch.no_grad()
    def costs(self, matched: Matched, tasks: Sequence[str] | None = None) -> Tensor:
        """See ``Objective``; losses of classes are of all candidates, others of positives."""
        costs = torch.zeros(len(matched.matches.rows), device=matched.matches.rows.device)
        for task in tasks or self.cost_tasks:
            term = self.terms[task]
            losses = row_sums(evaluate(term.loss, matched, task))
            losses = losses.float() * term.weight
            if task == "class":
                costs = costs + losses
            else:
                costs = costs.index_add(0, matched.positives, losses)
        return costs


def make_linear(
    per: str = "positives",
    costs: Sequence[str] | None = None,
    log: bool = False,
    **tasks: Mapping[str, Any],
) -> Linear:
    """A linear objective from the settings of each task, see ``make_term``."""
    return Linear({task: make_term(settings, per) for task, settings in tasks.items()}, costs, log)


def _total(task: str, term: Term, matched: Matched) -> Tensor:
    losses = evaluate(term.loss, matched, task)
    if term.weigh is not None:
        weights = evaluate(term.weigh, matched)
        total = (row_sums(losses) * weights).sum()
        divisor = world_mean(weights.sum()).clamp(min=SMALLEST_NORMALISER)
        return total / divisor * term.weight
    total = losses.sum()
    if term.loss.normaliser is not None:
        own = term.loss.normaliser(*inputs_of(term.loss, matched, task))
        return total / world_mean(own).clamp(min=SMALLEST_NORMALISER) * term.weight
    count = COUNTS[term.per](matched)
    count = count if isinstance(count, Tensor) else total.new_full((), float(count))
    return total / world_mean(count).clamp(min=1 / world_size()) * term.weight
