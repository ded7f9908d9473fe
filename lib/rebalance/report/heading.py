"""Top and small print of a page of trained runs: what it shows, at which scale, how to read it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rebalance.figures.checks import PAPER_SCALE, Check
from rebalance.report.checks import verdict_chip
from rebalance.report.table import ARROWS, read_metric
from rebalance.words import in_words, indexed


def heading_html(
    title: str,
    paper: str,
    scale: str | None,
    description: str = "",
    checks: Sequence[Check] | None = None,
    nothing_learnt: bool = False,
) -> str:
    """Title with the scale in it, the work, the verdict, and a warning unless at the paper's scale.

    ``scale`` is None for what holds at every scale: a formula drawn, a simulation. ``checks`` is
    None for a page of our own. ``nothing_learnt`` warns of numbers that say nothing.
    """
    suffix = "" if scale is None else f" · {escape(scale)} scale"
    parts = ["<header>", f'<p class="eyebrow"><span>{escape(paper)}</span>']
    if scale is not None:
        parts.append(f'<span class="chip scale">{escape(scale)} scale</span>')
    if checks is not None:
        parts.append(verdict_chip(checks))
    parts.append(f"</p><h1>{escape(title)}{suffix}</h1>")
    if description:
        parts.append(f'<p class="lead">{indexed(description)}</p>')
    parts.append("</header>")
    if scale is not None and scale != PAPER_SCALE:
        parts.append(
            '<div class="banner" role="note"><strong>Not comparable with printed numbers.</strong> '
            f"Everything measured here is of the <em>{escape(scale)}</em> scale: other data than "
            "a published work's and, where something was trained, a smaller network and a shorter "
            "schedule. Compare what is measured with each other; reported numbers, where there "
            "are any, stand beside it for orientation only.</div>"
        )
    if nothing_learnt:
        parts.append(
            '<div class="banner" role="note"><strong>These numbers say nothing.</strong> No row '
            "has learnt to detect: every one is below 5%.</div>"
        )
    return "".join(parts)


def legend_html(metrics: Sequence[Mapping[str, Any]]) -> str:
    """How to read the table, in a few sentences."""
    columns = [read_metric(entry) for entry in metrics]
    meanings = {"higher": "higher is better", "lower": "lower is better"}
    arrows = ", ".join(
        f"{ARROWS[better]} {meaning}"
        for better, meaning in meanings.items()
        if any(column.better == better for column in columns)
    )
    percent = [in_words(column.name) for column in columns if column.percent]
    unit = "Values in percent. " if percent else ""
    if percent and len(percent) < len(columns):
        unit = f"{', '.join(percent)} in percent. "
    unmeasured = [in_words(column.name) for column in columns if not column.measured]
    printed = f" Not measured here: {', '.join(unmeasured)}." if unmeasured else ""
    return (
        f'<p class="fine">{unit}{arrows[:1].upper() + arrows[1:] + ". " if arrows else ""}'
        "Below a number that has a baseline: its gain over that, with the 95% interval that the "
        "choice of validation images leaves; coloured where it leaves out 0. Bold: best of its "
        "column by more than that. ± is the standard deviation over seeds, where there are "
        "several; – is undefined or "
        f"not measured.{printed}</p>"
    )
