"""What a task's loss weighs beside the loss of the classes, by name."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rebalance.config.options import objectives as options_of
from rebalance.config.parse import parse
from rebalance.distributed import world_mean
from rebalance.losses.balancing import EpochBalance, magnitude_weight, value_weight


class Tasks(NamedTuple):
    """Two losses, and what they are functions of.

    Attributes:
        class_loss: scalar.
        task_loss: scalar.
        logits: of the class head.
        outputs: of the task's head.
        present: whether there are positives.
    """

    class_loss: Tensor
    task_loss: Tensor
    logits: Tensor
    outputs: Tensor
    present: bool


class Balance(nn.Module):
    """Base: always 1, so that a task's own ``weight`` is all there is."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, tasks: Tasks) -> Tensor:
        """The weight of the task's loss, a detached scalar."""
        return torch.ones_like(tasks.task_loss.detach())


class ValueBalance(Balance):
    """``L_cls / L_t`` of this iteration (thesis 8.4.3): the two losses become equal."""

    def forward(self, tasks: Tasks) -> Tensor:
        """See ``Balance``."""
        return value_weight(tasks.class_loss, tasks.task_loss)


class MagnitudeBalance(Balance):
    """Ratio of the L1 norms of the gradients of both heads' outputs in this iteration.

    Thesis 8.4.2, not inverted. 1 where no gradients are wanted.
    """

    def forward(self, tasks: Tasks) -> Tensor:
        """See ``Balance``."""
        if not (tasks.class_loss.requires_grad and tasks.task_loss.requires_grad):
            return super().forward(tasks)
        return magnitude_weight(*tasks[:4])


class MeanBalance(Balance):
    """Ratio of the mean losses of the last epoch (aLRP, thesis 7.3.2), see ``EpochBalance``.

    Iterations of training count, and of them those that have positives. Means are over all ranks,
    which therefore keep the same state.

    Args:
        initial: the weight in the first epoch.
        period: iterations of an epoch.
    """

    def __init__(self, initial: float = 50.0, period: int = 3665) -> None:
        super().__init__()
        self.epoch = EpochBalance(initial, period)

    def forward(self, tasks: Tasks) -> Tensor:
        """See ``Balance``."""
        if self.training and torch.is_grad_enabled():
            present = torch.full_like(tasks.task_loss, float(tasks.present))
            losses = torch.stack([tasks.class_loss, tasks.task_loss]) * present
            sums = world_mean(torch.cat([losses, present[None]]))
            counts = sums[2] > 0
            means = sums[:2] / torch.where(counts, sums[2], 1)
            self.epoch.update(means[0], means[1], counts)
        # A copy, as autograd may still hold it when the next iteration updates it.
        return self.epoch.weight.clone()


def make_balance(settings: str | Mapping[str, Any]) -> Balance:
    """From a name, or ``{name, options}``.

    Raises:
        InputError: unknown name or option.
    """
    options = {"name": settings} if isinstance(settings, str) else settings
    balance: Balance = parse(options_of.Balance, options, "balance").bind()()
    return balance
