"""HTML of a table: measured beside reported, the best in bold, and where the numbers come from."""

import os
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

if TYPE_CHECKING:
    from pandas.io.formats.style_render import CSSDict

UNDEFINED = "–"
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


def best_rows(values: pd.Series, better: str | None) -> set[int]:
    """Labels of the best values with ties; none if neither is better or only one is defined."""
    defined = values.dropna()
    if better is None or len(defined) < 2:
        return set()
    best = defined.max() if better == "higher" else defined.min()
    return set(defined.index[np.isclose(defined, best, rtol=0, atol=1e-12)])


def metric_label(name: str) -> str:
    """HTML of a metric's name: AP50 and oLRP_Loc have subscripts."""
    stem, mark, rest = name.partition("_")
    if mark and stem in {"oLRP", "LRP"}:
        return f"{stem}<sub>{escape(rest)}</sub>"
    if name.startswith("mask_"):
        return f"mask {metric_label(rest)}"
    if name[:2] in {"AP", "AR"} and (name[2:].isdigit() or name[2:] in {"S", "M", "L"}):
        return f"{name[:2]}<sub>{name[2:]}</sub>"
    return escape(name.replace("_", " "))


def show_setting(value: Any) -> str:
    """HTML of one setting of a row."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return escape(", ".join(str(part) for part in value))
    return escape(str(value))


def show_number(value: float, places: int, percent: bool, sign: bool = False) -> str:
    """A number as the table shows it: in percent or as it is, with a real minus; – if undefined."""
    if np.isnan(value):
        return UNDEFINED
    text = f"{100 * value if percent else value:{'+' if sign else ''}.{places}f}"
    # A difference that rounds to nothing has no sign.
    text = text.lstrip("+-") if float(text) == 0 else text
    return text.replace("-", "−")


def style_table(
    tidy: pd.DataFrame, rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]
) -> Styler:
    """The table for reading: three columns per metric (measured, reported, difference).

    The best of a column is bold; a row that is not measured says why under its name.

    Args:
        tidy: what ``assemble`` returned for the same rows and metrics.
        rows: see ``assemble``.
        metrics: see ``assemble``.
    """
    text: dict[tuple[str, str], list[str]] = {}
    kinds: dict[tuple[str, str], list[str]] = {}
    for name in rows[0]["setting"]:
        heading = (escape(name.replace("_", " ")), "")
        text[heading] = [show_setting(row["setting"][name]) for row in rows]
        kinds[heading] = ["setting"] * len(rows)
    names = next(iter(text))
    text[names] = [
        shown
        if row["missing"] is None
        else f'{shown}<span class="reason">{escape(row["missing"])}</span>'
        for shown, row in zip(text[names], rows, strict=True)
    ]
    for metric in map(read_metric, metrics):
        lines = tidy[tidy["metric"] == metric.name].set_index("row")
        places = decimals(rows, metric)
        label = f"{metric_label(metric.name)} {ARROWS[metric.better]}".strip()
        for column in ("measured", "reported", "difference"):
            if column != "reported" and not metric.measured:
                continue
            heading = (label, "Δ" if column == "difference" else column)
            best = best_rows(lines[column], metric.better) if column != "difference" else set()
            text[heading] = [
                show_number(value, places, metric.percent, sign=column == "difference")
                for value in lines[column]
            ]
            if column == "measured":
                text[heading] = [
                    shown
                    if np.isnan(std)
                    else f'{shown} <span class="spread">± '
                    f"{show_number(std, places, metric.percent)}</span>"
                    for shown, std in zip(text[heading], lines["std"], strict=True)
                ]
            kinds[heading] = [
                f"{column}{' best' if row in best else ''}"
                f"{' undefined' if shown == UNDEFINED else ''}"
                for row, shown in enumerate(text[heading])
            ]
    shown = pd.DataFrame(text)
    shown.columns = pd.MultiIndex.from_tuples(text)
    classes = pd.DataFrame(kinds)
    classes.columns = shown.columns
    # Enough style to read the executed notebook in Jupyter too; the page's own sheet adds to it.
    essential: list[CSSDict] = [
        {"selector": "td.best", "props": "font-weight: bold"},
        {"selector": ".reason", "props": "display: block; font-weight: normal"},
    ]
    return (
        Styler(shown, uuid="results", cell_ids=False)
        .set_td_classes(classes)
        .set_table_attributes('class="results"')
        .set_table_styles(essential)
        .hide(axis="index")
    )


def table_html(styler: Styler) -> str:
    """The styled table in a frame that scrolls sideways on a narrow screen."""
    return f'<div class="table-scroll">{styler.to_html()}</div>'


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
