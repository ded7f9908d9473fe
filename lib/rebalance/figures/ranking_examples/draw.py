"""Thesis Figures 6.1, 7.1, 7.2, 8.1, M.1, M.2: ranking losses on small examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from rebalance.figures.ranking_examples.compute import (
    ALRP_ERRORS,
    ALRP_ORDER,
    LABELS,
    LOCALISERS,
    LOGITS,
    POSITIVES,
    SCORES,
    alrp_gradients,
    alrp_shares,
    ap_terms,
    error_table,
    gradient,
    loss_table,
    performance_table,
    rank_sort_terms,
    target_ranking,
)
from rebalance.figures.style import INK, PALETTE, SOFT, figure
from rebalance.figures.texttable import draw_table

POSITIVE, NEGATIVE = PALETTE[2], PALETTE[1]


def plot_localisers() -> Figure:
    """Three tables: anchors, their AP, and what losses say of them."""
    fig, axes = figure(columns=2, grid=(1, 2), aspect=0.92, width_ratios=[1, 1.25])
    fig.set_layout_engine("constrained", wspace=0.06)
    anchors: dict[str, list[object]] = {
        "anchor": [f"a{k + 1}" for k in range(len(SCORES))], "score": list(SCORES),
    }  # fmt: skip
    for name, ious in LOCALISERS.items():
        column = np.full(len(SCORES), np.nan)
        column[POSITIVES] = ious
        anchors[f"IoU {name}"] = list(column)
    frame = pd.DataFrame(anchors)
    shades = {
        (row, name): "#dff2ea" if row in POSITIVES else "#f1f3f6"
        for row in range(len(SCORES))
        for name in frame.columns
    }
    draw_table(axes[0], frame, shades=shades)
    axes[0].set_title("(a) one classifier, three localisers")
    right = axes[1]
    right.axis("off")
    upper = right.inset_axes((0, 0.56, 1, 0.36))
    lower = right.inset_axes((0, 0.0, 1, 0.36))
    performance = performance_table()
    best = {(0, name): "#dff2ea" for name in performance.columns[1:]}
    draw_table(upper, performance, widths=[1.3, 1, 1, 1, 1, 1], shades=best)
    right.set_title("(b) AP of the three")
    losses = loss_table()
    losses.columns = pd.Index(["output", "cross entropy", "AP loss", "IoU loss", "aLRP loss"])
    draw_table(lower, losses, widths=[1.3, 1.5, 1, 1, 1.2], shades={
        (row, "aLRP loss"): "#dff2ea" for row in range(len(losses))
    })  # fmt: skip
    lower.set_title("(c) losses: only aLRP tells them apart")
    return fig


def plot_alrp_gradients() -> Figure:
    """Causes of the positives' gradients, where they go, and the weights of the box errors."""
    shares = alrp_shares()
    by_score, by_error = alrp_gradients()
    positives = [place for place, name in enumerate(ALRP_ORDER) if name in ALRP_ERRORS]
    shades = [PALETTE[0], PALETTE[6], PALETTE[5]]
    fig, axes = figure(columns=2, grid=(1, 3), aspect=1.02)
    left, middle, right = axes
    _stack(left, positives, [shares.negatives], [NEGATIVE], ["negatives above"])
    _stack(left, positives, list(shares.localisation.T), shades,
           [f"{_E_LOC} of {name}" for name in ALRP_ERRORS], shares.negatives)  # fmt: skip
    worse, _ = alrp_gradients(errors=ALRP_ERRORS | {"p1": 0.9})
    left.bar(positives, -worse[positives], width=0.7, fill=False, edgecolor=INK, linewidth=0.9,
             linestyle=(0, (3, 2)), label=f"with {_E_LOC} of p1 at 0.9")  # fmt: skip
    left.plot(positives, -by_score[positives], **_AUTOGRAD)
    left.set(ylabel="− gradient by the score", title="(a) positives, pushed up")
    everyone = list(range(len(ALRP_ORDER)))
    _stack(middle, everyone, list(shares.sent), shades, [f"sent by {n}" for n in ALRP_ERRORS])
    negatives = [place for place in everyone if place not in positives]
    middle.plot(negatives, by_score[negatives], **_AUTOGRAD)
    middle.set(ylabel="gradient by the score", title="(b) negatives, pushed down")
    _stack(right, positives, list(shares.weights.T), shades,
           [f"in the loss of {name}" for name in ALRP_ERRORS])  # fmt: skip
    right.plot(positives, by_error, **_AUTOGRAD)
    right.set(ylabel="weight of its box error", title="(c) box errors")
    for ax in axes:
        ax.set_xticks(everyone, ALRP_ORDER)
        for label, name in zip(ax.get_xticklabels(), ALRP_ORDER, strict=True):
            label.set_color(POSITIVE if name in ALRP_ERRORS else NEGATIVE)
            label.set_fontweight("bold")
        ax.set(xlim=(-0.6, len(ALRP_ORDER) - 0.4), xlabel="example, by falling score")
        ax.grid(axis="x", visible=False)
        ax.set_ylim(top=1.5 * ax.get_ylim()[1])
        ax.legend(loc="upper right", fontsize=6.2, labelspacing=0.25, handlelength=1.2)
    errors = ", ".join(f"{name} {error}" for name, error in ALRP_ERRORS.items())
    fig.supxlabel(
        f"bars: the formulas; black dots: autograd of the library's loss; {_E_LOC}: {errors}",
        fontsize=7, color=SOFT,
    )  # fmt: skip
    return fig


_E_LOC = r"$E_\mathrm{loc}$"
_AUTOGRAD: dict[str, Any] = {
    "marker": "o", "color": INK, "linestyle": "none", "markersize": 3.5, "zorder": 4,
}  # fmt: skip


def _stack(
    ax: Axes,
    places: Sequence[int],
    parts: Sequence[NDArray[np.float64]],
    colours: Sequence[str],
    labels: Sequence[str],
    bottom: NDArray[np.float64] | None = None,
) -> None:
    """Bars on each other; a part that is nowhere above 0 is left out, with its label."""
    total = np.zeros(len(places)) if bottom is None else bottom.copy()
    for part, colour, label in zip(parts, colours, labels, strict=True):
        if (part > 0).any():
            ax.bar(places, part, bottom=total, width=0.7, color=colour, label=label,
                   edgecolor="white", linewidth=0.5)  # fmt: skip
        total += part


def plot_rank_sort() -> Figure:
    """Errors and losses of each positive, as a table."""
    fig, ax = figure(columns=2, aspect=0.24)
    table = error_table()
    table.insert(0, "example", [str(i) for i in table.pop("i")])
    table.columns = pd.Index([
        "example", "logit", "label", "ranking", "sorting", "target r.", "target s.", "r. loss",
        "s. loss", "total",
    ])  # fmt: skip
    shades = {
        (row, name): "#dff2ea"
        for row in range(len(table))
        for name in ("r. loss", "s. loss", "total")
        if table[name].iloc[row] > 1e-9
    }
    draw_table(ax, table, shades=shades)
    fig.supxlabel(
        f"negatives: examples 2, 3, 5, 7; mean of the last column: {table['total'].mean():.4f}",
        fontsize=7, color=SOFT,
    )  # fmt: skip
    return fig


def plot_primary_terms() -> Figure:
    """Who owes what to whom, and the gradients that follow, for Rank & Sort."""
    terms = {i: term.primary for i, term in rank_sort_terms().items()}
    return _plot_terms(terms, "Rank & Sort loss")


def plot_update() -> Figure:
    """The three steps of the AP loss: differences, primary terms, gradients."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=0.9, width_ratios=[1, 1, 1.15])
    positives = [i for i in range(len(LABELS)) if LABELS[i] > 0]
    differences = LOGITS[None, :] - LOGITS[positives][:, None]
    _matrix(axes[0], differences, positives, "RdBu", 7, ".0f")
    axes[0].set_title("(1) x_ij = s_j − s_i")
    terms = ap_terms()
    _matrix(axes[1], np.stack(list(terms.values())), list(terms), "Oranges", 0.4, ".2f")
    axes[1].set_title("(2) primary terms L_ij")
    axes[1].set_ylabel("")
    _bars(axes[2], gradient(terms))
    axes[2].set_title("(3) gradient by the logits")
    return fig


def _plot_terms(terms: dict[int, NDArray[np.float64]], name: str) -> Figure:
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.62)
    _matrix(left, np.stack(list(terms.values())), list(terms), "Oranges", 0.4, ".3f")
    left.set_title(f"(a) primary terms L_ij of the {name}", fontsize=8)
    _bars(right, gradient(terms))
    right.set_title("(b) gradient by the logits")
    return fig


def _matrix(
    ax: Axes,
    values: NDArray[np.float64],
    rows: list[int],
    cmap: str,
    largest: float,
    form: str,
) -> None:
    low = -largest if values.min() < 0 else 0
    ax.imshow(values, cmap=cmap, vmin=low, vmax=1.6 * largest, aspect="auto")
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value:
                dark = low < 0 and value < 0.5 * low
                ax.text(x, y, f"{value:{form}}".replace("-", "−"), ha="center", va="center",
                        fontsize=6, color="white" if dark else INK)  # fmt: skip
    ax.set_xticks(range(len(LABELS)))
    ax.set_yticks(range(len(rows)), [str(i) for i in rows])
    ax.set(xlabel="example j, by falling score", ylabel="positive i")
    ax.grid(visible=False)


def _bars(ax: Axes, values: NDArray[np.float64]) -> None:
    colours = [POSITIVE if label > 0 else NEGATIVE for label in LABELS]
    ax.bar(range(len(values)), values, color=colours)
    ax.axhline(0, color=INK, linewidth=0.7)
    for index, value in enumerate(values):
        if abs(value) > 1e-9:
            ax.annotate(f"{value:.3f}".replace("-", "−"), (index, value), ha="center",
                        xytext=(0, 1.5 if value > 0 else -1.5), textcoords="offset points",
                        fontsize=5.5, va="bottom" if value > 0 else "top")  # fmt: skip
    ax.margins(y=0.14)
    ax.set_xticks(range(len(values)))
    ax.set(xlabel="example (green: positive)", ylabel="gradient")


def plot_target_ranking() -> Figure:
    """Logits and labels, and the target of a plain ranking loss and of Rank & Sort."""
    fig, axes = figure(columns=2, grid=(1, 2), aspect=0.34)
    for ax, sort, title in (
        (axes[0], False, "(a) ranking: positives first"),
        (axes[1], True, "(b) Rank & Sort: by label"),
    ):
        ax.axis("off")
        groups = target_ranking(sort)
        _cells(ax, 1, [[i] for i in range(len(LABELS))])
        _cells(ax, 0, groups)
        ax.text(-0.4, 1.5, "now", ha="right", va="center", fontsize=7)
        ax.text(-0.4, 0.35, "target", ha="right", va="center", fontsize=7)
        ax.set(xlim=(-1.6, 8.2), ylim=(-0.5, 2.2))
        ax.set_title(title)
    fig.supxlabel("numbers: example and its label; within a frame the order is free", fontsize=7,
                  color=SOFT)  # fmt: skip
    return fig


def _cells(ax: Axes, row: int, groups: list[list[int]]) -> None:
    """Examples as boxes; those of a group share a frame."""
    x = 0.0
    for group in groups:
        ax.add_patch(_frame(x + 0.02, 1.15 * row - 0.08, len(group) - 0.04, 0.86))
        for i in group:
            positive = LABELS[i] > 0
            colour = POSITIVE if positive else NEGATIVE
            share = 0.25 + 0.7 * LABELS[i] if positive else 0.35
            ax.add_patch(_frame(x + 0.08, 1.15 * row, 0.84, 0.7, colour, share))
            ax.text(x + 0.5, 1.15 * row + 0.47, str(i), ha="center", va="center", fontsize=8,
                    fontweight="bold")  # fmt: skip
            ax.text(x + 0.5, 1.15 * row + 0.17, f"{LABELS[i]:.1f}", ha="center", va="center",
                    fontsize=5.5)  # fmt: skip
            x += 1


def _frame(
    x: float, y: float, width: float, height: float, colour: str | None = None, alpha: float = 1.0
) -> Rectangle:
    if colour is None:
        return Rectangle((x, y), width, height, fill=False, edgecolor=SOFT, linewidth=0.7)
    return Rectangle((x, y), width, height, facecolor=colour, alpha=alpha, linewidth=0)
