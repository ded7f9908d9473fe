"""A table of a work: numbers measured here, over seeds, beside the numbers that the work reports.

Units: files and frames hold AP, oLRP and their like in [0, 1]; what a work prints in percent (and
``reported`` therefore holds in percent) is divided by 100 on reading and multiplied on showing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.figures.checks import POINTS, Check, printed_number
from rebalance.figures.comparison.epochs import at_best_epoch
from rebalance.metrics.output import read_metrics
from rebalance.words import spelled

COLUMNS = [
    "run", "variant", "metric", "better", "seeds", "measured", "std", "at_best_epoch",
    "best_epoch", "reported",
]  # fmt: skip
"""Columns of the tidy frame beside the settings of its rows."""


BETTER = ("higher", "lower", None)
OF_A_COUNT = 0.05
"""Part of a printed mean number of positives by which a measured one may differ."""
ROUNDING = 1e-9
"""Of differences of printed decimals."""


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        name: key in metrics.json, and in the ``reported`` numbers of a row.
        percent: printed, and so reported, in percent.
        better: "higher", "lower", or None where neither is better.
        measured: False for what the work reports and no file of a run has (memory, ...).
        reads: kind of the file that has it, "metrics", "positives", "settings" or "speed".
        key: what that file calls it, with points between levels; None: by its name.
        at: the setting of a row that says at which IoU this is its AP; None: none does.
    """

    name: str
    percent: bool
    better: str | None
    measured: bool = True
    reads: str = "metrics"
    key: str | None = None
    at: str | None = None

    def found_as(self, row: Mapping[str, Any]) -> str:
        """What the file calls a row's number."""
        if self.at is not None:
            return f"AP{100 * row['setting'][self.at]:.0f}"
        return self.key or self.name


def read_metric(entry: Mapping[str, Any]) -> Metric:
    """A Metric from its description {name, percent, better[, measured][, reads][, key][, at]}.

    Raises:
        InputError: a key is missing or unknown, or ``better`` is none of higher, lower, null.
    """
    try:
        metric = Metric(**entry)
    except TypeError:
        raise InputError(
            "a metric has the keys name, percent, better and perhaps measured, reads, key and "
            f"at, got {dict(entry)}"
        ) from None
    if metric.better not in BETTER:
        raise InputError(
            f"metric {metric.name!r}: better must be 'higher', 'lower' or null, "
            f"got {metric.better!r}"
        )
    return metric


def assemble(
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Sequence[str]]],
) -> pd.DataFrame:
    """The tidy table: one line per row of the work's table and metric, at full precision.

    Args:
        rows: each {setting: {column: value}, run: name or None, variant, reported:
            {metric: value as printed, or None}, missing: why it is not measured, or None,
            measures (optional): metrics that its files have, or None: all, of (optional): the class
            or group of classes that it is about, or None: all, note (optional): what is said below
            its name}.
        metrics: each {name, percent, better[, measured][, reads][, key][, at]}; see Metric.
        files: for each row, kind of file -> the file of each seed; none where ``missing``. Kinds
            are those that metrics read, "epochs" where the best one is searched for, and others to
            be linked ("log").

    Returns:
        A frame with the columns "row" (0, 1, ...), the settings, those of COLUMNS, and "missing".
        measured is the mean over seeds, undefined (nan) as soon as one seed is; std the sample
        standard deviation, nan for fewer than two seeds. Both are of the end of the training;
        at_best_epoch is the mean over the best epochs of the seeds, best_epoch says which.

    Raises:
        InputError: a row is incomplete, rows differ in their settings, a row is both measured and
            missing or neither, or a file lacks a metric.
    """
    columns = [read_metric(entry) for entry in metrics]
    if len(files) != len(rows):
        raise InputError(f"files has {len(files)} entries for {len(rows)} rows")
    kinds = {metric.reads for metric in columns if metric.measured}
    lines = []
    for index, (row, row_files) in enumerate(zip(rows, files, strict=True)):
        _check_row(index, row, rows[0], [metric.name for metric in columns])
        _check_files(index, row, row_files, kinds)
        measured = [metric for metric in columns if _is_measured(metric, row)]
        seeds = {
            kind: [
                read_metrics(
                    Path(file),
                    [m.found_as(row) for m in measured if m.reads == kind],
                    row.get("of"),
                )
                for file in row_files[kind]
            ]
            for kind in kinds
        }
        for metric in columns:
            values = np.array(
                [seed[metric.found_as(row)] for seed in seeds[metric.reads]]
                if metric in measured
                else []
            )
            mean = float(values.mean()) if len(values) else float("nan")
            reported = as_fraction(row["reported"].get(metric.name), metric.percent)
            evaluated = metric in measured and metric.reads == "metrics"
            at_best, epochs = at_best_epoch(
                row_files.get("epochs", ()) if evaluated else (),
                metric.found_as(row),
                metric.better,
            )
            numbers = {
                "seeds": len(values),
                "measured": mean,
                "std": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                "at_best_epoch": at_best,
                "best_epoch": ", ".join(map(str, epochs)),
                "reported": reported,
            }
            shown = {"run": row["run"], "variant": row["variant"]}
            kind = {"metric": metric.name, "better": metric.better}
            missing = {"missing": row["missing"]}
            lines.append({"row": index} | dict(row["setting"]) | shown | kind | numbers | missing)
    return pd.DataFrame(lines)


def compared(tidy: pd.DataFrame) -> pd.Series:
    """What stands against printed numbers: measured at the best epoch where that was searched for.

    Indexed by row and metric.
    """
    numbers = tidy.set_index(["row", "metric"])
    return numbers["at_best_epoch"].fillna(numbers["measured"])


def _is_measured(metric: Metric, row: Mapping[str, Any]) -> bool:
    measures = row.get("measures")
    return metric.measured and (measures is None or metric.name in measures)


def _where(index: int, row: Mapping[str, Any]) -> str:
    return f"row {index} ({', '.join(str(value) for value in row['setting'].values())})"


def _check_row(
    index: int, row: Mapping[str, Any], first: Mapping[str, Any], metrics: list[str]
) -> None:
    """Raise InputError unless a row has its keys and the settings of the first."""
    allowed = {"setting", "run", "variant", "reported", "missing"}
    if set(row) - {"measures", "of", "note"} != allowed:
        raise InputError(f"row {index} must have the keys {sorted(allowed)}, got {sorted(row)}")
    settings = list(row["setting"])
    where = _where(index, row)
    if settings != list(first["setting"]):
        raise InputError(f"{where} has the settings {settings}, row 0 has {list(first['setting'])}")
    taken = [name for name in settings if name in {"row", "missing", *COLUMNS}]
    if taken or not settings:
        raise InputError(f"{where}: settings need at least one name, other than {taken}")
    for verb, names in (("reports", row["reported"]), ("measures", row.get("measures") or ())):
        if unknown := sorted(set(names) - set(metrics)):
            raise InputError(f"{where} {verb} {unknown}, the table has the metrics {metrics}")


def _check_files(
    index: int, row: Mapping[str, Any], files: Mapping[str, Sequence[str]], kinds: set[str]
) -> None:
    """Raise InputError unless a row has as many files of each kind, or is missing."""
    where = _where(index, row)
    if not kinds <= set(files):
        raise InputError(f"{where} has files of {sorted(files)}, metrics read {sorted(kinds)}")
    counts = {kind: len(paths) for kind, paths in files.items()}
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


def cell_checks(
    tidy: pd.DataFrame,
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
) -> list[Check]:
    """Every printed cell beside what was measured, as printed (in percent where the metric is).

    A measured accuracy may differ by POINTS, the mean number of positives by OF_A_COUNT of it; what
    depends on the machine agrees with nothing.

    Args:
        tidy: what ``assemble`` returned for the same rows and metrics.
        names: what the rows are called.
        rows: see ``assemble``.
        metrics: see ``assemble``.
    """
    measured = compared(tidy)
    found = []
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        for metric in map(read_metric, metrics):
            printed = row["reported"].get(metric.name)
            if printed is None:
                continue
            unit = 100 if metric.percent else 1
            tolerance = POINTS / 100 * unit if metric.reads == "metrics" else OF_A_COUNT * printed
            ours = float(measured[index, metric.name]) * unit
            check = printed_number(f"{name}: {metric.name}", ours, printed, tolerance=tolerance)
            found.append(check if metric.reads != "speed" else check._replace(holds=None))
    return found


def claim_checks(
    tidy: pd.DataFrame,
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]],
) -> list[Check]:
    """What the work concludes from its table, on what was measured and on its own numbers.

    Args:
        tidy: what ``assemble`` returned for the same rows and metrics.
        rows: see ``assemble``.
        metrics: see ``assemble``.
        claims: each {says, gains: [{rows: [[row, of row], ...], metrics, at_least, at_most,
            times}]}; without bounds a gain must be positive. Gains are in the unit printed.

    Returns:
        One check a claim: measured are its gains here, printed those of the work's numbers and
        whether these bear it out. It is not measured if one of its cells is not.
    """
    columns = {metric.name: metric for metric in map(read_metric, metrics)}
    ours, theirs = compared(tidy), tidy.set_index(["row", "metric"])["reported"]
    found = []
    for claim in claims:
        holds, measured = _decide(claim, ours, columns)
        borne_out, printed = _decide(claim, theirs, columns)
        answer = {None: "not printed", True: "holds", False: "does not hold"}[borne_out]
        found.append(Check(claim["says"], f"{answer}: {printed}", measured, None, holds))
    return found


def _decide(
    claim: Mapping[str, Any], values: pd.Series, columns: Mapping[str, Metric]
) -> tuple[bool | None, str]:
    """Whether the gains of a claim are as bounded, None if one is not known; and all of them."""
    holds: list[bool | None] = []
    shown = []
    for gain in claim["gains"]:
        for name in gain["metrics"]:
            found = [
                _gain(values, columns[name], pair, bool(gain.get("times"))) for pair in gain["rows"]
            ]
            holds += [None if np.isnan(value) else _within(gain, value) for value in found]
            values_shown = ", ".join(_show_gain(gain, value) for value in found)
            shown.append(f"{spelled(name)} {values_shown}")
    return None if None in holds else all(holds), "; ".join(shown)


def _gain(values: pd.Series, metric: Metric, pair: Sequence[int], times: bool) -> float:
    """How much better the first row is, as printed: their ratio, or their difference."""
    first, second = (float(values[row, metric.name]) for row in pair)
    if times:
        return first / second if second else float("nan")
    sign = -1 if metric.better == "lower" else 1
    return sign * (first - second) * (100 if metric.percent else 1)


def _within(gain: Mapping[str, Any], value: float) -> bool:
    """Whether a gain rounds into its bounds, or is positive without any."""
    low, high = gain.get("at_least"), gain.get("at_most")
    if low is None and high is None:
        return value > ROUNDING
    slack = 0.5 * 10 ** -max(_digits(bound) for bound in (low, high) if bound is not None)
    return (low is None or value >= low - slack - ROUNDING) and (
        high is None or value <= high + slack + ROUNDING
    )


def _digits(bound: float) -> int:
    """After the point of a printed bound: 0.3 and 4 are printed with one, 0.011 with three."""
    return max(1, -int(Decimal(repr(float(bound))).normalize().as_tuple().exponent))


def _show_gain(gain: Mapping[str, Any], value: float) -> str:
    if np.isnan(value):
        return "–"
    if gain.get("times"):
        return f"{value:.2f} times"
    return f"{round(value, 6) + 0.0:+.3g}".replace("-", "−")  # + 0.0: no negative zero


def save_table(tidy: pd.DataFrame, path: str | Path) -> None:
    """Write the tidy table as CSV at full precision; undefined numbers are empty cells."""
    write_atomically(path, tidy.to_csv(index=False).encode())
