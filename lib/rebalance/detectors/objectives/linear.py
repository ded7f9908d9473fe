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
    row_sums,
)
from rebalance.detectors.types import Matched
from rebalance.distributed import world_mean, world_size
from rebalance.errors import InputError
from rebalance.losses import BoundLoss, make_loss

SMALLEST_NORMALISER = 1e-6


def _positives_of_images(matched: Matched) -> Tensor:
    counts = torch.zeros(matched.num_images, device=matched.image.device)
    counts.index_add_(0, matched.image, matched.is_positive.float())
    return counts.clamp(min=1).sum()


COUNTS: dict[str, Callable[[Matched], Tensor | int]] = {
    "positives": lambda matched: len(matched.positives),
    "samples": lambda matched: len(matched.matches.rows),
    "positives_of_images": _positives_of_images,
    "positives_and_images": lambda matched: len(matched.positives) + matched.num_images,
    "positives_or_images": lambda matched: max(len(matched.positives), matched.num_images),
    "positives_and_one": lambda matched: len(matched.positives) + 1,
    "images": lambda matched: matched.num_images,
    "masks": lambda matched: matched.num_masks,
}
"""What a summed loss may be divided by, at least 1 over the global batch.

"positives_of_images" counts at least one for each image (mmdetection's RetinaNet),
"positives_and_images" adds one for each (its FoveaBox), "positives_or_images" is the larger of the
two numbers (its PAA), "positives_and_one" adds just one (its SOLOv2).
"""

INSTANCE_WEIGHTS = {"centerness": "centerness_targets", "iou": "ious", "score": "scores"}
"""Weights of the positives by name -> the property of ``Matched``; they are the divisor, too."""


class Term(NamedTuple):
    """One task of a linear objective.

    Attributes:
        loss: its inputs are properties of ``Matched``.
        weight: factor.
        per: what the sum is divided by, a name in ``COUNTS``; a loss with a normaliser of its own
            (Eq. 11 of focal_eiou) is divided by that.
        weigh: weights of the positives, a name in ``INSTANCE_WEIGHTS``; their sum takes the
            place of ``per`` (ATSS, PAA; mmdetection's ATSS divides by at least 1, which its authors
            do not). None: all weigh 1.
    """

    loss: BoundLoss
    weight: float = 1.0
    per: str = "positives"
    weigh: str | None = None


def make_term(settings: Mapping[str, Any], per: str = "positives") -> Term:
    """A term from ``{name, weight, per, weigh, options of the loss}``; ``per`` by default."""
    settings = {"per": per, **settings}
    own = {key: settings[key] for key in ("weight", "per", "weigh") if key in settings}
    term = Term(make_loss(**{k: v for k, v in settings.items() if k not in own}), **own)
    if term.per not in COUNTS:
        raise InputError(f"per must be one of {list(COUNTS)}, got {term.per!r}")
    if term.weigh is not None and term.weigh not in INSTANCE_WEIGHTS:
        raise InputError(f"weigh must be one of {list(INSTANCE_WEIGHTS)}, got {term.weigh!r}")
    return term


class Linear(Objective):
    """Losses that are sums over the global batch, each divided by a count, times its weight.

    Args:
        terms: task ("class", "box", "mask", "centerness", ...) -> its term.
        costs: tasks that count where candidates are chosen by their loss; None: "class" and "box",
            as Shrivastava et al. (OHEM, CVPR 2016, section 4). mmdetection's counts "class" alone.

    Raises:
        InputError: a task among the costs that there is not.
    """

    def __init__(self, terms: Mapping[str, Term], costs: Sequence[str] | None = None) -> None:
        super().__init__()
        if costs is not None and not set(costs) <= set(terms):
            raise InputError(f"costs must be among {sorted(terms)}, got {list(costs)}")
        self.cost_tasks = ("class", "box") if costs is None else tuple(costs)
        # One order, however the settings were written: it decides the columns of the log.
        first = {"class": 0, "box": 1}
        self.terms = dict(sorted(terms.items(), key=lambda term: (first.get(term[0], 2), term[0])))
        self.has_background = "class" in terms and is_softmax(terms["class"].loss)

    def forward(self, matched: Matched) -> dict[str, Tensor]:
        """See ``Objective``."""
        return {f"{task}_loss": _total(task, term, matched) for task, term in self.terms.items()}

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
    per: str = "positives", costs: Sequence[str] | None = None, **tasks: Mapping[str, Any]
) -> Linear:
    """A linear objective from the settings of each task, see ``make_term``."""
    return Linear({task: make_term(settings, per) for task, settings in tasks.items()}, costs)


def _total(task: str, term: Term, matched: Matched) -> Tensor:
    losses = evaluate(term.loss, matched, task)
    if term.weigh is not None:
        weights = getattr(matched, INSTANCE_WEIGHTS[term.weigh])
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
