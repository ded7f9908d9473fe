"""One reduction for all losses, and the checks that they share."""

import torch
from torch import Tensor

from rebalance.boxes import check_floating
from rebalance.errors import InputError

REDUCTIONS = ("none", "mean", "sum")


def reduce_loss(loss: Tensor, reduction: str, like: Tensor) -> Tensor:
    """``loss`` as it is, its mean or its sum; nothing at all has mean 0, with a gradient path.

    Args:
        loss: any shape.
        reduction: "none", "mean" or "sum".
        like: the prediction; the result has its dtype, but at least float32.

    Raises:
        InputError: another reduction.
    """
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if reduction != "none":
        loss = loss.sum() / (max(loss.numel(), 1) if reduction == "mean" else 1)
    return loss.to(loss_dtype(like))


def loss_dtype(like: Tensor) -> torch.dtype:
    """The dtype of a loss of ``like``: its own, but at least float32."""
    return torch.promote_types(like.dtype, torch.float32)


def widen(tensor: Tensor) -> Tensor:
    """``tensor`` in at least float32, in which losses of bfloat16 logits are computed."""
    return tensor.to(loss_dtype(tensor))


def logits_and_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the dtype of the logits, but at least float32, after `check_same_shape`."""
    check_same_shape(logits, targets, "logits and targets")
    return widen(logits), targets.to(loss_dtype(logits))


def check_same_shape(pred: Tensor, target: Tensor, names: str = "pred and target") -> None:
    """Raise unless both are floating point and of one shape (broadcasting hides mistakes)."""
    if pred.shape != target.shape:
        raise InputError(
            f"{names} must have the same shape, got {list(pred.shape)} and {list(target.shape)}"
        )
    for name, tensor in zip(names.split(" and "), (pred, target), strict=True):
        check_floating(name, tensor)
