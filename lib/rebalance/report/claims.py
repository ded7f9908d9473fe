"""HTML of pages with claims of a work: heading, what comes out, frames, doubts.

Uses the classes of the report's style sheet.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from rebalance.figures.claims import CLAIMED, PAPER_SCALE, Claim, count_holding, verdict

VERDICTS = {
    "reproduced": "everything printed comes out",
    "misprints": "comes out but for misprints",
    "differs": "differs from what is printed",
}
NOT_SHOWN = "–"


def claims_heading_html(
    title: str, lead: str = "", claims: Sequence[Claim] = (), dataset: str | None = None
) -> str:
    """Title, one sentence on what to look at, and how much of the print comes out.

    ``dataset`` names the data of a figure that describes one: it may not be the work's, so the page
    says where its claims hold and not that the print comes out.
    """
    chip = ""
    if claims:
        status = f"{count_holding(claims)} hold: {VERDICTS[verdict(claims)]}"
        if dataset is not None:
            status = f"{count_holding(claims)} hold on {escape(dataset)}"
        elif all(claim.printed == CLAIMED for claim in claims):
            status = f"{count_holding(claims)} claims hold"
        chip = f'<span class="chip scale">{status}</span>'
    if dataset is not None:
        title = f"{title} · {dataset}"
    return (
        '<header><p class="eyebrow"><span>computed here, no training needed</span>'
        f"{chip}</p><h1>{escape(title)}</h1>"
        + (f'<p class="lead">{escape(lead)}</p>' if lead else "")
        + "</header>"
    )


def claims_html(claims: Sequence[Claim], kind: str = "figure") -> str:
    """One line per printed number or claim: ours, printed, whether it holds, and why not.

    Those that do not hold come first.
    """
    if not claims:
        return f'<p class="fine">The {kind} has no printed number that could be computed.</p>'
    lines = []
    for claim in sorted(claims, key=lambda claim: claim.holds):  # what fails comes first
        mark = "holds" if claim.holds else "misprint" if claim.misprint else "does not hold"
        style = "" if claim.holds else ' style="color: var(--warn); font-weight: 600"'
        lines.append(
            f'<tr><td class="setting" {_WRAP}>{escape(claim.quantity)}</td>'
            f'<td class="measured">{show(claim.ours)}</td>'
            f'<td class="reported">{show(claim.printed)}</td>'
            f"<td{style}>{mark}</td>"
            f'<td class="setting" {_WRAP}>{escape(claim.note)}</td></tr>'
        )
    head = "".join(f"<th>{name}</th>" for name in ("what", "ours", "printed", "", "note"))
    return _scroll(f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>")


def measured_claims_html(claims: Sequence[Claim], scale: str, description: str) -> str:
    """The claims of a figure of trained runs, under a heading that says where ours are from.

    Args:
        claims: computed from what was measured.
        scale: at which the runs were trained.
        description: of the scale.
    """
    note = "" if scale == PAPER_SCALE else " A claim that holds here is no reproduction of it."
    return (
        f"<h2>What is claimed, on what is measured at the {escape(scale)} scale</h2>"
        f'<p class="fine">{escape(description)}.{note}</p>' + claims_html(claims)
    )


def frame_html(frame: pd.DataFrame) -> str:
    """A frame as it is; text is wrapped, undefined is a dash."""
    head = "".join(
        f"<th {_WRAP}>{escape(str(name).replace('_', ' '))}</th>" for name in frame.columns
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="setting" {_WRAP}>{show(value)}</td>' for value in row)
        + "</tr>"
        for row in frame.itertuples(index=False)
    )
    return _scroll(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def doubts_html(doubts: Sequence[str]) -> str:
    """What is doubtful about the printed original; nothing if there is nothing."""
    if not doubts:
        return ""
    items = "".join(f"<li>{escape(doubt)}</li>" for doubt in doubts)
    return f'<h2>Misprints, readings and doubts</h2><ul class="fine">{items}</ul>'


def departures_html(departures: Sequence[str], scale: str) -> str:
    """Where the runs of a page differ from the work's recipe at a scale."""
    beside = "" if scale == PAPER_SCALE else ", beside what its scale changes"
    heading = f"<h2>Where this differs from the work{beside}</h2>"
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
        return escape(", ".join(str(part) for part in value))
    return escape(str(value))


_WRAP = 'style="white-space: normal; min-width: 5rem; max-width: 26rem; text-align: left"'


def _scroll(rows: str) -> str:
    return f'<div class="table-scroll html"><table class="results">{rows}</table></div>'
