"""HTML of what a page checks: heading with its verdict, one line per check, frames, doubts.

Uses the classes of the report's style sheet.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from rebalance.figures.checks import PAPER_SCALE, Check, Kind, claim_verdict, verdict, verdict_words
from rebalance.words import in_words, indexed

NOT_SHOWN = "–"
#: What the verdicts of claims are called, in their order in bars and filters.
CLAIMS = {
    "holds": "holds",
    "misprint": "misprint",
    "fails": "does not hold",
    "open": "open",
    "not_compared": "not compared",
    "not_measured": "not measured",
}


def verdict_chip(checks: Sequence[Check], kind: Kind = "compared") -> str:
    """The verdict of a page in its colour."""
    found = verdict(checks, kind)
    return f'<span class="chip {found}">{escape(verdict_words(found, checks))}</span>'


def checks_heading_html(
    title: str,
    lead: str = "",
    checks: Sequence[Check] = (),
    dataset: str | None = None,
    kind: Kind = "compared",
) -> str:
    """Title, one sentence on what to look at, and the verdict.

    ``dataset`` names the data of a figure that describes one: it may not be the work's.
    """
    made = "computed here, no training needed"
    if dataset is not None:
        title, made = f"{title} · {dataset}", f"computed here, on {escape(dataset)}"
    return (
        f'<header><p class="eyebrow"><span>{made}</span>'
        f"{verdict_chip(checks, kind)}</p><h1>{escape(title)}</h1>"
        + (f'<p class="lead">{indexed(lead)}</p>' if lead else "")
        + "</header>"
    )


def checks_html(checks: Sequence[Check], kind: str = "figure") -> str:
    """One line per check: measured, printed, whether it holds, and why not.

    Those that do not hold come first, then those that nothing here decides.
    """
    if not checks:
        return f'<p class="fine">The {kind} prints nothing that could be computed.</p>'
    order = {False: 0, None: 1, True: 2}
    lines = []
    for check in sorted(checks, key=lambda check: order[check.holds]):
        found = claim_verdict(check)
        lines.append(
            f'<tr><th scope="row">{in_words(check.name)}</th>'
            f'<td data-label="measured">{show(check.measured)}</td>'
            f'<td data-label="printed">{show(check.printed)}</td>'
            f'<td class="verdict"><span class="chip {found}">{CLAIMS[found]}</span></td>'
            f'<td class="note">{escape(check.note)}</td></tr>'
        )
    names = ("what", "measured", "printed", "verdict", "note")
    head = "".join(f'<th scope="col" class="{name}">{name}</th>' for name in names)
    return (
        '<div class="table-scroll" tabindex="0"><table class="claims">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def measured_checks_html(checks: Sequence[Check], scale: str, description: str) -> str:
    """The checks of trained runs, under a heading that says where ours are from.

    Args:
        checks: computed from what was measured.
        scale: at which the runs were trained.
        description: of the scale.
    """
    note = "" if scale == PAPER_SCALE else " A claim that holds here is no reproduction of it."
    return (
        f"<h2>What is claimed, on what is measured at the {escape(scale)} scale</h2>"
        f'<p class="fine">{escape(description)}.{note}</p>' + checks_html(checks)
    )


def frame_html(frame: pd.DataFrame) -> str:
    """A frame as it is; text is wrapped, undefined is a dash."""
    head = "".join(f"<th {_WRAP}>{in_words(str(name))}</th>" for name in frame.columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="setting" {_WRAP}>{show(value)}</td>' for value in row)
        + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return _scroll(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def models_html(models: Mapping[str, Mapping[str, str]]) -> str:
    """Where the detections of each model come from; see ``FigureOfReleased``."""
    items = "".join(
        f"<li><strong>{escape(name)}</strong>: {escape(model['says'])}</li>"
        for name, model in models.items()
    )
    return f'<h2>Where the detections come from</h2><ul class="fine">{items}</ul>'


def doubts_html(doubts: Sequence[str]) -> str:
    """What is doubtful about the printed original; nothing if there is nothing."""
    if not doubts:
        return ""
    items = "".join(f"<li>{escape(doubt)}</li>" for doubt in doubts)
    return f'<h2>Misprints, readings and doubts</h2><ul class="fine">{items}</ul>'


def departures_html(departures: Sequence[str], scale: str) -> str:
    """Where the runs of a page differ from the printed recipe at a scale."""
    beside = "" if scale == PAPER_SCALE else ", beside what its scale changes"
    heading = f"<h2>Where this differs from what is printed{beside}</h2>"
    if not departures:
        return f'{heading}<p class="fine">Nowhere that is known.</p>'
    items = "".join(f"<li>{escape(departure)}</li>" for departure in departures)
    return f'{heading}<ul class="fine">{items}</ul>'


def show(value: Any) -> str:
    """A cell: yes or no, four significant digits, lists joined."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return NOT_SHOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        shown = f"{value:.0f}" if value.is_integer() and abs(value) < 1e7 else f"{value:.4g}"
        return shown.replace("-", "−")
    if isinstance(value, list | tuple):
        return indexed(", ".join(str(part) for part in value))
    return indexed(str(value))


_WRAP = 'style="white-space: normal; min-width: 5rem; max-width: 26rem; text-align: left"'


def _scroll(rows: str) -> str:
    return (
        f'<div class="table-scroll html" tabindex="0"><table class="results">{rows}</table></div>'
    )
