"""Small tables drawn as pictures: parts of figures, thumbnails of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.figures.style import INK, SOFT, figure

MOST_ROWS, MOST_COLUMNS, MOST_LETTERS = 9, 4, 18
"""Of a thumbnail: as much as can be read on a card, which is about as wide as a column."""


def draw_table(
    ax: Axes,
    frame: pd.DataFrame,
    widths: Sequence[float] | None = None,
    shades: Mapping[tuple[int, str], str] | None = None,
    fontsize: float = 7,
    digits: int = 2,
) -> None:
    """A frame as text in columns; numbers to the right, text to the left.

    Args:
        ax: is emptied.
        frame: header and cells.
        widths: relative widths of the columns.
        shades: (row, column) -> background colour of a cell.
        fontsize: of all text.
        digits: of floats.
    """
    ax.axis("off")
    widths = widths or [1.0] * len(frame.columns)
    ends = [sum(widths[: k + 1]) / sum(widths) for k in range(len(widths))]
    starts = [0.0, *ends[:-1]]
    step = 1 / (len(frame) + 1)
    for column, (name, start, end) in enumerate(zip(frame.columns, starts, ends, strict=True)):
        left = column == 0 or not pd.api.types.is_numeric_dtype(frame[name])
        x, side = (start + 0.01, "left") if left else (end - 0.01, "right")
        for row in range(-1, len(frame)):
            y = 1 - (row + 1.5) * step
            text = str(name) if row < 0 else _cell(frame[name].iloc[row], digits)
            shade = (shades or {}).get((row, str(name)))
            ax.text(x, y, text, transform=ax.transAxes, ha=side, va="center", fontsize=fontsize,
                    color=INK, fontweight="bold" if row < 0 else "normal",
                    in_layout=False)  # fmt: skip
            if shade:
                ax.axhspan(y - step / 2, y + step / 2, start, end, color=shade, linewidth=0)
    ax.plot([0, 1], [1 - step] * 2, color=SOFT, linewidth=0.7, transform=ax.transAxes)
    ax.set(xlim=(0, 1), ylim=(0, 1))


def _cell(value: Any, digits: int) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def plot_thumbnail(frame: pd.DataFrame) -> Figure:
    """The first rows and columns of a table, for its card in the index."""
    shown = frame.iloc[:MOST_ROWS, :MOST_COLUMNS]
    shown = shown.rename(columns=lambda name: _shorten(str(name).replace("_", " "), 14)).map(
        lambda value: _shorten(value, MOST_LETTERS) if isinstance(value, str) else value
    )
    fig, ax = figure(columns=1, aspect=0.07 * (len(shown) + 1.5))
    draw_table(ax, shown, widths=[_width(shown[name]) for name in shown.columns])
    return fig


def _width(column: pd.Series) -> float:
    return max(len(str(column.name)), *(len(_cell(value, 2)) for value in column)) + 2


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
