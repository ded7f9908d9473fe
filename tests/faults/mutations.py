"""Valid contents and command lines with one thing wrong, drawn by hypothesis."""

import copy
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Keys = tuple[str | int, ...]

WRONG: list[Any] = [
    None, True, "", "x", "\ud800", "a\0b", "../x", "/etc/passwd", [], {}, [[]], [1], [1, 2, 3, 4],
    -1, 0, 1, 0.5, 10**7, 2**31, 2**40, 2**63, 2**64, 10**30, -(2**63) - 1, 1e8, 1e300, -1e300,
    math.nan, math.inf, -math.inf, [math.nan] * 4, [1e8] * 4, [[1e8] * 6], [[2.0**40] * 8],
    [[-1e6, 0, 1e6, 0, 1e6, 1e6]], [["a"] * 6], {"size": [1, 1], "counts": "1"}, {"counts": [1]},
    {"size": [10**7, 10**7], "counts": [10**14]},
]  # fmt: skip
"""In place of a value."""


def places(content: Any, at: Keys = ()) -> Iterator[Keys]:
    """Keys to everything in lists and dicts, the outermost left out."""
    entries = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in entries:
        yield (*at, key)
        yield from places(value, (*at, key))


@st.composite
def mutated(draw: st.DrawFn, content: Any) -> Any:
    """``content`` with one value replaced, left out, or given twice."""
    changed = copy.deepcopy(content)
    *outer, last = draw(st.sampled_from(list(places(content))))
    inner = changed
    for key in outer:
        inner = inner[key]
    what = draw(st.sampled_from(["replaced"] * 5 + ["left out", "twice"]))
    if what == "left out":
        del inner[last]
    elif what == "twice" and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[last]))
    elif what == "twice":
        inner["more"] = inner[last]
    else:
        inner[last] = copy.deepcopy(draw(st.sampled_from(WRONG)))
    return changed


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with one bit flipped, or cut."""
    position = draw(st.integers(0, len(content) - 1))
    if draw(st.integers(0, 4)) == 0:
        return content[:position]
    changed = bytearray(content)
    changed[position] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


WRONG_ARGUMENTS = [
    "", " ", "-", "--", "-1", "0", "7", "0.5", "nan", "-inf", "1e400", "1" * 400, "é", "\u0663",
    "$x", "'", "a b", "x" * 300, "--out", "--help", "--nothing", "../x", ".", "absent",
    "absent/file", "empty", "latin", "pipe", "loop", "images", "gt.json", "dt.json",
    "files.zip", "mine.yaml", "gt.json/x", "{", "[]", '{"nms": 1}', ":", "VOC2007:absent",
]  # fmt: skip
"""In place of an argument; those that name files, name them in the folder of the commands."""


@st.composite
def arguments(draw: st.DrawFn, command: list[str]) -> list[str]:
    """A command line with up to two arguments replaced, left out, or added."""
    changed = list(command)
    for _ in range(draw(st.integers(1, 2))):
        position = draw(st.integers(0, len(changed) - 1))
        what = draw(st.sampled_from(["replaced"] * 5 + ["left out", "added"]))
        other = [] if what == "left out" else [draw(st.sampled_from(WRONG_ARGUMENTS))]
        changed[position : position + (what != "added")] = other
        if not changed:
            break
    return changed
