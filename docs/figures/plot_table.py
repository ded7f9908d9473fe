"""The README's picture of a rendered table: words, cells and marks of its page."""

import re
import textwrap
from collections.abc import Mapping
from html import unescape
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rebalance.figures.comparison.compute import assemble, read_metric
from rebalance.figures.comparison.gains import with_gains
from rebalance.figures.style import INK, LINE, SOFT, use_style
from rebalance.report.heading import heading_html
from rebalance.report.table import style_table
from rebalance.words import in_words

WASH, MARK, WARNING, WARNING_LINE = "#eef1f5", "#e3f1f7", "#fdf1da", "#f0cf94"
"""Colours of the page's style sheet, in light."""
GAIN = "\n"
"""Between a number and its gain, which stands below it."""
MARGIN, HEAD, ROW, LETTER = 0.25, 1.75, 0.4, 0.085
"""Inches: around everything; height of heading and rows; width of a letter in the first column."""
WIDTHS = {"measured": 1.12, "reported": 0.66}
"""Inches, of the columns of a metric."""


def plot_table(parameters: Mapping[str, Any]) -> Figure:
    """The upper part of a table's page.

    Args:
        parameters: those of ``notebooks/table.ipynb``; the files that they name exist.
    """
    rows, metrics = parameters["rows"], parameters["metrics"]
    files, baselines = parameters["files"], parameters["baselines"]
    tidy = with_gains(assemble(rows, metrics, files), metrics, files, baselines)
    cells = style_table(tidy, rows, metrics).data.map(_words)
    ends = [LETTER * max(map(len, cells.iloc[:, 0])) + 0.25]
    for _, kind in cells.columns[1:]:
        ends.append(ends[-1] + WIDTHS[kind])
    height = HEAD + (len(cells) + 2) * ROW
    use_style()
    fig = Figure((ends[-1] + 2 * MARGIN, height + 2 * MARGIN))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.axis("off")
    ax.set(xlim=(-MARGIN, ends[-1] + MARGIN), ylim=(height + MARGIN, -MARGIN))  # y downwards
    _draw_heading(ax, parameters, ends[-1])
    _draw_cells(ax, cells, _best_cells(tidy, metrics), [0.0, *ends])
    return fig


def _words(html: str) -> str:
    """Text of a piece of a page, GAIN before a gain; subscripts as matplotlib writes them."""
    html = html.replace('<span class="gain', f'{GAIN}<span class="gain')
    html = re.sub(r"<sub>(.*?)</sub>", r"$_{\\mathrm{\1}}$", html)
    return unescape(re.sub(r"<[^>]+>", "", html))


def _best_cells(tidy: pd.DataFrame, metrics: list[Mapping[str, Any]]) -> set[tuple[int, str]]:
    """(row, metric's label) of every measured number that is clearly the best of its column."""
    labels = {metric.name: _words(in_words(metric.name)) for metric in map(read_metric, metrics)}
    best = tidy[tidy["best"]]
    return {(row, labels[name]) for row, name in zip(best["row"], best["metric"], strict=True)}


def _draw_heading(ax: Axes, parameters: Mapping[str, Any], width: float) -> None:
    """Work, title with the scale in it, description, and the warning that the page has."""
    names = ("title", "paper", "scale", "description")
    html = heading_html(*(parameters[name] for name in names))
    parts = {
        name: _words(re.search(pattern, html, re.DOTALL)[1])
        for name, pattern in {
            "paper": r'eyebrow">(.*?)</span>',
            "title": "<h1>(.*?)</h1>",
            "description": r'lead">(.*?)</p>',
            "warning": r'role="note">(.*?)</div>',
        }.items()
    }
    ax.text(0, 0.08, parts["paper"], fontsize=9, color=SOFT, va="center")
    ax.text(0, 0.4, parts["title"], fontsize=17, fontweight="bold", va="center")
    ax.text(0, 0.73, parts["description"], fontsize=10, color=SOFT, va="center")
    _fill(ax, (0, width), (0.93, 1.53), WARNING)
    _fill(ax, (0, 0.05), (0.93, 1.53), WARNING_LINE)
    warning = textwrap.fill(parts["warning"], int(width / 0.075))
    ax.text(0.16, 1.23, warning, fontsize=9, va="center", linespacing=1.5)


def _draw_cells(
    ax: Axes, cells: pd.DataFrame, best: set[tuple[int, str]], edges: list[float]
) -> None:
    """The table below the heading: two rows of headings, then a row for each of ``cells``."""
    bottom = HEAD + (len(cells) + 2) * ROW
    _fill(ax, (0, edges[-1]), (HEAD, HEAD + 2 * ROW), WASH)
    ax.plot([edges[-1]] * 2, [HEAD, bottom], color=LINE, linewidth=0.8)
    for row in range(len(cells) + 3):
        ax.plot([0, edges[-1]], [HEAD + row * ROW] * 2, color=LINE, linewidth=0.8)
    for number, (label, kind) in enumerate(cells.columns):
        left, right = edges[number : number + 2]
        if kind in ("", "measured"):
            middle = left + sum(WIDTHS.values()) / 2 if kind else left + 0.1
            ax.text(middle, HEAD + 0.5 * ROW, _words(label), fontsize=10, fontweight="bold",
                    ha="center" if kind else "left", va="center")  # fmt: skip
            ax.plot([left, left], [HEAD, bottom], color=LINE, linewidth=0.8)
        ax.text(right - 0.06, HEAD + 1.5 * ROW, kind, fontsize=7, fontweight="bold", color=SOFT,
                ha="right", va="center")  # fmt: skip
        for row, text in enumerate(cells.iloc[:, number]):
            top = HEAD + (row + 2) * ROW
            is_best = kind == "measured" and (row, _words(label).split(" ")[0]) in best
            if is_best:
                _fill(ax, (left, right), (top, top + ROW), MARK)
            number_text, _, gain = text.partition(GAIN)
            look = {
                "fontsize": 9.5,
                "fontweight": "bold" if is_best or not kind else "normal",
                "color": SOFT if kind == "reported" else INK,
            }
            x, side = (right - 0.06, "right") if kind else (left + 0.1, "left")
            height = top + ROW * (0.33 if gain else 0.5)
            ax.text(x, height, number_text, ha=side, va="center", **look)
            ax.text(x, top + ROW * 0.73, gain, ha=side, va="center", fontsize=6.5, color=SOFT)


def _fill(ax: Axes, across: tuple[float, float], down: tuple[float, float], colour: str) -> None:
    corner, size = (across[0], down[0]), (across[1] - across[0], down[1] - down[0])
    ax.add_patch(Rectangle(corner, *size, facecolor=colour, linewidth=0))
