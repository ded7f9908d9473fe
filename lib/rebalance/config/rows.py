"""What the rows of a target are called: in legends, thumbnails and lists."""

from collections.abc import Mapping, Sequence
from typing import Any


def row_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A short name for each row: as many of its first settings as tell all rows apart."""
    names = [""] * len(rows)
    for count in range(1, len(rows[0]["setting"]) + 1):
        names = [
            ", ".join(
                _setting_in_words(name, value)
                for name, value in list(row["setting"].items())[:count]
                if value is not None
            )
            or _setting_in_words(next(iter(row["setting"])), False)
            for row in rows
        ]
        if len(set(names)) == len(rows):
            break
    return names


def _setting_in_words(name: str, value: Any) -> str:
    """``gamma = true`` is "gamma", false "no gamma"; other values speak for themselves."""
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name.replace('_', ' ')}"
    return str(value)
