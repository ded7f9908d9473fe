"""One look for every figure: type, sizes, colours that colour-blind readers can tell apart.

A plot function makes its figure with ``figure`` and asks ``colours`` for its lines; a notebook
saves the result with ``save_figure``. Nothing else about style needs to be said in a plot::

    def plot_something(curves: Mapping[str, Series]) -> Figure:
        fig, ax = figure(columns=1)
        for name, colour in colours(curves).items():
            ax.plot(curves[name], color=colour, label=name)
        return fig
"""

import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rebalance.data.files import write_atomically
from rebalance.figures.series import describe, read_series

#: Eight colours told apart with any common colour blindness, in print and on a screen (after
#: Okabe and Ito; the yellow is darkened to be seen on white).
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#7b5fb5",
    "#8c6d1f",
)
INK, SOFT, LINE = "#1a1f2b", "#5a6474", "#d5dae2"
#: Sequential and diverging colour maps, even in lightness.
SEQUENTIAL, DIVERGING = "cividis", "RdBu"
LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
#: Widths of a column and of a page of a two-column paper, inches.
WIDTHS = {1: 3.5, 2: 7.16}

#: Of an entry of a legend, inches: the line with its space, a letter, and how far down the next is.
HANDLE_WIDTH, LETTER_WIDTH, ENTRY_HEIGHT = 0.5, 0.054, 0.16

#: Names that keep their colour in every figure, whatever stands beside them.
FIXED_COLOURS = {
    "baseline": SOFT,
    "smooth_l1": SOFT,
    "iou": PALETTE[4],
    "giou": PALETTE[2],
    "diou": PALETTE[6],
    "ciou": PALETTE[5],
    "eiou": PALETTE[3],
    "focal_eiou": PALETTE[1],
    "focal_l1": PALETTE[7],
    "measured": PALETTE[0],
    "reported": SOFT,
}

_RC: Any = {
    # Ships with matplotlib, so that every machine draws the same.
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 7.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.formatter.use_mathtext": True,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "patch.linewidth": 0.6,
    "image.cmap": SEQUENTIAL,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Text as outlines: the same picture wherever it is opened.
    "svg.fonttype": "path",
    # Without a fixed salt the ids in an SVG, and so its bytes, differ from run to run.
    "svg.hashsalt": "rebalance",
}


def use_style() -> None:
    """Set matplotlib's defaults to the look of the suite; ``figure`` does it, too."""
    mpl.rcParams.update(_RC)


def figure(
    columns: int = 2, grid: tuple[int, int] = (1, 1), aspect: float = 0.66, **subplots: Any
) -> tuple[Figure, Any]:
    """A figure as wide as one column (3.5 in) or the page (7.16 in) of a two-column paper.

    The figure is not registered with pyplot: it needs no closing and no notebook shows it twice.

    Args:
        columns: 1 or 2.
        grid: rows and columns of axes.
        aspect: height of one of the axes by its width.
        subplots: passed to ``Figure.subplots``: sharex, sharey, squeeze, width_ratios, ...

    Returns:
        The figure, and its axes: one Axes for a grid of (1, 1), else an array as Figure.subplots
        returns it (a list-like of Axes when one of the sides is 1).
    """
    if columns not in WIDTHS:
        raise ValueError(f"columns must be one of {tuple(WIDTHS)}, got {columns}")
    use_style()
    height = WIDTHS[columns] / grid[1] * aspect * grid[0]
    fig = Figure(figsize=(WIDTHS[columns], height), layout="constrained")
    return fig, fig.subplots(*grid, **subplots)


def _canonical(name: str) -> str:
    """Focal-EIoU, focal_eiou and Focal EIOU are one name."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name: the fixed one, else one that depends on the name.

    Names of one figure get different colours while there are any left (then they repeat: use
    ``line_styles``); a name keeps its colour in other figures unless a name before it there
    holds it.
    """
    chosen: dict[str, str] = {}
    names = list(dict.fromkeys(names))
    for name in names:
        if _canonical(name) in FIXED_COLOURS:
            chosen[name] = FIXED_COLOURS[_canonical(name)]
    for name in names:
        if name in chosen:
            continue
        start = zlib.crc32(_canonical(name).encode()) % len(PALETTE)
        order = PALETTE[start:] + PALETTE[:start]
        counts = {colour: list(chosen.values()).count(colour) for colour in order}
        chosen[name] = min(order, key=lambda colour: counts[colour])
    return {name: chosen[name] for name in names}


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Keyword arguments of ``Axes.plot`` for each name: its colour, and a dash if that repeats."""
    seen: dict[str, int] = {}
    styles = {}
    for name, colour in colours(names).items():
        repeats = seen[colour] = seen.get(colour, -1) + 1
        styles[name] = {"color": colour, "linestyle": LINE_STYLES[repeats % len(LINE_STYLES)]}
    return styles


def legend_below(fig: Figure, ax: Axes, columns: int = 4) -> None:
    """One legend under all axes, with the entries of ``ax``; fewer columns where names are long.

    The figure grows by what more than one line of it takes, so that the axes keep their size.
    """
    handles, labels = ax.get_legend_handles_labels()
    width = HANDLE_WIDTH + LETTER_WIDTH * max(map(len, labels), default=0)
    fitting = max(1, int(fig.get_figwidth() / width))
    ncols = max(1, min(columns, fitting, len(labels)))
    lines = -(-len(labels) // ncols)
    fig.set_figheight(fig.get_figheight() + ENTRY_HEIGHT * max(lines - 1, 0))
    fig.legend(handles, labels, loc="outside lower center", ncols=ncols)


def svg_bytes(fig: Figure) -> bytes:
    """A figure as SVG that says in words what it shows; equal figures give equal bytes."""
    use_style()
    content = BytesIO()
    metadata: Any = {"Date": None, "Creator": None, "Description": describe(fig)}
    fig.savefig(content, format="svg", metadata=metadata)
    return content.getvalue()


def save_figure(fig: Figure, svg: str | Path, png: str | Path, dpi: int = 200) -> None:
    """Write a figure as SVG and PNG, and beside the SVG as PDF and its numbers as CSV.

    Equal figures give equal bytes (no dates, fixed ids).
    """
    write_atomically(svg, svg_bytes(fig))
    save_bitmap(fig, png, dpi)
    content = BytesIO()
    nobody: Any = {"CreationDate": None, "Creator": None, "Producer": None}
    fig.savefig(content, format="pdf", metadata=nobody)
    write_atomically(Path(svg).with_suffix(".pdf"), content.getvalue())
    write_atomically(Path(svg).with_suffix(".csv"), read_series(fig).to_csv(index=False).encode())


def save_bitmap(fig: Figure, png: str | Path, dpi: int = 200) -> None:
    """Write a figure as PNG only (thumbnails), without the program's version in it."""
    content = BytesIO()
    fig.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    write_atomically(png, content.getvalue())
