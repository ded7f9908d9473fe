"""From a name and options in a configuration to a callable, refusing what the callable lacks.

Each kind of part has one visible dict, for example ``LOSSES`` in ``rebalance/losses/__init__.py``.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rebalance.errors import InputError


def bind_options(
    kind: str, table: Mapping[str, Callable[..., Any]], name: str, options: Mapping[str, Any]
) -> Callable[..., Any]:
    """``table[name]`` with ``options`` bound by keyword.

    Args:
        kind: what the table holds, for the message ("loss", "sampler", ...).
        table: name -> callable; its keyword parameters are the options.
        name: the entry to take.
        options: keyword options; each must be a parameter of the callable.

    Raises:
        InputError: unknown name or option; the message lists what is allowed.
    """
    if name not in table:
        raise InputError(f"{kind} must be one of {sorted(table)}, got {name!r}")
    allowed = inspect.signature(table[name]).parameters
    for option in options:
        if option not in allowed:
            raise InputError(f"{kind} {name!r} has options {list(allowed)}, got {option!r}")
    return partial(table[name], **options)
