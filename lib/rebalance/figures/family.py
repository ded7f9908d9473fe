"""What a family of figures and tables offers by name, so that a target's entry finds its file.

A target says ``family: box_generator, what: two_steps``; the ``FIGURES`` of
``rebalance.figures.box_generator`` then name the function of its ``compute.py`` that says what
comes out and the function of its ``draw.py`` that draws it. ``TABLES`` do so for tables.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from rebalance.errors import InputError
from rebalance.figures.checks import Check, Kind

Row = Mapping[str, Any]
"""A row of a target: ``setting`` (what it is called by) and ``reported`` (printed numbers)."""
MadeTable = tuple[pd.DataFrame, list[Check]]
"""What is shown of a table, and what comes out of what the work prints."""
MakeTable = Callable[[Sequence[Row], Mapping[str, Any]], MadeTable]
"""From the rows of a table and the numbers printed beside it."""


@dataclass(frozen=True)
class FamilyFigure:
    """One figure of a family; both functions take the same data, if they take any.

    Attributes:
        kind: what a verdict may say of it.
        checks: of the data and the printed numbers: what of them comes out.
        draw: the figure, of the data.
    """

    kind: ClassVar[Kind] = "compared"
    checks: Callable[..., list[Check]]
    draw: Callable[..., Figure]


class Diagram(FamilyFigure):
    """A figure that explains in drawn parts and arrows; redrawn is all that can be said of it."""

    kind: ClassVar[Kind] = "diagram"


@dataclass(frozen=True)
class TabledFigure(FamilyFigure):
    """A figure with a table below it.

    Attributes:
        table: what is drawn in numbers, of the data; None: the figure has it.
    """

    table: Callable[..., pd.DataFrame] | None = None


@dataclass(frozen=True)
class FigureOfRuns(FamilyFigure):
    """A figure with a point or a line per run.

    Attributes:
        load: of the files of the runs and the rows that name them: the data.
    """

    load: Callable[..., pd.DataFrame]


class OwnFigure(FigureOfRuns):
    """A figure of the suite's own: no work prints anything of it."""

    kind: ClassVar[Kind] = "added"


@dataclass(frozen=True)
class FigureOfReleased(FamilyFigure):
    """A figure of released models; its checks also take the printed numbers and the models.

    Attributes:
        load: of the models and the classes that the figure is about: the data.
        table: what is drawn in numbers, of the data.
    """

    load: Callable[..., Any]
    table: Callable[..., pd.DataFrame]


def find_figure(family: str, what: str) -> FamilyFigure:
    """The figure called ``what`` in the ``FIGURES`` of ``rebalance.figures.<family>``.

    Raises:
        InputError: no such family, or it has no such figure.
    """
    figure: FamilyFigure = _find(family, "FIGURES", what)
    return figure


def find_table(family: str, what: str) -> MakeTable:
    """The maker of the table called ``what`` in the ``TABLES`` of ``rebalance.figures.<family>``.

    Raises:
        InputError: no such family, or it has no such table.
    """
    make: MakeTable = _find(family, "TABLES", what)
    return make


def families() -> list[str]:
    """Names of all families, sorted."""
    folder = str(Path(__file__).parent)
    return sorted(module.name for module in pkgutil.iter_modules([folder]) if module.ispkg)


def _find(family: str, table: str, what: str) -> Any:
    if family not in families():
        raise InputError(f"family: must be one of {families()}, got {family!r}")
    offered = getattr(import_module(f"rebalance.figures.{family}"), table, {})
    if what not in offered:
        raise InputError(
            f"what: the {table} of family {family!r} are {sorted(offered)}, got {what!r}"
        )
    return offered[what]
