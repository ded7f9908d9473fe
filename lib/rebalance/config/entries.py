"""Entries of a work's tables and figures: what a file says of each, by how it is made."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from rebalance.config.bounds import Index, Text
from rebalance.config.departures import DepartureOfRows, TargetDeparture
from rebalance.config.parse import Place, parse
from rebalance.config.part import Options, nearest, refusal, section
from rebalance.config.rows import row_names
from rebalance.config.run import DEFAULT_VARIANT
from rebalance.errors import InputError

Label = Literal["trained", "analytic", "dataset", "descriptive", "illustration", "released_models"]
"""What the index calls a target."""

COCO_IOUS = (0.5, 0.75)
"""Thresholds whose AP every evaluation has."""


class Metric(Options):
    """A column of numbers."""

    name: Text
    """As in metrics.json."""
    percent: bool
    """Printed times 100."""
    better: Literal["higher", "lower"] | None
    """Which of two is better."""
    measured: bool = True
    """Whether some file of a run has it."""
    reads: Literal["metrics", "positives", "settings", "speed"] = "metrics"
    """Which file of each run has it."""
    key: Text | None = section()
    """What that file calls it, if not by its name: ``correlation.Spearman``."""
    at: Text | None = section()
    """The setting of a row that says at which IoU this is its AP, where rows differ in it."""

    def iou(self, setting: Mapping[str, Any]) -> float | None:
        """The threshold of a row's AP at one IoU that COCO's own numbers lack: 0.6 of AP60."""
        number = self.name.removeprefix("mask_").removeprefix("AP")
        if self.at is not None:
            iou = float(setting[self.at])
        elif number != self.name and number.isdecimal():
            iou = int(number) / 100
        else:
            return None
        return None if iou in COCO_IOUS else iou


class Row(Options):
    """A row without a run."""

    setting: Annotated[dict[str, Any], Len(1)]
    """What the row is called by; columns of the table."""
    reported: dict[str, float | None]
    """The work's numbers, by metric."""
    recovered: list[Text] = Field(default_factory=list)
    """Columns that are illegible in the work's text, from what its authors publish beside it."""


class RunRow(Row):
    """A row that shows a trained run."""

    run: Text
    """Of any work."""
    variant: Text = DEFAULT_VARIANT
    """Of the run."""
    measures: list[Text] | None = section()
    """Metrics that are measured of it, where a run has not all of a table's; else all."""


class ReleasedRow(Row):
    """A row that shows detections of a released model instead of a run."""

    released: Text
    """Of ``config/released.yaml``."""
    of: Text | None = section()
    """The class or group of classes that it is about; else all."""


class WaitingRow(Row):
    """A row among rows of runs that has none."""

    waits: Text
    """Why."""


class QuotedRow(Row):
    """A row whose numbers the work has from elsewhere: shown, and nothing trained for it."""

    quoted: Text
    """Where from: "from another publication"."""


ROW_FORMS: dict[str, type[Row]] = {"run": RunRow, "waits": WaitingRow, "quoted": QuotedRow}


def _row_form(row: Any) -> str | None:
    for key, form in ROW_FORMS.items():
        if isinstance(row, form) or (isinstance(row, Mapping) and key in row):
            return f"<{key}>"
    return None


def _check_row_form(row: Any) -> Any:
    if _row_form(row) is None:
        raise refusal(
            "needs a run, or waits with the reason why it has none, or quoted with where its "
            f"numbers are from, got {row!r}"
        )
    return row


TableRow = Annotated[
    Annotated[RunRow, Tag("<run>")]
    | Annotated[WaitingRow, Tag("<waits>")]
    | Annotated[QuotedRow, Tag("<quoted>")],
    Discriminator(_row_form),
    BeforeValidator(_check_row_form),
]


class Misprint(Options):
    """A printed number or formula that contradicts its own work."""

    cell: Text
    """The check that fails by it, by its name on the page."""
    printed: str | float
    """In the work."""
    correct: str | float
    """What it should be; a number must come out here."""
    note: str = ""
    """Why."""


class Gain(Options):
    """What some rows of a table have over others, in the unit printed; better is positive."""

    rows: Annotated[list[Annotated[list[Index], Len(2, 2)]], Len(1)]
    """Pairs: a row, and the one it is compared with, counted from 0."""
    metrics: Annotated[list[Text], Len(1)]
    """Columns of the table."""
    at_least: float | None = None
    """Lowest gain; without any bound every gain must be positive."""
    at_most: float | None = None
    """Highest gain."""
    times: bool = False
    """Bounds are those of the ratio of both, not of their difference."""


class Claim(Options):
    """A sentence of a work about its table, and how its rows decide it."""

    says: Text
    """In our words."""
    gains: Annotated[list[Gain], Len(1)]
    """All must be as bounded."""


class Entry(Options):
    """Any table or figure."""

    title: Text
    """What it shows."""
    kind: Label
    """What the index calls it."""
    metrics: list[Metric] = Field(default_factory=list)
    """Columns of numbers."""
    numbers: dict[str, Any] = Field(default_factory=dict)
    """What the work prints about it."""
    claims: list[Claim] = Field(default_factory=list)
    """What the work concludes from its rows."""
    doubts: list[Text] = Field(default_factory=list)
    """Misprints and readings, in our words."""

    def row_entries(self) -> list[Row]:
        """Its rows; there may be none."""
        return list(getattr(self, "rows", []))

    @model_validator(mode="after")
    def _check_rows(self) -> Self:
        known = [metric.name for metric in self.metrics]
        for index, row in enumerate(self.row_entries()):
            for metric in self.metrics:
                if metric.at is not None and not _is_share(row.setting.get(metric.at)):
                    raise refusal(
                        f"{metric.at!r} must be a number in (0, 1): {metric.name} is the AP there, "
                        f"got {row.setting.get(metric.at)!r}",
                        at=("rows", index, "setting"),
                    )
            for name in row.recovered:
                if name not in row.reported and name not in row.setting:
                    raise refusal(
                        f"must be a column of the row, got {name!r}"
                        f"{nearest(name, [*row.setting, *row.reported])}",
                        at=("rows", index, "recovered"),
                    )
            for name in row.reported:
                if name not in known:
                    raise refusal(
                        f"must be one of the metrics {known}, got {name!r}{nearest(name, known)}",
                        at=("rows", index, "reported"),
                    )
        return self

    @model_validator(mode="after")
    def _check_claims(self) -> Self:
        """A claim compares rows that are there, in columns that are there."""
        known, count = [metric.name for metric in self.metrics], len(self.row_entries())
        for index, claim in enumerate(self.claims):
            for place, gain in enumerate(claim.gains):
                at = ("claims", index, "gains", place)
                for name in gain.metrics:
                    if name not in known:
                        raise refusal(
                            f"must be of the metrics {known}, got {name!r}{nearest(name, known)}",
                            at=(*at, "metrics"),
                        )
                if max(row for pair in gain.rows for row in pair) >= count:
                    raise refusal(f"must be below {count}, got {gain.rows}", at=(*at, "rows"))
        return self


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


class NotMade(Entry):
    """What the suite does not make."""

    waits: Text
    """Why."""
    rows: list[Row] = Field(default_factory=list)
    """The work's numbers."""


class OfNotebook(Entry):
    """What a notebook makes without any run."""

    notebook: Text
    """``notebooks/<name>.ipynb``."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of that notebook, beyond those that all get."""
    dataset: Text | None = section()
    """The data set whose annotations it reads, by its name in runs."""
    beside: list[Text] | None = section()
    """Further ones, for a notebook that shows several."""
    rows: list[Row] = Field(default_factory=list)
    """The work's numbers."""
    misprints: list[Misprint] = Field(default_factory=list)
    """Of its checks those that fail by the print's fault."""
    note: str = ""
    """What a reader of its card must know."""

    @property
    def datasets(self) -> list[str]:
        """All that it reads, the one that it is about first."""
        return [name for name in (self.dataset, *(self.beside or [])) if name is not None]


class _RowsToldApart(Entry):
    """An entry whose rows stand beside each other in a legend."""

    departures: list[TargetDeparture] = Field(default_factory=list)
    """Where it differs from the work, besides what its runs, detectors and schedules say."""

    @model_validator(mode="after")
    def _check_row_names(self) -> Self:
        """Rows are told apart by their settings; of two of one name a figure would show one."""
        names = row_names([{"setting": row.setting} for row in self.row_entries()])
        for index, name in enumerate(names):
            first = names.index(name)
            if first != index:
                raise refusal(
                    f"rows[{first}] is called {name!r}, too", at=("rows", index, "setting")
                )
        return self

    @model_validator(mode="after")
    def _check_departures(self) -> Self:
        """Rows that differ are there."""
        count = len(self.row_entries())
        for index, departure in enumerate(self.departures):
            if isinstance(departure, DepartureOfRows) and any(r >= count for r in departure.rows):
                raise refusal(
                    f"must be below {count}, got {departure.rows}", at=("departures", index, "rows")
                )
        return self


class OfRunsTable(_RowsToldApart):
    """A table of trained runs; brings their training curves."""

    metrics: Annotated[list[Metric], Len(1)]
    """Columns of numbers."""
    rows: Annotated[list[TableRow], Len(1)]
    """A run each, or the reason why there is none."""
    baselines: list[Index | None] = Field(default_factory=list)
    """For each row the one that it is compared with, counted from 0; null: it is a baseline."""
    reported_on: Text | None = section()
    """The images that the work's numbers are of, where they are others than those measured on:
    these stand beside them then, and are not held against them."""

    @model_validator(mode="after")
    def _check_baselines(self) -> Self:
        count = len(self.rows)
        if self.baselines and len(self.baselines) != count:
            raise refusal(
                f"must have an entry for each of {count} rows, got {len(self.baselines)}",
                at=("baselines",),
            )
        for index, baseline in enumerate(self.baselines):
            if baseline is not None and (baseline >= count or baseline == index):
                raise refusal(f"must be another row, got {baseline}", at=("baselines", index))
        return self


class OfReleasedTable(_RowsToldApart):
    """A table of released models."""

    metrics: Annotated[list[Metric], Len(1)]
    """Columns of numbers; of a row those are measured that the work reports of it."""
    rows: Annotated[list[ReleasedRow], Len(1)]
    """A model each."""


class OfReleasedFigure(_RowsToldApart):
    """A figure of released models."""

    notebook: Text
    """``notebooks/<name>.ipynb``."""
    reads: Literal["metrics", "matches", "detections"]
    """Which file of each model the notebook gets."""
    rows: Annotated[list[ReleasedRow], Len(1)]
    """A model each."""
    classes: list[Text] = Field(default_factory=list)
    """Classes that it is about, as the work calls them."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of that notebook, beyond those that all get."""


class OfRunsFigure(_RowsToldApart):
    """A figure of trained runs."""

    notebook: Text
    """``notebooks/<name>.ipynb``."""
    reads: Literal["metrics", "matches", "log", "positives"]
    """Which file of each run the notebook gets."""
    rows: Annotated[list[RunRow], Len(1)]
    """A run each."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of that notebook, beyond those that all get."""
    dataset: Text | None = section()
    """The data set whose annotations it reads, by its name in runs."""

    @property
    def datasets(self) -> list[str]:
        """All that it reads."""
        return [] if self.dataset is None else [self.dataset]


class TrainedSeries(Options):
    """The runs of a figure that is made without them, and once more with them."""

    notebook: Text
    """``notebooks/<name>.ipynb``."""
    reads: Literal["metrics", "matches", "log", "positives"]
    """Which file of each run the notebook gets."""
    rows: Annotated[list[RunRow], Len(1)]
    """A run each."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of that notebook, beyond those that all get."""
    doubts: list[Text] = Field(default_factory=list)
    """Beyond those of the figure."""
    departures: list[TargetDeparture] = Field(default_factory=list)
    """Where it differs from the work, besides what its runs, detectors and schedules say."""


class OfNotebookFigure(OfNotebook):
    """A figure that a notebook makes without any run."""

    trained: TrainedSeries | None = section()
    """Makes the figure once more, with these runs in it."""

    def with_runs(self) -> OfRunsFigure | None:
        """The entry of that second figure."""
        if self.trained is None:
            return None
        return OfRunsFigure(
            title=self.title,
            kind="trained",
            numbers=self.numbers,
            doubts=[*self.doubts, *self.trained.doubts],
            departures=self.trained.departures,
            notebook=self.trained.notebook,
            reads=self.trained.reads,
            rows=self.trained.rows,
            parameters=self.trained.parameters,
        )


ENTRIES = (
    OfRunsTable,
    OfRunsFigure,
    OfReleasedTable,
    OfReleasedFigure,
    OfNotebookFigure,
    OfNotebook,
    NotMade,
)
"""Every form of an entry."""


def parse_entry(sort: str, data: Any, place: Place) -> Entry:
    """An entry, by how it is made.

    Args:
        sort: "table" or "figure".
        data: what the file says.
        place: where.

    Raises:
        InputError: it is made in no way or in two, or something in it is wrong.
    """
    said = data if isinstance(data, Mapping) else {}
    names_runs, names_released = (_names(said.get("rows"), key) for key in ("run", "released"))
    if names_released:
        return parse(OfReleasedTable if sort == "table" else OfReleasedFigure, data, place)
    if names_runs and sort == "table":
        return parse(OfRunsTable, data, place)
    if (names_runs or "reads" in said) and sort == "figure":
        return parse(OfRunsFigure, data, place)
    if "waits" in said and "notebook" not in said:
        return parse(NotMade, data, place)
    if "notebook" in said and "waits" not in said:
        return parse(OfNotebookFigure if sort == "figure" else OfNotebook, data, place)
    raise InputError(f"{place}: needs exactly one of rows with a run, notebook, waits")


def _names(rows: Any, key: str) -> bool:
    return isinstance(rows, list) and any(isinstance(row, Mapping) and key in row for row in rows)
