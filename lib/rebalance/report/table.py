"""HTML of a table: measured beside reported, gains below both, where the numbers come from."""

import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from rebalance.config.rows import row_names
from rebalance.figures.comparison.compute import Metric, read_metric
from rebalance.figures.comparison.gains import agreement
from rebalance.report.numbers import UNDEFINED, show_number
from rebalance.words import in_words

if TYPE_CHECKING:
    from pandas.io.formats.style_render import CSSDict

STAND_IN = "stand-in"
"""How the note of a row begins that shows something in the place of what the work has."""
_NAME = re.compile(r"[a-z][a-z0-9]*|\w+_[\w.]+")
ARROWS = {"higher": "↑", "lower": "↓", None: ""}


def decimals(rows: Sequence[Mapping[str, Any]], metric: Metric) -> int:
    """How many decimals to show: as many as the work prints, at least 1 in percent.

    Three for fractions that the work does not print.
    """
    printed = [row["reported"].get(metric.name) for row in rows]
    places = [
        -int(Decimal(repr(value)).as_tuple().exponent)
        for value in printed
        if isinstance(value, float)
    ]
    if metric.percent:
        return max([1, *places])
    if not any(value is not None for value in printed):
        return 3
    return max([0, *places])


def show_setting(value: Any) -> str:
    """HTML of one setting of a row."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return escape(", ".join(str(part) for part in value))
    # The name of a part of ours, not words of the work.
    return (
        in_words(value) if isinstance(value, str) and _NAME.fullmatch(value) else escape(str(value))
    )


def style_table(
    tidy: pd.DataFrame,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    reported_on: str = "",
) -> Styler:
    """The table for reading: measured and reported of every metric, each with its gain below.

    Where the best epoch was searched for, it stands between them, beside the last. A measured
    number is bold where it is the best by more than the images could explain; a row that is not
    measured says why under its name. A metric of which nothing is printed has no reported column.

    Args:
        tidy: what ``with_gains`` returned for the same rows and metrics.
        rows: see ``assemble``.
        metrics: see ``assemble``.
        reported_on: the images that reported numbers are of, if others than those measured on.
    """
    reported = f"reported on {reported_on}" if reported_on else "reported"
    text: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], list[str]] = {}
    for name in rows[0]["setting"]:
        heading = (f'<span class="setting">{in_words(name)}</span>', "")
        text[heading] = [show_setting(row["setting"][name]) for row in rows]
        kinds[heading] = ["setting"] * len(rows)
    names = next(iter(text))
    text[names] = [
        shown
        + _settings_below(row)
        + "".join(f'<span class="reason">{escape(said)}</span>' for said in _said(row))
        for shown, row in zip(text[names], rows, strict=True)
    ]
    for metric in map(read_metric, metrics):
        lines = [line for _, line in tidy[tidy["metric"] == metric.name].iterrows()]
        places = decimals(rows, metric)
        label = f"{in_words(metric.name)} {ARROWS[metric.better]}".strip()
        searched = any(line["best_epoch"] for line in lines)
        if metric.measured:
            last = "last epoch" if searched else "measured"
            text[label, last] = [_measured(line, places, metric) for line in lines]
            kinds[label, last] = [f"measured{' best' if line['best'] else ''}" for line in lines]
        if searched:
            text[label, "best epoch"] = [_at_best_epoch(line, places, metric) for line in lines]
            kinds[label, "best epoch"] = ["measured"] * len(lines)
        if any(not np.isnan(line["reported"]) for line in lines):
            text[label, reported] = [
                show_number(line["reported"], places, metric.percent)
                + _gain(line["reported_gain"], places, metric)
                for line in lines
            ]
            kinds[label, reported] = ["reported"] * len(lines)
    shown = pd.DataFrame(text)
    shown.columns = pd.MultiIndex.from_tuples(text)
    classes = pd.DataFrame(kinds)
    classes.columns = shown.columns
    classes = classes + shown.map(lambda cell: " undefined" if cell == UNDEFINED else "")
    # Enough style to read the executed notebook in Jupyter too; the page's own sheet adds to it.
    essential: list[CSSDict] = [
        {"selector": "td.best", "props": "font-weight: bold"},
        {"selector": ".reason, .gain", "props": "display: block; font-weight: normal"},
        {"selector": ".narrow", "props": "display: none"},
    ]
    return (
        Styler(shown, uuid="results", cell_ids=False)
        .set_td_classes(classes)
        .set_table_attributes('class="results"')
        .set_table_styles(essential)
        .hide(axis="index")
    )


def _settings_below(row: Mapping[str, Any]) -> str:
    """The settings but the first, which a narrow page shows below it instead of in columns."""
    others = [
        f"{in_words(name)}: {show_setting(value)}"
        for name, value in list(row["setting"].items())[1:]
        if value is not None
    ]
    return f'<span class="narrow">{", ".join(others)}</span>' if others else ""


def _said(row: Mapping[str, Any]) -> list[str]:
    """Below a row's name: why it is not measured, or what it shows if not a run."""
    said = row.get("note") if row["missing"] is None else row["missing"]
    return [said] if said else []


def _measured(line: pd.Series, places: int, metric: Metric) -> str:
    """HTML of a measured number: its spread over seeds, its gain with the interval of that."""
    shown = show_number(line["measured"], places, metric.percent)
    if not np.isnan(line["std"]):
        spread = show_number(line["std"], places, metric.percent)
        shown += f' <span class="spread">± {spread}</span>'
    return shown + _gain(line["gain"], places, metric, (line["low"], line["high"]))


def _at_best_epoch(line: pd.Series, places: int, metric: Metric) -> str:
    """HTML of a number at its best epoch, and which one that is."""
    shown = show_number(line["at_best_epoch"], places, metric.percent)
    if line["best_epoch"]:
        shown += f' <span class="spread">({line["best_epoch"]})</span>'
    return shown


def epochs_html(tidy: pd.DataFrame) -> str:
    """How the best epoch was found and what that means; nothing where it was not searched for."""
    if not tidy["best_epoch"].any():
        return ""
    return (
        '<p class="fine">Best epoch, with its number: as in the work, each number has the epoch '
        "that is best in it, searched for on the validation images themselves (the parts of oLRP "
        "have that of oLRP). This flatters every row: nothing is left to check the choice on. "
        "Reported numbers and claims are held against it. Gains, intervals and the order of the "
        "rows are those of the last epoch, which nobody chose.</p>"
    )


def _gain(
    gain: float,
    places: int,
    metric: Metric,
    ends: tuple[float, float] = (float("nan"), float("nan")),
) -> str:
    """HTML of a gain; coloured where its interval leaves out 0. Nothing if there is none."""
    if np.isnan(gain):
        return ""
    shown, kind = show_number(gain, places, metric.percent, sign=True), ""
    low, high = ends
    if not np.isnan(low):
        texts = (show_number(end, places, metric.percent, sign=True) for end in ends)
        shown += f" [{', '.join(texts)}]"
    if metric.better and (low > 0 or high < 0):
        kind = " better" if (low > 0) == (metric.better == "higher") else " worse"
    return f'<span class="gain{kind}">{shown}</span>'


def agreement_html(tidy: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> str:
    """How far rows and gains behave as in the work, a line per metric; nothing of two rows.

    What stands in for a row's model says nothing of it, and is left out.
    """
    stand_ins = [
        place for place, row in enumerate(rows) if (row.get("note") or "").startswith(STAND_IN)
    ]
    lines = []
    for found in agreement(tidy[~tidy["row"].isin(stand_ins)]):
        if not found.gains and np.isnan(found.order):
            continue
        order = UNDEFINED if np.isnan(found.order) else f"{found.order:+.2f}".replace("-", "−")
        signs, clear = UNDEFINED, UNDEFINED
        size = UNDEFINED if np.isnan(found.size) else f"{found.size:.2g} times"
        if found.gains:
            signs = f"{found.same_sign} of {found.gains}"
            clear = f"{found.clear} of {found.gains}"
        lines.append(
            f'<tr><td class="setting">{in_words(found.metric)}</td>'
            f'<td>{order} <span class="spread">({found.rows} rows)</span></td>'
            f"<td>{signs}</td><td>{size}</td><td>{clear}</td></tr>"
        )
    if not lines:
        return ""
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "metric",
            "order of rows",
            "gains that point as reported",
            "their size",
            "clear gains",
        )
    )
    return (
        "<h2>Do the gains come out?</h2>"
        '<div class="table-scroll html" tabindex="0"><table class="results">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        '<p class="fine">Order: rank correlation of measured and reported numbers. Size: of the '
        "measured gains by that of the reported ones, on average. A gain is clear "
        "if its 95% interval leaves out 0: paired resamples of the validation images; what another "
        "training seed would change it cannot know.</p>"
    )


def table_html(styler: Styler) -> str:
    """The styled table in a frame that scrolls sideways on a narrow screen."""
    return f'<div class="table-scroll" tabindex="0">{styler.to_html()}</div>'


def run_links_html(
    rows: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Sequence[str]]],
    seeds: Sequence[int],
    table: Path,
) -> str:
    """Where each row's numbers come from: its run, with links to what each seed left.

    Args:
        rows: see ``assemble``.
        files: see ``assemble``.
        seeds: number of each seed, in the order of a row's files.
        table: the CSV; the page will be in its folder, and links are relative to that.
    """
    lines = []
    for name, row, row_files in zip(row_names(rows), rows, files, strict=True):
        if row["missing"] is None:
            variant = f" / {escape(row['variant'])}" if row["variant"] else ""
            links = "; ".join(
                f"seed {seed}: "
                + ", ".join(_link(*link, table) for link in zip(row_files, paths, strict=True))
                for seed, *paths in zip(seeds, *row_files.values(), strict=True)
            )
            runs = f"<code>{escape(row['run'])}{variant}</code> ({links})"
            runs += "".join(f": {escape(said)}" for said in _said(row))
        else:
            runs = f"not measured: {escape(row['missing'])}"
        lines.append(f"<li><strong>{escape(name)}</strong>: {runs}</li>")
    return (
        f'<h2>Where the numbers come from</h2><ul class="fine">{"".join(lines)}</ul>'
        f'<p class="fine">All digits: {_link(table.name, table, table)}</p>'
    )


def _link(text: str, path: str | Path, table: Path) -> str:
    """A link to a file from a page in the folder of the table."""
    return f'<a href="{quote(os.path.relpath(path, table.parent))}">{escape(text)}</a>'
