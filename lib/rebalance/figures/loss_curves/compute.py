"""FocalL1 and how its gradient was designed (EIoU paper, Eq. 8 and 9, Figures 2 and 3)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from rebalance.figures.checks import Check, printed_claim, printed_number
from rebalance.losses import focal_l1_loss

BETAS = {"1/e": math.exp(-1), "0.5": 0.5, "0.6": 0.6, "0.8": 0.8, "1": 1.0}
"""From the smallest to the largest that the paper allows; those between are our choice."""


def focal_l1_curve(beta: float, errors: np.ndarray) -> pd.DataFrame:
    """Loss and gradient of the library's FocalL1 at given regression errors.

    Args:
        beta: in [1/e, 1].
        errors: [n] >= 0.

    Returns:
        error, loss, gradient; float64.
    """
    x = torch.tensor(errors, dtype=torch.float64)[:, None].requires_grad_()
    loss = focal_l1_loss(x, torch.zeros_like(x), beta=beta)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    return pd.DataFrame({
        "error": errors, "loss": loss[:, 0].detach().numpy(), "gradient": gradient[:, 0].numpy(),
    })  # fmt: skip


def wished_gradient(beta: float, errors: np.ndarray) -> np.ndarray:
    """``-x ln(beta x)``, before it is scaled to a largest value of 1 and cut flat beyond 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors > 0, -errors * np.log(beta * errors), 0.0)


def focal_l1_claims(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 2: the largest gradient, where it lies, and that the pieces of Eq. 9 meet.

    Args:
        numbers: {"max_gradient": 1.0, ...} as printed.
    """
    found = []
    for name, beta in BETAS.items():
        errors = np.linspace(1e-4, 2, 20_000)
        curve = focal_l1_curve(beta, errors)
        peak = int(curve["gradient"].to_numpy().argmax())
        where = f"beta = {name}"
        found += [
            printed_number(
                f"largest gradient, {where}", curve["gradient"][peak], numbers["max_gradient"], 3
            ),
            printed_number(
                f"error with the largest gradient, {where} (1/(e beta))",
                float(curve["error"][peak]), round(1 / (math.e * beta), 3), 3,
            ),
        ]  # fmt: skip
    step = 1e-6
    jumps = []
    for beta in BETAS.values():
        sides = focal_l1_curve(beta, np.array([1 - step, 1 + step]))
        jumps.append(sides[["loss", "gradient"]].diff().abs().to_numpy()[1].max())
    found.append(
        printed_claim(
            "loss and gradient are continuous at an error of 1", max(jumps) < 1e-5,
            f"largest step {max(jumps):.1e}",
        )
    )  # fmt: skip
    return found


def design_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3: the wished curve peaks at 1/e, and a larger beta lowers the gradient everywhere."""
    errors = np.linspace(1e-4, 1, 10_000)
    curves = {name: wished_gradient(beta, errors) for name, beta in BETAS.items()}
    falls = [
        bool((curves[high] < curves[low]).all())
        for low, high in zip(list(BETAS)[:-1], list(BETAS)[1:], strict=True)
    ]
    plain = curves["1"]
    return [
        printed_claim(
            "-x ln x is largest at x = 1/e, where it is 1/e",
            math.isclose(plain.max(), math.exp(-1), abs_tol=1e-6)
            and math.isclose(errors[plain.argmax()], math.exp(-1), abs_tol=1e-3),
            f"{plain.max():.4f} at {errors[plain.argmax()]:.3f}",
        ),
        printed_claim("a larger beta lowers the gradient at every error up to 1", all(falls)),
        printed_claim(
            "beta = 1 leaves no gradient at an error of 1",
            math.isclose(plain[-1], 0, abs_tol=1e-9),
        ),
    ]
