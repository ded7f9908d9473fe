"""Columns of JSON records, checked: every refusal names the file, the record's index and the field.

A COCO file is a list of records (dicts); evaluation wants arrays. Whole columns are checked at once
in numpy, and only a column at fault is walked to find the record to name.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalance.errors import InputError

Record = dict[str, Any]


def refuse(records_name: str, index: int, field: str, got: object, allowed: str) -> InputError:
    """The error for one record: ``dt.json: results[3].score: got nan, must be finite``."""
    return InputError(f"{records_name}[{index}].{field}: got {shorten(got)}, must be {allowed}")


def shorten(value: object, length: int = 80) -> str:
    """``repr`` cut to ``length`` characters, so that a bad mask does not fill the screen."""
    text = repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."


def column(name: str, records: Sequence[Record], field: str) -> list[Any]:
    """``[record[field] for record in records]``; names the first record without the field."""
    try:
        return [record[field] for record in records]
    except (KeyError, TypeError) as error:
        for index, record in enumerate(records):
            if not isinstance(record, dict):
                raise InputError(
                    f"{name}[{index}]: got {shorten(record)}, must be an object"
                ) from error
            if field not in record:
                keys = shorten(sorted(record))
                raise InputError(f"{name}[{index}].{field}: is missing (has {keys})") from error
        raise


def check_each(
    name: str,
    records: Sequence[Record],
    field: str,
    accept: Callable[[Any], bool],
    allowed: str,
) -> None:
    """Raise for the first record whose field ``accept`` turns down."""
    for index, record in enumerate(records):
        if not accept(record[field]):
            raise refuse(name, index, field, record[field], allowed)


def integer_column(name: str, records: Sequence[Record], field: str) -> NDArray[np.int64]:
    """int64 [N]; anything but an integer is refused."""
    values = column(name, records, field)
    array = _as_array(values)
    if (array.ndim != 1 or array.dtype.kind != "i") and len(values):
        check_each(name, records, field, _is_integer, "an integer")
    return array.astype(np.int64)


def number_column(name: str, records: Sequence[Record], field: str) -> NDArray[np.float64]:
    """float64 [N] of finite numbers."""
    values = column(name, records, field)
    array = _as_array(values)
    if array.ndim != 1 or array.dtype.kind not in "if" or not np.isfinite(array).all():
        check_each(name, records, field, _is_finite, "a finite number")
    return array.astype(np.float64)


def flag_column(records: Sequence[Record], field: str) -> NDArray[np.bool_]:
    """bool [N]; a record without the field counts as 0, as in COCO's own tools."""
    return np.fromiter((bool(record.get(field, 0)) for record in records), bool, len(records))


def box_column(name: str, records: Sequence[Record], field: str = "bbox") -> NDArray[np.float64]:
    """float64 [N, 4] of COCO ``x, y, width, height``: finite, width and height not negative."""
    values = column(name, records, field)
    if not values:
        return np.zeros((0, 4))
    array = _as_array(values)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "if":
        check_each(name, records, field, _is_box, "four finite numbers [x, y, width, height]")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array).all(axis=1) | (array[:, 2:] < 0).any(axis=1)
    if bad.any():
        index = int(bad.argmax())
        allowed = "finite [x, y, width, height] with width >= 0 and height >= 0"
        raise refuse(name, index, field, values[index], allowed)
    return array


def positions_of(
    name: str,
    field: str,
    values: NDArray[np.int64],
    known: NDArray[np.int64],
    known_name: str,
) -> NDArray[np.int64]:
    """Position of each value in the sorted array ``known``; a value not in it is refused."""
    if not len(values):
        return np.zeros(0, np.int64)
    positions = np.searchsorted(known, values)
    unknown = np.ones(len(values), bool)
    inside = positions < len(known)
    unknown[inside] = known[positions[inside]] != values[inside]
    if unknown.any():
        index = int(unknown.argmax())
        raise refuse(name, index, field, int(values[index]), f"an id listed in {known_name}")
    return positions


def unique_ids(name: str, records: Sequence[Record], field: str = "id") -> NDArray[np.int64]:
    """int64 [N] ids in file order; an id used twice is refused."""
    ids = integer_column(name, records, field)
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:] == ids[order][:-1]
    if twice.any():
        index = int(order[1:][twice].min())
        raise refuse(name, index, field, int(ids[index]), "used by one record only")
    return ids


def _as_array(values: list[Any]) -> NDArray[Any]:
    """``np.asarray`` that answers lists of unequal length with an object array."""
    try:
        return np.asarray(values)
    except (ValueError, OverflowError):
        return np.asarray([None] * len(values), dtype=object)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_finite(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # of whole numbers, too: they may be longer
    )


def _is_box(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 4 and all(map(_is_finite, value))
