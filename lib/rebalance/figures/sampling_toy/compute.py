"""Ten sampling rules on six proposals (thesis Table 3.1)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from rebalance.assigners.assignment import IGNORED, NEGATIVE, Assignment
from rebalance.figures.checks import Check, printed_number
from rebalance.figures.family import MadeTable, Row
from rebalance.losses import focal_loss, sigmoid_cross_entropy_loss
from rebalance.losses.weighting import ghm_weights, pisa_weights
from rebalance.samplers.combined import sample_combined

BOXES = ("pos1", "pos2", "neg1", "neg2", "neg3", "neg4")
POSITIVE = torch.tensor([True, True, False, False, False, False])
PROBABILITIES = torch.tensor([0.8, 0.2, 0.1, 0.3, 0.6, 1.0], dtype=torch.float64)
"""p_s, the predicted probability of each proposal's true label."""
IOUS = torch.tensor([0.95, 0.55, 0.35, 0.15, 0.06, 0.0], dtype=torch.float64)
DRAWS = 2000
"""Draws of a sampler that estimate how often it takes each proposal."""
TOLERANCE = 0.04
"""Of an estimated share: more than three standard deviations."""


def _frequencies(ignored: Tensor | None = None, **options: Any) -> Tensor:
    """[6] share of draws in which the sampler takes each proposal: one positive, two negatives."""
    gt_idxs = torch.where(POSITIVE, 0, NEGATIVE)
    if ignored is not None:
        gt_idxs = torch.where(ignored, IGNORED, gt_idxs)
    assignment = Assignment(gt_idxs, IOUS, POSITIVE.long())
    losses = -PROBABILITIES.log()
    rng = torch.Generator().manual_seed(0)
    taken = torch.zeros(len(BOXES))
    for _ in range(DRAWS):
        rows = sample_combined(
            assignment, rng=rng, losses=lambda rows: losses[rows],
            num=3, positive_fraction=1 / 3, **options,
        )  # fmt: skip
        taken[rows] += 1
    return taken / DRAWS


def _focal() -> Tensor:
    """Focal loss by cross entropy, gamma 1; alpha 0.5 weighs both classes alike."""
    # A probability of exactly 1 has an infinite logit and no loss to weigh.
    confident = PROBABILITIES.clamp(max=1 - 1e-9)
    logits = torch.where(POSITIVE, 1.0, -1.0) * (confident / (1 - confident)).log()
    targets = POSITIVE.double()
    plain = sigmoid_cross_entropy_loss(logits, targets)
    return 2 * focal_loss(logits, targets, alpha=0.5, gamma=1.0) / plain


RULES: dict[str, Callable[[], Tensor]] = {
    "random sampling": lambda: _frequencies(),
    "SSD": lambda: _frequencies(negative="hard"),
    "OHEM": lambda: _frequencies(positive="hard", negative="hard"),
    "IoU-based sampling": lambda: _frequencies(negative="iou_balanced", num_iou_bins=2),
    "IoU lower bound": lambda: _frequencies(ignored=~POSITIVE & (IOUS < 0.05)),
    "negative anchor filtering": lambda: _frequencies(
        ignored=~POSITIVE & (PROBABILITIES > 0.9), negative="hard"
    ),
    "focal loss": _focal,
    "gradient harmonizing mechanism": lambda: ghm_weights(1 - PROBABILITIES, width=0.4),
    "prime sample attention": lambda: pisa_weights(
        torch.where(POSITIVE, IOUS, 1 - PROBABILITIES), POSITIVE.long(), gamma=1.0, beta=0.0
    ),
}
"""Method -> [6] probabilities of being taken (hard sampling) or weights (soft sampling)."""


def sampling_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """Every rule applied by the library, and the printed choices and weights.

    Args:
        rows: of the table; settings method, family, rule, selected, discarded, drawn; reported
            weight_pos1 ... weight_neg4 of soft methods.
        numbers: ``cross_entropy`` of each proposal as printed.

    Returns:
        A frame with one row per method and one column per proposal; and the checks.
    """
    losses = -PROBABILITIES.log()
    found = [
        printed_number(
            f"cross entropy of {box}", abs(float(loss)), numbers["cross_entropy"][box], 2
        )
        for box, loss in zip(BOXES, losses, strict=True)
    ]
    lines = []
    for row in rows:
        setting = row["setting"]
        method = setting["method"]
        values = RULES[method]().tolist() if method in RULES else [math.nan] * len(BOXES)
        lines.append(
            {"method": method, "family": setting["family"], "rule": setting["rule"]}
            | {box: round(value, 2) for box, value in zip(BOXES, values, strict=True)}
        )
        if method in RULES:
            found += _row_checks(
                method, setting, row["reported"], dict(zip(BOXES, values, strict=True))
            )
    return pd.DataFrame(lines), found


def _row_checks(
    method: str,
    setting: Mapping[str, Any],
    reported: Mapping[str, float],
    ours: Mapping[str, float],
) -> list[Check]:
    if reported:
        return [
            printed_number(f"{method}: weight of {box}", ours[box], reported[f"weight_{box}"], 2)
            for box in BOXES
            if f"weight_{box}" in reported
        ]
    return [
        printed_number(f"{method}: share of draws with {box}", ours[box], share,
                       tolerance=0 if share in (0, 1) else TOLERANCE)
        for box, share in _printed_shares(setting).items()
    ]  # fmt: skip


def _printed_shares(setting: Mapping[str, Any]) -> dict[str, float]:
    """Selected is 1, discarded 0, "2 of neg1, neg2, neg3" two thirds each."""
    shares = {box: 1.0 for box in _names(setting["selected"])}
    shares |= {box: 0.0 for box in _names(setting["discarded"])}
    for draw in (setting["drawn"] or "").split("; "):
        if draw:
            count, _, names = draw.partition(" of ")
            boxes = _names(names)
            shares |= {box: int(count) / len(boxes) for box in boxes}
    return shares


def _names(text: str | None) -> list[str]:
    return text.split(", ") if text else []
