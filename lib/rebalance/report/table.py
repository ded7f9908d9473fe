"""A table of a work: numbers measured here, over seeds, beside the numbers that the work reports.

Units: files and frames hold AP, oLRP and their like in [0, 1]; what a work prints in percent (and
``reported`` therefore holds in percent) is divided by 100 on reading and multiplied on showing.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from rebalance.errors import InputError
from rebalance.jsonfile import read_json
from rebalance.rows import row_names

if TYPE_CHECKING:
    from pandas.io.formats.style_render import CSSDict

UNDEFINED = "–"
ARROWS = {"higher": "↑", "lower": "↓", None: ""}
#: Columns of the tidy frame beside the settings of its rows.
COLUMNS = (
    ["run", "variant", "metric", "better", "seeds", "measured", "std", "reported", "difference"]
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        name: key in metrics.json, and in the ``reported`` numbers of a row.
        percent: printed, and so reported, in percent.
        better: "higher", "lower", or None where neither is better.
        measured: False for what the work reports and no file of a run has (memory, ...).
        reads: kind of the file that has it, "metrics" or "positives".
    """

    name: str
    percent: bool
    better: str | None
    measured: bool = True
    reads: str = "metrics"


def read_metric(entry: Mapping[str, Any]) -> Metric:
    """A Metric from its description {name, percent, better[, measured][, reads]}.

    Raises:
        InputError: a key is missing or unknown, or ``better`` is none of higher, lower, null.
    """
    try:
        metric = Metric(**entry)
    except TypeError:
        raise InputError(
            "a metric has the keys name, percent, better and perhaps measured and reads, "
            f"got {dict(entry)}"
        ) from None
    if metric.better not in ARROWS:
        raise InputError(
            f"metric {metric.name!r}: better must be 'higher', 'lower' or null, "
            f"got {metric.better!r}"
        )
    return metric


def read_metrics(path: Path, names: Sequence[str]) -> dict[str, float]:
    """The named numbers of one metrics.json or the like; null (undefined) becomes nan.

    Raises:
        InputError: no such file, not JSON, or a metric is absent or not a number.
    """
    content = read_json(path, "file of metrics")
    values = {}
    for name in names:
        if name not in content:
            raise InputError(f"{path}: no metric {name!r}, it has {sorted(content)}")
        value = content[name]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(f"{path}: {name} must be a number or null, got {value!r}")
        values[name] = float("nan") if value is None else float(value)
    return values


def assemble(
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Sequence[str]]],
) -> pd.DataFrame:
    """The tidy table: one line per row of the work's table and metric, at full precision.

    Args:
        rows: each {setting: {column: value}, run: name or None, variant, reported:
            {metric: value as printed, or None}, missing: why it is not measured, or None}.
        metrics: each {name, percent, better[, measured][, reads]}; see Metric.
        files: for each row, kind of file -> the file of each seed; none where ``missing``. Kinds
            are those that metrics read, and others to be linked ("log").

    Returns:
        A frame with the columns "row" (0, 1, ...), the settings, those of COLUMNS, and "missing".
        measured is the mean over seeds, undefined (nan) as soon as one seed is; std the sample
        standard deviation, nan for fewer than two seeds; difference = measured - reported.

    Raises:
        InputError: a row is incomplete, rows differ in their settings, a row is both measured and
            missing or neither, or a file lacks a metric.
    """
    columns = [read_metric(entry) for entry in metrics]
    if len(files) != len(rows):
        raise InputError(f"files has {len(files)} entries for {len(rows)} rows")
    kinds = {metric.reads for metric in columns if metric.measured}
    lines = []
    for index, (row, of_row) in enumerate(zip(rows, files, strict=True)):
        _check_row(index, row, rows[0], [metric.name for metric in columns])
        _check_files(index, row, of_row, kinds)
        seeds = {
            kind: [
                read_metrics(
                    Path(file), [m.name for m in columns if m.measured and m.reads == kind]
                )
                for file in of_row[kind]
            ]
            for kind in kinds
        }
        for metric in columns:
            values = np.array(
                [seed[metric.name] for seed in seeds[metric.reads]] if metric.measured else []
            )
            measured = float(values.mean()) if len(values) else float("nan")
            reported = as_fraction(row["reported"].get(metric.name), metric.percent)
            numbers = {
                "seeds": len(values),
                "measured": measured,
                "std": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                "reported": reported,
                "difference": measured - reported,
            }
            source = {"run": row["run"], "variant": row["variant"]}
            kind = {"metric": metric.name, "better": metric.better}
            missing = {"missing": row["missing"]}
            lines.append({"row": index} | dict(row["setting"]) | source | kind | numbers | missing)
    return pd.DataFrame(lines)


def _where(index: int, row: Mapping[str, Any]) -> str:
    return f"row {index} ({', '.join(str(value) for value in row['setting'].values())})"


def _check_row(
    index: int, row: Mapping[str, Any], first: Mapping[str, Any], metrics: list[str]
) -> None:
    """Raise InputError unless a row has its keys and the settings of the first."""
    allowed = {"setting", "run", "variant", "reported", "missing"}
    if set(row) != allowed:
        raise InputError(f"row {index} must have the keys {sorted(allowed)}, got {sorted(row)}")
    settings = list(row["setting"])
    where = _where(index, row)
    if settings != list(first["setting"]):
        raise InputError(f"{where} has the settings {settings}, row 0 has {list(first['setting'])}")
    taken = [name for name in settings if name in {"row", "missing", *COLUMNS}]
    if taken or not settings:
        raise InputError(f"{where}: settings need at least one name, other than {taken}")
    unknown = sorted(set(row["reported"]) - set(metrics))
    if unknown:
        raise InputError(f"{where} reports {unknown}, the table has the metrics {metrics}")


def _check_files(
    index: int, row: Mapping[str, Any], files: Mapping[str, Sequence[str]], kinds: set[str]
) -> None:
    """Raise InputError unless a row has as many files of each kind, or is missing."""
    where = _where(index, row)
    if not kinds <= set(files):
        raise InputError(f"{where} has files of {sorted(files)}, metrics read {sorted(kinds)}")
    counts = {kind: len(of_kind) for kind, of_kind in files.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"{where} must have one file of each kind per seed, got {counts}")
    if (row["missing"] is None) == (not any(counts.values())):
        raise InputError(
            f"{where} must have files or a reason why it is missing, and not both; "
            f"got {counts} and missing = {row['missing']!r}"
        )


def as_fraction(printed: float | None, percent: bool) -> float:
    """A printed number as files hold it: percent / 100, exactly in decimals; None is nan."""
    if printed is None:
        return float("nan")
    return float(Decimal(repr(printed)) / 100) if percent else float(printed)


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


def sources_html(
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
    for name, row, of_row in zip(row_names(rows), rows, files, strict=True):
        if row["missing"] is None:
            variant = f" / {escape(row['variant'])}" if row["variant"] else ""
            links = "; ".join(
                f"seed {seed}: "
                + ", ".join(_link(*link, table) for link in zip(of_row, paths, strict=True))
                for seed, *paths in zip(seeds, *of_row.values(), strict=True)
            )
            source = f"<code>{escape(row['run'])}{variant}</code> ({links})"
        else:
            source = f"not measured: {escape(row['missing'])}"
        lines.append(f"<li><strong>{escape(name)}</strong>: {source}</li>")
    return (
        f'<h2>Where the numbers come from</h2><ul class="fine">{"".join(lines)}</ul>'
        f'<p class="fine">All digits: {_link(table.name, table, table)}</p>'
    )


def _link(text: str, path: str | Path, table: Path) -> str:
    """A link to a file from a page in the folder of the table."""
    return f'<a href="{quote(os.path.relpath(path, table.parent))}">{escape(text)}</a>'


def save_table(tidy: pd.DataFrame, path: str | Path) -> None:
    """Write the tidy table as CSV at full precision; undefined numbers are empty cells."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tidy.to_csv(path, index=False)
