"""What a drawn figure shows, read off its axes: numbers for a CSV, words for its alt text.

Every figure gets both without a word of its own, and neither can say what is not drawn.
"""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

COLUMNS = ["panel", "series", "x", "y", "value"]
"""Of the numbers of a figure; value is that of a cell, whose column and row are x and y."""
UNNAMED = re.compile(r"(line|points|steps|bars|cells) \d+")
"""What series without a name are called."""
MOST_PANELS, MOST_SERIES, MOST_WORDS = 6, 8, 14
"""That are described one by one."""


def read_series(fig: Figure) -> pd.DataFrame:
    """Points of lines and scatters, bars and cells of images, with the columns COLUMNS.

    The x of a bar is what stands below it, where something does. Rules across a whole panel, arrows
    and shapes are left out.
    """
    rows = [
        (panel, name, x, y, value)
        for panel, ax in _panels(fig)
        for name, points in _series(ax)
        for x, y, value in points
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def describe(fig: Figure) -> str:
    """One paragraph: panels, what their axes are, where each series starts, ends, peaks.

    A panel without series is told by the words in it.
    """
    panels = list(_panels(fig))
    said = [f"{len(panels)} panels."] if len(panels) > 1 else []
    title = fig.get_suptitle()
    if title:
        said.insert(0, f"{title}.")
    said += [_panel_in_words(panel, ax) for panel, ax in panels[:MOST_PANELS]]
    if len(panels) > MOST_PANELS:
        said.append(f"And {len(panels) - MOST_PANELS} more panels.")
    return " ".join(" ".join(said).split())


def _panels(fig: Figure) -> Iterator[tuple[str, Axes]]:
    """Axes by their titles; bars of colours are none."""
    axes = [ax for ax in fig.axes if ax.get_label() != "<colorbar>"]
    for index, ax in enumerate(axes, start=1):
        titles = (ax.get_title(loc=place) for place in ("left", "center", "right"))
        named = next((title for title in titles if title), "")
        yield named.replace("\n", " ") or (f"panel {index}" if len(axes) > 1 else ""), ax


Point = tuple[float | str, float | str, float | None]


def _series(ax: Axes) -> Iterator[tuple[str, list[Point]]]:
    """Name and points of everything in a panel that has numbers; a panel without axes has none."""
    if not ax.axison:
        return
    below = _labels(ax.xaxis)
    beside = _labels(ax.yaxis)
    for index, line in enumerate(ax.get_lines(), start=1):
        if line.get_transform() == ax.transData and np.size(line.get_xydata()):
            yield _name(line.get_label(), f"line {index}"), _points(line.get_xydata())
    for index, cloud in enumerate(ax.collections, start=1):
        if isinstance(cloud, PathCollection) and np.size(cloud.get_offsets()):
            offsets: NDArray[np.float64] = np.ma.filled(
                np.ma.asarray(cloud.get_offsets(), dtype=float), np.nan
            )
            yield _name(cloud.get_label(), f"points {index}"), _points(offsets)
    steps = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    for index, step in enumerate(steps, start=1):
        heights, edges, _ = step.get_data()
        middles = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
        yield _name(step.get_label(), f"steps {index}"), _points(np.c_[middles, heights])
    for index, bars in enumerate(ax.containers, start=1):
        if isinstance(bars, BarContainer):
            yield (
                _name(bars.get_label(), f"bars {index}"),
                [
                    (beside.get(round(y, 3), y), bar.get_width(), None)
                    if bars.orientation == "horizontal"
                    else (below.get(round(x, 3), x), bar.get_height(), None)
                    for bar in bars
                    for x, y in [_middle(bar)]
                ],
            )
    for index, image in enumerate(ax.images, start=1):
        cells: NDArray[np.float64] = np.ma.filled(
            np.ma.asarray(image.get_array(), dtype=float), np.nan
        )
        if cells.ndim == 2:
            yield (
                _name(image.get_label(), f"cells {index}"),
                [
                    (below.get(column) or column, beside.get(row) or row, float(value))
                    for (row, column), value in np.ndenumerate(cells)
                ],
            )


def _middle(bar: object) -> tuple[float, float]:
    x, y = bar.get_xy()  # type: ignore[attr-defined]
    width, height = bar.get_width(), bar.get_height()  # type: ignore[attr-defined]
    return float(x + width / 2), float(y + height / 2)


def _points(xy: object) -> list[Point]:
    return [(float(x), float(y), None) for x, y in np.asarray(xy, dtype=float)]


def _labels(axis: Axis) -> dict[float, float | str]:
    """Words at the ticks of an axis whose ticks were set by hand or are categories, by place."""
    if not isinstance(axis.get_major_locator(), FixedLocator | StrCategoryLocator):
        return {}
    places = [float(x) for x in axis.get_ticklocs()]
    labels = axis.get_major_formatter().format_ticks(places)
    return {
        round(x, 3): label
        for x, label in zip(places, labels, strict=True)
        if any(letter.isalpha() for letter in label)
    }


def _name(label: object, otherwise: str) -> str:
    """What the legend calls it; matplotlib's own names start with an underscore."""
    text = str(label)
    return otherwise if not text or text.startswith("_") else text


def _panel_in_words(panel: str, ax: Axes) -> str:
    against = [ax.get_ylabel(), ax.get_xlabel()] if ax.axison else []
    axes = " against ".join(label.replace("\n", " ") for label in against if label)
    head = ": ".join(part for part in (panel, axes) if part)
    series = list(_series(ax))
    # Lines without a name guide the eye, unless there are no others.
    series = [one for one in series if not UNNAMED.fullmatch(one[0])] or series
    said = [_series_in_words(name, points) for name, points in series[:MOST_SERIES]]
    if len(series) > MOST_SERIES:
        said.append(f"and {len(series) - MOST_SERIES} more")
    if not series:
        texts = (text.get_text().replace("\n", " ").strip() for text in ax.texts)
        words = dict.fromkeys(text for text in texts if any(letter.isalpha() for letter in text))
        shapes = len(ax.patches) + sum(len(drawn.get_paths()) for drawn in ax.collections)
        said = [", ".join(list(words)[:MOST_WORDS]) or (f"{shapes} shapes" if shapes else "")]
    body = "; ".join(part for part in said if part)
    return f"{head + ': ' if head and body else head}{body}." if head or body else ""


def _series_in_words(name: str, points: list[Point]) -> str:
    """Where a series starts and ends, its lowest and highest value."""
    values = np.array([point[1] if point[2] is None else point[2] for point in points], dtype=float)
    defined = values[np.isfinite(values)]
    if not len(defined):
        return f"{name} is undefined"
    if len(points) == 1:
        return f"{name} {defined[0]:.3g}"
    extent = f"{defined.min():.3g} to {defined.max():.3g}"
    if points[0][2] is not None:
        return f"{len(points)} cells from {extent}"
    if isinstance(points[0][0], str):
        each = ", ".join(
            f"{x} {y:.3g}" for (x, _, _), y in zip(points[:MOST_WORDS], values, strict=False)
        )
        return f"{name}: {each}"
    return f"{name} goes from {defined[0]:.3g} to {defined[-1]:.3g} (within {extent})"
