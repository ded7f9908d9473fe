"""A batch for ranking losses, and the forward and backward passes that are compared."""

from collections.abc import Callable

import torch
from per_positive_loop import alrp_by_loop, rank_sort_by_loop
from rebalance.losses import alrp_loss, ap_loss, rank_sort_loss
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


class Batch:
    """Standard normal logits of negatives, positives one higher; every negative matters."""

    def __init__(self, negatives: int, positives: int, device: str = "cpu") -> None:
        rng = torch.Generator().manual_seed(0)
        targets = torch.zeros(negatives + positives)
        chosen = torch.randperm(len(targets), generator=rng)[:positives]
        targets[chosen] = 0.5 + 0.5 * torch.rand(positives, generator=rng)
        logits = torch.randn(len(targets), generator=rng) + (targets > 0)
        self.logits = logits.to(device).requires_grad_()
        self.targets = targets.to(device)
        self.errors = torch.rand(positives, generator=rng).to(device)

    def passes(self, check: bool = True) -> dict[str, Callable[[], Tensor]]:
        """Name -> forward and backward pass; returns the gradient of the logits."""
        logits, targets, bound = self.logits, self.targets, len(self.errors)
        bounded = {"check": check, "max_positives": None if check else bound}
        losses = {
            "focal": lambda: sigmoid_focal_loss(logits, (targets > 0).float(), reduction="sum"),
            "rank_sort": lambda: rank_sort_loss(logits, targets, **bounded).loss,
            "alrp": lambda: alrp_loss(logits, targets, self.errors, check=check).loss,
            "ap": lambda: ap_loss(logits, targets, **bounded),
        }

        def differentiated(loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
            return lambda: torch.autograd.grad(loss(), logits)[0]

        return {name: differentiated(loss) for name, loss in losses.items()} | {
            "rank_sort by loop": lambda: rank_sort_by_loop(logits, targets)[1],
            "alrp by loop": lambda: alrp_by_loop(logits, targets, self.errors)[1],
        }
