"""From a name and options to a callable; the typed options of the part are its one definition."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rebalance.config.parse import parse
from rebalance.config.part import Part


def bind_part(kind: type[Part], name: str, options: Mapping[str, Any]) -> partial[Any]:
    """What the part of that kind and name makes, with ``options`` bound by keyword.

    Args:
        kind: for example ``rebalance.config.options.losses.Loss``.
        name: of one of its parts.
        options: of the part; those that are left out have their defaults.

    Raises:
        InputError: unknown name or option, or a value that is not allowed.
    """
    settings = {option: _as_in_a_file(value) for option, value in options.items()}
    return parse(kind, {**settings, kind.tag: name}, kind.noun).bind()


def callables(kind: type[Part]) -> dict[str, Callable[..., Any]]:
    """Name -> what each part of a kind makes."""
    return {name: part.load() for name, part in kind.parts().items() if part.makes is not None}


def _as_in_a_file(value: Any) -> Any:
    """Tuples, which code may have written, as lists."""
    return [_as_in_a_file(each) for each in value] if isinstance(value, list | tuple) else value
