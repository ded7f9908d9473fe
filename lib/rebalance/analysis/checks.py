"""Numbers that a work prints beside those computed here, and what to make of the differences."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

Value = float | str | bool

CLAIMED = "claimed"
"""What stands in the place of a printed number where the work says it in words."""


class Check(NamedTuple):
    """One printed number, or one claim, and whether it comes out.

    Attributes:
        quantity: what it is.
        ours: computed here.
        printed: in the work; a claim is printed in words.
        holds: they agree to the printed digits, or the claim is true.
        note: one sentence where they do not, or where how they agree needs saying.
        misprint: it does not hold because the print contradicts itself or its own method.
    """

    quantity: str
    ours: Value
    printed: Value
    holds: bool
    note: str = ""
    misprint: bool = False


def check_number(
    quantity: str,
    ours: float,
    printed: float,
    digits: int | None = None,
    note: str = "",
    misprint: bool = False,
) -> Check:
    """Whether ``ours`` rounds to ``printed``; a half may go either way.

    Args:
        quantity: what it is.
        ours: at full precision.
        printed: as in the work.
        digits: after the point; None takes those of ``printed`` itself.
        note: what to say if it does not hold, or about how it does.
        misprint: that it does not hold is the print's fault.
    """
    if digits is None:
        digits = max(0, -int(Decimal(repr(printed)).as_tuple().exponent))
    holds = math.isclose(ours, printed, rel_tol=0, abs_tol=0.5 * 10**-digits + 1e-9)
    return Check(quantity, float(ours), printed, holds, note, misprint and not holds)


def check_claim(
    claim: str, holds: bool, ours: Value = "", note: str = "", misprint: bool = False
) -> Check:
    """Whether a sentence of the work is true here; ``ours`` are the numbers that decide it."""
    return Check(claim, ours, CLAIMED, bool(holds), note, misprint and not holds)


def verdict(checks: Iterable[Check]) -> str:
    """``reproduced``, ``misprints`` (all but named misprints), or ``differs``."""
    failed = [check for check in checks if not check.holds]
    if not failed:
        return "reproduced"
    return "misprints" if all(check.misprint for check in failed) else "differs"


def count_holding(checks: Sequence[Check]) -> str:
    """``11 of 12``."""
    return f"{sum(check.holds for check in checks)} of {len(checks)}"
