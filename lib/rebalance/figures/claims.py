"""Numbers that a work prints beside those computed here, and what to make of the differences."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

Value = float | str | bool

PAPER_SCALE = "paper"
"""The one scale whose numbers may be held against those that the works report."""
CLAIMED = "claimed"
"""What stands in the place of a printed number where the work says it in words."""


class Claim(NamedTuple):
    """A printed number or sentence of a work, and whether it comes out.

    Attributes:
        quantity: what it is.
        ours: computed here.
        printed: in the work; CLAIMED for a sentence.
        holds: they agree to the printed digits, or the sentence is true.
        note: one sentence where they do not, or where how they agree needs saying.
        misprint: it does not hold because the print contradicts itself or its own method.
    """

    quantity: str
    ours: Value
    printed: Value
    holds: bool
    note: str = ""
    misprint: bool = False


def printed_number(
    quantity: str,
    ours: float,
    printed: float,
    digits: int | None = None,
    note: str = "",
    misprint: bool = False,
) -> Claim:
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
    return Claim(quantity, float(ours), printed, holds, note, misprint and not holds)


def printed_claim(
    claim: str, holds: bool, ours: Value = "", note: str = "", misprint: bool = False
) -> Claim:
    """Whether a sentence of the work is true here; ``ours`` are the numbers that decide it."""
    return Claim(claim, ours, CLAIMED, bool(holds), note, misprint and not holds)


def verdict(claims: Iterable[Claim]) -> str:
    """``reproduced``, ``misprints`` (all but named misprints), or ``differs``."""
    failed = [claim for claim in claims if not claim.holds]
    if not failed:
        return "reproduced"
    return "misprints" if all(claim.misprint for claim in failed) else "differs"


def count_holding(claims: Sequence[Claim]) -> str:
    """``11 of 12``."""
    return f"{sum(claim.holds for claim in claims)} of {len(claims)}"
