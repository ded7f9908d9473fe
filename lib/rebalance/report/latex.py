"""Tables as LaTeX (booktabs), to be read into a paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rebalance.data.files import write_atomically
from rebalance.figures.comparison.compute import read_metric
from rebalance.report.numbers import UNDEFINED, show_number
from rebalance.report.table import decimals

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "–": "--", "±": r"$\pm$", "×": r"$\times$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≥": r"$\geq$", "≤": r"$\leq$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip
"""Characters that LaTeX reads otherwise, or whose fonts lack them."""

GAINS = ("gain", "low", "high")


def save_latex(frame: pd.DataFrame, path: str | Path, caption: str) -> None:
    """Write a frame of text and numbers as a table; numbers to the right, text to the left."""
    numeric = [pd.api.types.is_numeric_dtype(frame[name]) for name in frame.columns]
    sides = "".join("r" if right else "l" for right in numeric)
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{escape_latex(caption)}}}",
        f"\\begin{{tabular}}{{{sides}}}",
        "\\toprule",
        _line(str(name).replace("_", " ") for name in frame.columns),
        "\\midrule",
        *(_line(_cell(value) for value in row) for row in frame.itertuples(index=False)),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def measured_frame(
    tidy: pd.DataFrame, rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """What a reader of a paper wants of a table: settings, ours with its gain, the printed number.

    Args:
        tidy: what ``with_gains`` returned for the same rows and metrics.
        rows: see ``assemble``.
        metrics: see ``assemble``.
    """
    columns: dict[str, list[Any]] = {
        name: [row["setting"][name] for row in rows] for name in rows[0]["setting"]
    }
    for metric in map(read_metric, metrics):
        lines = [line for _, line in tidy[tidy["metric"] == metric.name].iterrows()]
        places = decimals(rows, metric)

        values = {
            key: [show_number(line[key], places, metric.percent, key in GAINS) for line in lines]
            for key in ("measured", "reported", *GAINS)
        }
        if metric.measured:
            columns[f"{metric.name} ours"] = values["measured"]
            if any(not np.isnan(line["gain"]) for line in lines):
                columns[f"{metric.name} gain"] = [
                    gain if low == UNDEFINED else f"{gain} [{low}, {high}]"
                    for gain, low, high in zip(*(values[key] for key in GAINS), strict=True)
                ]
        columns[f"{metric.name} printed"] = values["reported"]
    return pd.DataFrame(columns)


def escape_latex(text: str) -> str:
    """Text as LaTeX sets it."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _line(cells: Any) -> str:
    return " & ".join(escape_latex(cell) for cell in cells) + r" \\"


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
