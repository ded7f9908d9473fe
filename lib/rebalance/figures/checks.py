"""What a work prints beside what is measured here, and the verdict that follows.

A page makes a list of ``Check``, names its misprints, and writes both with ``save_checks``; the
index reads the file. Nobody types a verdict.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.inputs import read_json

Value = float | str | bool
Verdict = Literal[
    "reproduced",
    "misprints",
    "differs",
    "claims",
    "redrawn",
    "transcribed",
    "not_measured",
    "added",
]
"""What a page can say of itself; ``verdict_words`` has the words."""
Kind = Literal["compared", "diagram", "added"]
"""A page with numbers and claims to compare; a diagram in our own form; or a page of our own."""

PAPER_SCALE = "paper"
"""The one scale whose numbers may be held against those that the works report."""
POINTS = 0.5
"""By which an AP of a training may differ from a printed one, in points: what a seed changes."""
CLAIMED = "claimed"
"""What stands in the place of a printed number where the work says it in words."""


class Check(NamedTuple):
    """A printed number or sentence of a work, and whether it comes out.

    Attributes:
        name: what it is.
        printed: in the work; CLAIMED for a sentence, or what the work's own numbers say of it.
        measured: computed here; None where nothing is.
        tolerance: by which a measured number may differ from a printed one; None for a sentence.
        holds: they agree, or the sentence is true; None where this was not measured.
        note: one sentence where they do not, or where how they agree needs saying.
        misprint: it does not hold because the print contradicts itself or its own method.
    """

    name: str
    printed: Value | None
    measured: Value | None
    tolerance: float | None
    holds: bool | None
    note: str = ""
    misprint: bool = False


class Gain(NamedTuple):
    """What a row of a work's table has over its baseline, printed and measured.

    Attributes:
        name: which row over which, and of which metric.
        printed: difference of the work's numbers, in the unit printed.
        measured: difference of ours; None where one of them is not measured.
        low: of the 95% interval of measured; None where there is none.
        high: see ``low``.
    """

    name: str
    printed: float
    measured: float | None
    low: float | None = None
    high: float | None = None


ClaimVerdict = Literal["holds", "fails", "open", "misprint", "not_compared", "not_measured"]
"""What can be said of one claim."""


def claim_verdict(claim: Check | Gain) -> ClaimVerdict:
    """What was found of a claim.

    A gain holds if its interval leaves out 0 on the side that the work prints, fails if it does so
    on the other, and is open if it has 0 inside, or if there is no interval. A number measured on
    other data than the work's is not compared with the printed one; a sentence that nothing here
    decides was not measured.
    """
    if isinstance(claim, Gain):
        if claim.measured is None:
            return "not_measured"
        if claim.low is None or claim.high is None or claim.low <= 0 <= claim.high:
            return "open"
        return "holds" if (claim.low > 0) == (claim.printed > 0) else "fails"
    if claim.misprint:
        return "misprint"
    if claim.holds is None:
        has_number = claim.tolerance is not None and claim.measured is not None
        return "not_compared" if has_number else "not_measured"
    return "holds" if claim.holds else "fails"


def printed_number(
    name: str,
    measured: float,
    printed: float,
    digits: int | None = None,
    note: str = "",
    tolerance: float | None = None,
) -> Check:
    """Whether ``measured`` rounds to ``printed``; a half may go either way.

    Args:
        name: what it is.
        measured: at full precision; nan where it is not measured.
        printed: as in the work.
        digits: after the point; None takes those of ``printed`` itself.
        note: what to say if it does not hold, or about how it does.
        tolerance: what it may differ by; None takes half a unit of the last digit.
    """
    if tolerance is None:
        if digits is None:
            digits = max(0, -int(Decimal(repr(printed)).as_tuple().exponent))
        tolerance = 0.5 * 10**-digits
    if math.isnan(measured):
        return Check(name, printed, None, tolerance, None, note)
    holds = math.isclose(measured, printed, rel_tol=0, abs_tol=tolerance + 1e-9)
    return Check(name, printed, float(measured), tolerance, holds, note)


def printed_claim(claim: str, holds: bool | None, measured: Value = "", note: str = "") -> Check:
    """Whether a sentence of the work is true here; ``measured`` are the numbers that decide it.

    ``holds`` is None where nothing here decides it.
    """
    return Check(claim, CLAIMED, measured, None, None if holds is None else bool(holds), note)


def named_numbers(values: Mapping[str, float], digits: int = 2) -> str:
    """Numbers that decide a claim, each with what it is of: ``GIoU 0.92, CIoU 0.95``."""
    return ", ".join(
        f"{name} {f'{value:.{digits}f}'.replace('-', '−')}" for name, value in values.items()
    )


def comparable(checks: Iterable[Check], like_the_work: bool) -> list[Check]:
    """The checks, as far as what was measured may be held against them.

    On another data set or with a smaller network than the work's its sentences may be true, too;
    its numbers are those of something else, and are not compared.
    """
    return [
        check if like_the_work or check.tolerance is None else check._replace(holds=None)
        for check in checks
    ]


def name_misprints(checks: Sequence[Check], misprints: Sequence[Mapping[str, Any]]) -> list[Check]:
    """The checks, with those that fail by a named misprint marked as such.

    Args:
        checks: of a page.
        misprints: each {cell: name of a check, printed, correct, note}. Of a number ``printed`` is
            what the check has and ``correct`` what must come out, to its digits.

    Raises:
        InputError: no check has that name, or another printed number.
    """
    marked = list(checks)
    for index, misprint in enumerate(misprints):
        where, cell = f"misprints[{index}]", misprint["cell"]
        named = [place for place, check in enumerate(marked) if check.name == cell]
        if not named:
            names = [check.name for check in marked]
            raise InputError(f"{where}.cell: no check is called {cell!r}, there are {names}")
        for place in named:
            marked[place] = _explained(marked[place], misprint, where)
    return marked


def _explained(check: Check, misprint: Mapping[str, Any], where: str) -> Check:
    """The check, as a misprint if this is why it fails."""
    printed, correct = misprint["printed"], misprint["correct"]
    if check.tolerance is not None and printed != check.printed:
        raise InputError(f"{where}.printed: is {printed!r}, the check has {check.printed!r}")
    comes_out = True  # of a sentence or formula, whose correction has a check of its own
    if isinstance(check.measured, float) and not isinstance(correct, str):
        comes_out = bool(printed_number(check.name, check.measured, correct).holds)
    if check.holds is not False or not comes_out:
        return check
    note = f"{printed} is to be read as {correct}"
    if misprint.get("note"):
        note += f": {misprint['note']}"
    return check._replace(misprint=True, note=note)


def verdict(checks: Sequence[Check], kind: Kind = "compared") -> Verdict:
    """What follows from the checks of a page.

    - ``added``: a page of ours, of which the work prints nothing;
    - ``differs``: a number that was measured is not the printed one, and no misprint explains it;
    - ``redrawn``: a diagram, of which nothing else is said, unless it contradicts its own claims;
    - ``transcribed``: there is nothing to compute;
    - ``not_measured``: there is, and nothing of it was measured here, or on other data only;
    - ``reproduced``, or ``misprints`` if named misprints are all that fails: every number was
      measured and agrees, and every sentence is true;
    - ``claims``: only sentences were decided, or some checks were not measured: so many hold.
    """
    if kind == "added":
        return "added"
    decided = [check for check in checks if check.holds is not None]
    failed = [check for check in decided if not check.holds and not check.misprint]
    if kind == "diagram":
        return "differs" if failed else "redrawn"
    if not checks:
        return "transcribed"
    if not decided:
        return "not_measured"
    if failed and any(check.tolerance is not None for check in decided):
        return "differs"
    if failed or len(decided) < len(checks):
        return "claims"
    if any(not check.holds for check in decided):
        return "misprints"
    numbers = any(check.tolerance is not None for check in decided)
    return "reproduced" if numbers else "claims"


def count_holding(checks: Sequence[Check]) -> str:
    """``11 of 12``, of those that were measured."""
    decided = [check for check in checks if check.holds is not None]
    return f"{sum(bool(check.holds) for check in decided)} of {len(decided)}"


def verdict_words(found: str, checks: Sequence[Check]) -> str:
    """A verdict as cards and headings say it, with how much it rests on.

    Args:
        found: a ``Verdict``.
        checks: what it follows from.
    """
    claims = [claim_verdict(check) for check in checks]
    missing, count = claims.count("not_measured"), count_holding(checks)
    undecided = "compared" if "not_compared" in claims else "measured"
    return {
        "reproduced": f"reproduced: {count}",
        "misprints": f"reproduced but for named misprints: {count}",
        "differs": f"differs: {count} hold",
        "claims": f"claims hold {count}" + (f", {missing} not measured" if missing else ""),
        "redrawn": "redrawn",
        "transcribed": "transcribed",
        "not_measured": f"not {undecided} at this scale",
        "added": "our addition",
    }[found]


def save_checks(
    checks: Sequence[Check], path: str | Path, kind: Kind = "compared", gains: Sequence[Gain] = ()
) -> None:
    """Write ``{"verdict": ..., "checks": [...], "gains": [...]}``; the same ones, the same bytes.

    The verdict is that of the checks: how sure a gain is depends on the images, not on the page.
    """
    content: dict[str, Any] = {
        "verdict": verdict(checks, kind),
        "checks": [check._asdict() for check in checks],
    }
    if gains:
        content["gains"] = [gain._asdict() for gain in gains]
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def read_checks(path: Path) -> tuple[str, list[Check], list[Gain]]:
    """Verdict, checks and gains that ``save_checks`` wrote.

    Raises:
        InputError: no such file, not JSON, or not such a content.
    """
    content = read_json(path, "file of checks")
    try:
        found, checks = content["verdict"], [Check(**check) for check in content["checks"]]
        gains = [Gain(**gain) for gain in content.get("gains", [])]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: needs a verdict, checks and gains ({error})") from None
    if found not in get_args(Verdict):
        raise InputError(f"{path}: verdict: must be one of {get_args(Verdict)}, got {found!r}")
    return found, checks, gains
