"""Where a run or a page is not as in its work, as configuration says it."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from annotated_types import Len
from pydantic import Discriminator, Field, Tag

from rebalance.config.bounds import Index, Text
from rebalance.config.part import Options


class NamedDeparture(Options):
    """A difference in what the work's recipe says.

    The comparison of runs with recipes excuses what ``of`` names and nothing else.
    """

    of: Annotated[list[Text], Len(1)]
    """What of the recipe differs, or is not printed: ``learning rate``."""
    says: Text
    """The difference in a sentence."""


class DepartureOfRows(NamedDeparture):
    """A difference that only some rows of a table have."""

    rows: list[Index] = Field(default_factory=list)
    """Which, counted from 0; none named: all."""


def _form(departure: Any) -> str:
    """Marks a sentence or a mapping for pydantic, which drops marks in <> from messages."""
    return "<of>" if isinstance(departure, Mapping | NamedDeparture) else "<says>"


Departure = Annotated[
    Annotated[Text, Tag("<says>")] | Annotated[NamedDeparture, Tag("<of>")],
    Discriminator(_form),
]
"""A sentence that pages show; it names what of a recipe differs, if a recipe speaks of it."""

TargetDeparture = Annotated[
    Annotated[Text, Tag("<says>")] | Annotated[DepartureOfRows, Tag("<of>")],
    Discriminator(_form),
]
"""As ``Departure``, of the rows of a target."""


def sentences(departures: Iterable[str | NamedDeparture]) -> list[str]:
    """What pages show of them."""
    return [departure if isinstance(departure, str) else departure.says for departure in departures]
