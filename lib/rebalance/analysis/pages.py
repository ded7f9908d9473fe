"""HTML of the pages of analytic figures and tables: heading, checks, frames, doubts.

Uses the classes of the report's style sheet.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from rebalance.analysis.checks import CLAIMED, Check, count_holding, verdict
from rebalance.report.page import PAPER_SCALE

VERDICTS = {
    "reproduced": "everything printed comes out",
    "misprints": "comes out but for misprints",
    "differs": "differs from what is printed",
}
NOT_SHOWN = "–"


def heading(
    title: str, lead: str = "", checks: Sequence[Check] = (), dataset: str | None = None
) -> str:
    """Title, one sentence on what to look at, and how much of the print comes out.

    ``dataset`` names the data of a figure that describes one: it may not be the work's, so the page
    says where its claims hold and not that the print comes out.
    """
    chip = ""
    if checks:
        status = f"{count_holding(checks)} hold: {VERDICTS[verdict(checks)]}"
        if dataset is not None:
            status = f"{count_holding(checks)} hold on {escape(dataset)}"
        elif all(check.printed == CLAIMED for check in checks):
            status = f"{count_holding(checks)} claims hold"
        chip = f'<span class="chip scale">{status}</span>'
    if dataset is not None:
        title = f"{title} · {dataset}"
    return (
        '<header><p class="eyebrow"><span>computed here, no training needed</span>'
        f"{chip}</p><h1>{escape(title)}</h1>"
        + (f'<p class="lead">{escape(lead)}</p>' if lead else "")
        + "</header>"
    )


def checks_table(checks: Sequence[Check], kind: str = "figure") -> str:
    """One line per printed number or claim: ours, printed, whether it holds, and why not.

    Those that do not hold come first.
    """
    if not checks:
        return f'<p class="fine">The {kind} has no printed number that could be computed.</p>'
    lines = []
    for check in sorted(checks, key=lambda check: check.holds):  # what fails comes first
        mark = "holds" if check.holds else "misprint" if check.misprint else "does not hold"
        style = "" if check.holds else ' style="color: var(--warn); font-weight: 600"'
        lines.append(
            f'<tr><td class="setting" {_WRAP}>{escape(check.quantity)}</td>'
            f'<td class="measured">{show(check.ours)}</td>'
            f'<td class="reported">{show(check.printed)}</td>'
            f"<td{style}>{mark}</td>"
            f'<td class="setting" {_WRAP}>{escape(check.note)}</td></tr>'
        )
    head = "".join(f"<th>{name}</th>" for name in ("what", "ours", "printed", "", "note"))
    return _scroll(f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>")


def measured_checks(checks: Sequence[Check], scale: str, description: str) -> str:
    """The checks of a figure of trained runs, under a heading that says where ours are from.

    Args:
        checks: computed from what was measured.
        scale: at which the runs were trained.
        description: of the scale.
    """
    note = "" if scale == PAPER_SCALE else " A claim that holds here is no reproduction of it."
    return (
        f"<h2>What is claimed, on what is measured at the {escape(scale)} scale</h2>"
        f'<p class="fine">{escape(description)}.{note}</p>' + checks_table(checks)
    )


def frame_table(frame: pd.DataFrame) -> str:
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


def doubts_list(doubts: Sequence[str]) -> str:
    """What is doubtful about the printed original; nothing if there is nothing."""
    if not doubts:
        return ""
    items = "".join(f"<li>{escape(doubt)}</li>" for doubt in doubts)
    return f'<h2>Misprints, readings and doubts</h2><ul class="fine">{items}</ul>'


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
