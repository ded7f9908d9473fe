"""Tables and figures as types: each knows its inputs, notebook, parameters and outputs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from rebalance.config.entries import (
    Entry,
    Metric,
    NotMade,
    OfNotebook,
    OfNotebookFigure,
    OfRunsFigure,
    OfRunsTable,
    QuotedRow,
    Row,
    RunRow,
    WaitingRow,
)
from rebalance.config.rows import row_names

Sort = Literal["table", "figure"]
Files = Literal["metrics", "matches", "log", "positives", "settings"]


@dataclass(frozen=True)
class Results:
    """Where a scale's results are, and what they are called.

    Attributes:
        scale: its name.
        description: its title.
        seeds: of every run.
        datasets: data set in a run -> data set used.
        data: folder of the data sets.
        seeds_of: other seeds, by the name of a target.
        departures: of every run: where it differs from its work.
    """

    scale: str
    description: str
    seeds: tuple[int, ...]
    datasets: Mapping[str, str]
    data: str = "data"
    seeds_of: Mapping[str, Sequence[int]] = field(default_factory=dict)
    departures: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Of everything made at this scale."""
        return Path("results") / self.scale

    def seed_folders(self, run: str, target: str | None = None) -> list[Path]:
        """Of a run's trainings, one per seed; those that a target shows, if its name is given."""
        return [self.folder / "runs" / run / f"seed{seed}" for seed in self.seeds_for(target)]

    def seeds_for(self, target: str | None) -> Sequence[int]:
        """Seeds of the runs that a target shows."""
        return self.seeds if target is None else self.seeds_of.get(target, self.seeds)

    def annotations(self, dataset: str) -> dict[str, str]:
        """Annotation files of a data set, by split."""
        folder = f"{self.data}/{self.datasets[dataset]}/annotations"
        return {split: f"{folder}/{split}.json" for split in ("train", "val")}


@dataclass(frozen=True)
class Label:
    """What a target is called.

    Attributes:
        work: key of the work.
        paper: title of the work.
        sort: "table" or "figure".
        number: as in the work, with _ for a point: 3_14.
    """

    work: str
    paper: str
    sort: Sort
    number: str


@dataclass(frozen=True)
class Target(ABC):
    """A table or figure: what ``snakemake <name>`` makes."""

    label: Label
    entry: Entry = field(repr=False)

    suffix: ClassVar[str] = ""
    """Behind the id of the entry that brings it."""
    remark: ClassVar[str] = ""
    """Behind its number in the title."""
    shows_table: ClassVar[bool] = False
    """Whether it writes a table (``table.csv``) or a figure (``figure.svg``)."""
    made: ClassVar[bool] = True
    """Whether the suite makes it."""

    @property
    def id(self) -> str:
        """``table_2``, ``figure_4``, ``table_2_curves``: its folder."""
        return f"{self.label.sort}_{self.label.number}{self.suffix}"

    @property
    def name(self) -> str:
        """``focal_eiou_table_2``: what is typed."""
        return f"{self.label.work}_{self.id}"

    @property
    def title(self) -> str:
        """``Table 2: Overall ablation ...``."""
        number = self.label.number.replace("_", ".").upper()
        return f"{self.label.sort.capitalize()} {number}{self.remark}: {self.entry.title}"

    @property
    def rows(self) -> list[Row]:
        """Of its entry."""
        return self.entry.row_entries()

    @property
    def runs(self) -> list[RunRow]:
        """Rows that show trained runs."""
        return [row for row in self.rows if isinstance(row, RunRow)]

    @property
    @abstractmethod
    def notebook(self) -> str:
        """Name of the notebook that makes it."""

    def asks(self) -> Iterator[tuple[RunRow, list[Metric]]]:
        """Rows with the numbers of metrics.json that it shows of each."""
        return iter(())

    @property
    def dataset(self) -> str | None:
        """The data set whose annotations its notebook reads, by its name in runs."""
        return getattr(self.entry, "dataset", None)

    def inputs(self, results: Results) -> list[str]:
        """Files that its notebook reads, each once."""
        return [] if self.dataset is None else list(results.annotations(self.dataset).values())

    @abstractmethod
    def parameters(self, results: Results) -> dict[str, Any]:
        """Of its notebook: what the works say, files to read, files to write."""

    def outputs(self, results: Results) -> dict[str, str]:
        """Files that are made, by role."""
        folder = results.folder / self.label.work / self.id
        shown = {"figure": "figure.svg", "thumbnail": "figure.png", "pdf": "figure.pdf"}
        shown["data"] = "figure.csv"
        if self.shows_table:
            shown = {"table": "table.csv", "thumbnail": "table.png", "latex": "table.tex"}
        pages = {"html": "notebook.html", "notebook": "notebook.ipynb", "checks": "checks.json"}
        files = {**pages, **shown}
        return {role: str(folder / name) for role, name in files.items()}

    def seeds(self, results: Results) -> list[int]:
        """Of its runs."""
        return list(results.seeds_for(self._entry_name))

    def departures(self, results: Results) -> list[str]:
        """Where it and its runs differ from the work, each sentence once."""
        of_runs = (sentence for row in self.runs for sentence in results.departures[row.run])
        return _once([*getattr(self.entry, "departures", []), *of_runs])

    @property
    def _entry_name(self) -> str:
        """Name of its entry, which may bring several targets."""
        return f"{self.label.work}_{self.label.sort}_{self.label.number}"

    def _run_files(self, results: Results, row: Row, kind: str) -> list[str]:
        """Files that a row's run left, one per seed; none for a row without a run."""
        if not isinstance(row, RunRow):
            return []
        name = {
            "metrics": f"{row.variant}/metrics.json",
            "matches": f"{row.variant}/matches.npz",
            "log": "log.csv",
            "positives": "positives.json",
            "settings": "run.yaml",
        }[kind]
        return [str(folder / name) for folder in results.seed_folders(row.run, self._entry_name)]

    def _written(self, results: Results) -> dict[str, str]:
        """Parameters that say where the notebook writes what it shows."""
        files = self.outputs(results)
        checks = {"checks": files["checks"]}
        if self.shows_table:
            return {"table": files["table"], "thumbnail": files["thumbnail"], **checks}
        return {"figure": files["figure"], "bitmap": files["thumbnail"], **checks}

    def _heading(self, results: Results) -> dict[str, Any]:
        return {
            "title": self.title,
            "paper": self.label.paper,
            "scale": results.scale,
            "description": results.description,
        }

    def _said(self, results: Results) -> dict[str, Any]:
        """Parameters of a notebook that is not shared by all targets of its type."""
        entry = self.entry
        assert isinstance(entry, OfNotebook | OfRunsFigure)
        parameters = {
            "title": self.title,
            "numbers": entry.numbers,
            "rows": [row.model_dump(exclude_unset=True) for row in self.rows],
            "doubts": entry.doubts,
            **entry.parameters,
        }
        if entry.dataset is not None:
            parameters["annotations"] = results.annotations(entry.dataset)
            parameters["dataset"] = results.datasets[entry.dataset]
            parameters["described"] = entry.dataset
        return parameters

    def _files_by_row(self, results: Results, kind: Files) -> dict[str, list[str]]:
        """Files of each run by what its row is called."""
        names = row_names([{"setting": row.setting} for row in self.rows])
        return {
            name: self._run_files(results, row, kind)
            for name, row in zip(names, self.rows, strict=True)
            if isinstance(row, RunRow)
        }


class NotMadeTarget(Target):
    """A table or figure that the suite does not make; its entry says why."""

    made = False
    entry: NotMade

    @property
    def notebook(self) -> str:
        """There is none."""
        raise LookupError(f"{self.name} is not made: {self.entry.waits}")

    def parameters(self, results: Results) -> dict[str, Any]:
        """There are none."""
        raise LookupError(f"{self.name} is not made: {self.entry.waits}")


class Table(Target):
    """Of trained runs: measured beside reported numbers. All share one notebook."""

    shows_table = True
    entry: OfRunsTable

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return "table"

    @property
    def kinds(self) -> list[str]:
        """Kinds of files that its numbers and their intervals are in."""
        return sorted({"metrics", "matches", *(metric.reads for metric in self.entry.metrics)})

    def asks(self) -> Iterator[tuple[RunRow, list[Metric]]]:
        """See ``Target``."""
        metrics = [metric for metric in self.entry.metrics if metric.reads == "metrics"]
        return ((row, metrics) for row in self.runs)

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        return _once(
            file
            for row in self.rows
            for kind in self.kinds
            for file in self._run_files(results, row, kind)
        )

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        return {
            **self._heading(results),
            "doubts": self.entry.doubts,
            "departures": self.departures(results),
            "claims": [claim.model_dump(exclude_unset=True) for claim in self.entry.claims],
            "metrics": [metric.model_dump(exclude_unset=True) for metric in self.entry.metrics],
            "rows": [
                {
                    "setting": row.setting,
                    "run": getattr(row, "run", None),
                    "variant": getattr(row, "variant", "default"),
                    "reported": row.reported,
                    "missing": _why_not_measured(row),
                    "measures": getattr(row, "measures", None),
                }
                for row in self.rows
            ],
            "files": [
                {kind: self._run_files(results, row, kind) for kind in ("log", *self.kinds)}
                for row in self.rows
            ],
            "baselines": self.entry.baselines,
            "seeds": self.seeds(results),
            **self._written(results),
        }


class Curves(Target):
    """The training curves of a table's runs. All share one notebook."""

    suffix = "_curves"
    remark = ", training curves"

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return "training_curves"

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        return _once(file for row in self.rows for file in self._run_files(results, row, "log"))

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        runs = self._files_by_row(results, "log")
        return {
            **self._heading(results),
            "departures": self.departures(results),
            "runs": runs,
            **self._written(results),
        }


class Figure(Target):
    """What a notebook shows without any run."""

    entry: OfNotebook

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return self.entry.notebook

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        said = self._said(results)
        if self.entry.note:
            said["doubts"] = [self.entry.note, *said["doubts"]]
        misprints = [misprint.model_dump(exclude_unset=True) for misprint in self.entry.misprints]
        return {**said, "misprints": misprints, **self._written(results)}


class AnalyticTable(Figure):
    """A table that a notebook makes without any run."""

    shows_table = True


class FigureOfRuns(Target):
    """A figure of trained runs, with a notebook of its own: no two show their runs alike."""

    entry: OfRunsFigure

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return self.entry.notebook

    def asks(self) -> Iterator[tuple[RunRow, list[Metric]]]:
        """See ``Target``."""
        reads = self.runs if self.entry.reads == "metrics" else []
        return ((row, self.entry.metrics) for row in reads)

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        files = (
            file for row in self.rows for file in self._run_files(results, row, self.entry.reads)
        )
        return [*_once(files), *super().inputs(results)]

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        return {
            **self._said(results),
            **self._heading(results),
            "departures": self.departures(results),
            "runs": self._files_by_row(results, self.entry.reads),
            **self._written(results),
        }


class FigureWithRuns(FigureOfRuns):
    """A figure that is made without runs, too, once more with their series."""

    suffix = "_trained"
    remark = ", with a trained detector"


def targets_of(label: Label, entry: Entry) -> list[Target]:
    """The target of an entry, and behind it those that it brings.

    A table of trained runs brings their training curves. A figure with ``trained`` brings the same
    figure with the series of those runs in it.
    """
    match entry:
        case NotMade():
            return [NotMadeTarget(label, entry)]
        case OfRunsTable():
            return [Table(label, entry), Curves(label, entry)]
        case OfRunsFigure():
            return [FigureOfRuns(label, entry)]
        case OfNotebookFigure():
            trained = entry.with_runs()
            second = [FigureWithRuns(label, trained)] if trained is not None else []
            return [Figure(label, entry), *second]
        case OfNotebook():
            return [AnalyticTable(label, entry)]
    raise TypeError(f"no target is made of {type(entry).__name__}")


def _why_not_measured(row: Row) -> str | None:
    match row:
        case WaitingRow():
            return row.waits
        case QuotedRow():
            return f"quoted {row.quoted}"
    return None


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
