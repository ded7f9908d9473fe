"""Imbalance problems by category (thesis Figure 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

from rebalance.figures.claims import Claim, printed_number

BRANCHES = {
    "class": ("foreground-background class", "foreground-foreground class"),
    "scale": ("object/box scale", "feature level"),
    "spatial": ("regression loss", "IoU distribution", "object location"),
    "objective": ("objective",),
}
"""Category -> its problems, in the order of thesis Table 1.2."""


def taxonomy_claims(
    methods_by_problem: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]],
    numbers: Mapping[str, Any],
) -> list[Claim]:
    """As many branches and leaves as the work says.

    Args:
        methods_by_problem: see ``plot_taxonomy``.
        numbers: {"branches", "leaves"} as printed.
    """
    return [
        printed_number("branches", len(BRANCHES), numbers["branches"]),
        printed_number("leaves", len(methods_by_problem), numbers["leaves"]),
    ]
