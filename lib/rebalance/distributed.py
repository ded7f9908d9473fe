"""What the ranks of one training must agree on; in a single process nothing is communicated.

A run is defined by its global batch, however many processes share it: loss normalisers are means
over the world (``world_mean``), so that averaging gradients over ranks, as DDP does, gives the
gradient of the loss of the global batch. A loss that ranks all logits against each other needs the
whole global batch at every rank (``gather_rows``).
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process has rank 0."""
    return world_size() == 1 or dist.get_rank() == 0


def world_mean(value: Tensor) -> Tensor:
    """Mean of ``value`` (any shape, the same on all ranks) over the ranks, detached.

    A rank's loss is its sum divided by this mean of the ranks' normalisers. DDP averages the
    gradients of W ranks, so sum_r(loss_r) / W = sum over the global batch / sum of normalisers.
    """
    value = value.detach()
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world_size()


def world_max(value: int, device: torch.device) -> int:
    """Largest ``value`` over the ranks; costs one device synchronisation when there are several."""
    if world_size() == 1:
        return value
    highest = torch.tensor(value, device=device)
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    return int(highest)


def world_messages(message: str | None) -> list[str]:
    """The messages of all ranks that have one, in rank order."""
    if world_size() == 1:
        return [message] if message else []
    messages: list[str | None] = [None] * world_size()
    dist.all_gather_object(messages, message)
    return [text for text in messages if text]


class _GatherRows(torch.autograd.Function):
    """Rows of all ranks; the gradient of a rank's rows is summed over the ranks' losses."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, rows: Tensor, counts: list[int]
    ) -> Tensor:
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        pieces = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(pieces, padded)
        ctx.start, ctx.length = sum(counts[: dist.get_rank()]), len(rows)  # type: ignore[attr-defined]
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        start, length = ctx.start, ctx.length  # type: ignore[attr-defined]
        return grad[start : start + length], None


def gather_rows(rows: Tensor) -> Tensor:
    """[N_r, ...] of each rank -> [sum_r N_r, ...] on every rank, in rank order, differentiable.

    Every rank then computes the same loss of the global batch. Its gradient with respect to the
    local rows arrives W times (once from each rank), which cancels the 1 / W of DDP's average.
    """
    if world_size() == 1:
        return rows
    local = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(local) for _ in range(world_size())]
    dist.all_gather(counts, local)
    return _GatherRows.apply(rows, [int(count) for count in counts])
