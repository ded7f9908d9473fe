"""Tables and figures as types: each knows its inputs, notebook, parameters and outputs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from rebalance.config.departures import sentences
from rebalance.config.entries import (
    Entry,
    Metric,
    NotMade,
    OfNotebook,
    OfNotebookFigure,
    OfReleasedFigure,
    OfReleasedTable,
    OfRunsFigure,
    OfRunsTable,
    QuotedRow,
    ReleasedRow,
    Row,
    RunRow,
    WaitingRow,
)
from rebalance.config.rows import row_names

Sort = Literal["table", "figure"]
Files = Literal["metrics", "matches", "epochs", "log", "positives", "settings", "speed"]
GROUPS = ("All", "Things", "Stuff")
"""Groups of classes that panoptic metrics are of."""


@dataclass(frozen=True)
class ReleasedFiles:
    """Files of a released model at a scale, or of what stands in for it.

    Attributes:
        detections: COCO results, or COCO panoptic JSON.
        truth: what they are evaluated on.
        folder: of ``metrics.json`` and, but for panoptic ones, ``matches.npz``.
        run: the run whose detections these are, if they are a run's.
        says: where they come from, in words for the page.
    """

    detections: str
    truth: str
    folder: str
    run: str | None
    says: str

    def file(self, kind: str) -> str:
        """The file of a kind: "metrics", "matches" or "detections"."""
        names = {"metrics": "metrics.json", "matches": "matches.npz"}
        return self.detections if kind == "detections" else f"{self.folder}/{names[kind]}"


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
        with_epochs: runs that keep the weights of every epoch.
        released: files of the released models, by name.
        classes: class of a work -> the one that stands in for it; empty: every class is itself.
    """

    scale: str
    description: str
    seeds: tuple[int, ...]
    datasets: Mapping[str, str]
    data: str = "data"
    seeds_of: Mapping[str, Sequence[int]] = field(default_factory=dict)
    departures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    with_epochs: Set[str] = frozenset()
    released: Mapping[str, ReleasedFiles] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)

    @cached_property  # asked for thousands of times
    def folder(self) -> Path:
        """Of everything made at this scale."""
        return Path("results") / self.scale

    def seed_folders(self, run: str, target: str | None = None) -> list[Path]:
        """Of a run's trainings, one per seed; those that a target shows, if its name is given."""
        return [self.folder / "runs" / run / f"seed{seed}" for seed in self.seeds_for(target)]

    def seeds_for(self, target: str | None) -> Sequence[int]:
        """Seeds of the runs that a target shows."""
        return self.seeds if target is None else self.seeds_of.get(target, self.seeds)

    def shown_as(self, of: str) -> str | None:
        """The class, or group of classes, that a row about ``of`` shows; None: there is none."""
        return of if not self.classes or of in GROUPS else self.classes.get(of)

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
    def released(self) -> list[ReleasedRow]:
        """Rows that show released models."""
        return [row for row in self.rows if isinstance(row, ReleasedRow)]

    @property
    def shows_results(self) -> bool:
        """Whether it shows what detectors found: of runs, or of released models."""
        return bool(self.runs or self.released)

    @property
    @abstractmethod
    def notebook(self) -> str:
        """Name of the notebook that makes it."""

    def asks(self) -> Iterator[tuple[RunRow, list[Metric]]]:
        """Rows with the numbers of metrics.json that it shows of each."""
        return iter(())

    @property
    def datasets(self) -> list[str]:
        """Data sets whose annotations its notebook reads, by their names in runs."""
        return getattr(self.entry, "datasets", [])

    def inputs(self, results: Results) -> list[str]:
        """Files that its notebook reads, each once."""
        return _once(file for name in self.datasets for file in results.annotations(name).values())

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
        return {role: f"{folder}/{name}" for role, name in files.items()}

    def seeds(self, results: Results) -> list[int]:
        """Of its runs."""
        return list(results.seeds_for(self._entry_name))

    def departures(self, results: Results) -> list[str]:
        """Where it and its runs differ from the work, each sentence once."""
        of_runs = (sentence for row in self.runs for sentence in results.departures[row.run])
        return _once([*sentences(getattr(self.entry, "departures", [])), *of_runs])

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
            "epochs": f"{row.variant}/epochs.json",
            "log": "log.csv",
            "positives": "positives.json",
            "settings": "run.yaml",
            "speed": "speed.json",
        }[kind]
        return [f"{folder}/{name}" for folder in results.seed_folders(row.run, self._entry_name)]

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
        beside = getattr(entry, "beside", None)
        if beside is not None:
            parameters["beside"] = {
                results.datasets[name]: results.annotations(name) for name in beside
            }
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

    def kinds(self, results: Results) -> list[str]:
        """Kinds of files that its numbers and their intervals are in."""
        kinds: set[str] = {metric.reads for metric in self.entry.metrics}
        if "metrics" in kinds:
            kinds.add("matches")
            if self.runs and all(row.run in results.with_epochs for row in self.runs):
                kinds.add("epochs")
        return sorted(kinds)

    def asks(self) -> Iterator[tuple[RunRow, list[Metric]]]:
        """See ``Target``."""
        metrics = [metric for metric in self.entry.metrics if metric.reads == "metrics"]
        return ((row, metrics) for row in self.runs)

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        return _once(
            file
            for row in self.rows
            for kind in self.kinds(results)
            for file in self._run_files(results, row, kind)
        )

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        kinds = ("log", *self.kinds(results))
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
                {kind: self._run_files(results, row, kind) for kind in kinds} for row in self.rows
            ],
            "baselines": self.entry.baselines,
            "reported_on": self.entry.reported_on or "",
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


class ReleasedTable(Target):
    """Of released models: measured beside reported numbers, in the notebook of all tables."""

    shows_table = True
    entry: OfReleasedTable

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return "table"

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        return _once(file for row in self.released for file in self._metrics_of(results, row))

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        return {
            **self._heading(results),
            "doubts": self.entry.doubts,
            "departures": self.departures(results),
            "claims": [claim.model_dump(exclude_unset=True) for claim in self.entry.claims],
            "metrics": [metric.model_dump(exclude_unset=True) for metric in self.entry.metrics],
            "rows": [self._row(results, row) for row in self.entry.rows],
            "files": [{"metrics": self._metrics_of(results, row)} for row in self.entry.rows],
            "baselines": [],
            "reported_on": "",
            "seeds": [results.seeds[0]],
            **self._written(results),
        }

    def _metrics_of(self, results: Results, row: ReleasedRow) -> list[str]:
        """Its file, unless it is about a class that nothing stands in for at this scale."""
        if row.of is not None and results.shown_as(row.of) is None:
            return []
        return [results.released[row.released].file("metrics")]

    def _row(self, results: Results, row: ReleasedRow) -> dict[str, Any]:
        of = None if row.of is None else results.shown_as(row.of)
        note = results.released[row.released].says
        return {
            "setting": row.setting,
            "run": row.released,
            "variant": None,
            "reported": row.reported,
            "missing": None if self._metrics_of(results, row) else "no class of this scale is it",
            "measures": [m.name for m in self.entry.metrics if m.name in row.reported],
            "of": of,
            "note": note if of == row.of else f"{note}; {of} in place of {row.of}",
        }


class FigureOfReleased(Target):
    """A figure of released models."""

    entry: OfReleasedFigure

    @property
    def notebook(self) -> str:
        """See ``Target``."""
        return self.entry.notebook

    def inputs(self, results: Results) -> list[str]:
        """See ``Target``."""
        models = [results.released[row.released] for row in self.released]
        truths = [model.truth for model in models if self.entry.reads == "detections"]
        return _once([*(model.file(self.entry.reads) for model in models), *truths])

    def parameters(self, results: Results) -> dict[str, Any]:
        """See ``Target``."""
        names = row_names([{"setting": row.setting} for row in self.rows])
        models = {
            name: results.released[row.released]
            for name, row in zip(names, self.released, strict=True)
        }
        return {
            **self._heading(results),
            "numbers": self.entry.numbers,
            "doubts": self.entry.doubts,
            "departures": self.departures(results),
            "models": {
                name: {"file": model.file(self.entry.reads), "truth": model.truth,
                       "says": model.says}
                for name, model in models.items()
            },
            "classes": {name: results.shown_as(name) for name in self.entry.classes},
            **self.entry.parameters,
            **self._written(results),
        }  # fmt: skip


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
        case OfReleasedTable():
            return [ReleasedTable(label, entry)]
        case OfReleasedFigure():
            return [FigureOfReleased(label, entry)]
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
