"""What was computed from the project's files, kept as long as these do not change.

Reading, checking and resolving the configuration and digesting the code behind every job takes
seconds, which each call of Snakemake and each page would spend again.
"""

import hashlib
import io
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import pydantic

from rebalance.config.part import Options, Part, extended

Value = TypeVar("Value")
Origin = Literal["everything", "configuration", "library"]
"""What a value was computed from, beside the rules: all files; ``config``, ``notebooks`` and the
code that reads them; the library."""
PACKAGE = Path(__file__).resolve().parents[1]
FILE = Path(".snakemake", "rebalance.pickle")
"""Below the project's root; a project that Snakemake has never run in has no memory."""


class _Kept(NamedTuple):
    state: str  # digest of what it was computed from
    pickled: bytes  # apart from others: of code that changed since, nothing can be unpickled


class Memory:
    """Results of functions of the code (library, rules) and of ``config`` and ``notebooks``.

    Args:
        root: the folder that holds ``config``, ``notebooks`` and ``workflow``.
    """

    def __init__(self, root: Path = Path(".")) -> None:
        self._file = root / FILE
        self._states = _states(root)
        self._kept: dict[Hashable, _Kept] = {}
        self._values: dict[Hashable, Any] = {}
        self._has_more = False
        # Of ours alone: what is unpickled may run code.
        if self._file.is_file() and self._file.stat().st_uid == os.getuid():
            head, _, content = self._file.read_bytes().partition(b"\n")
            if head == _head(content):  # whole
                current = set(self._states.values())
                kept = ((what, _Kept(*entry)) for what, entry in pickle.loads(content).items())
                self._kept = {what: entry for what, entry in kept if entry.state in current}

    def recall(
        self, what: Hashable, compute: Callable[[], Value], of: Origin = "everything"
    ) -> Value:
        """What was computed under this name from the same files before, or is now."""
        if what not in self._values:
            kept = self._kept.get(what)
            if kept is not None and kept.state == self._states[of]:
                self._values[what] = pickle.loads(kept.pickled)
            else:
                self._values[what] = compute()
                self._kept[what] = _Kept(self._states[of], _pickled(self._values[what]))
                self._has_more = True
        value: Value = self._values[what]
        return value

    def save(self) -> None:
        """Write what is new for the next process, if there is a folder for it."""
        if not self._has_more or not self._file.parent.is_dir():
            return
        content = pickle.dumps({what: tuple(entry) for what, entry in self._kept.items()})
        handle, temporary = tempfile.mkstemp(dir=self._file.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_head(content) + b"\n" + content)
        os.replace(temporary, self._file)
        self._has_more = False


class _Pickler(pickle.Pickler):
    """Knows those parts, too, whose class has no name in any module: the extended ones."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Part) and kind.__module__ == extended.__module__:
            options, part = kind.__bases__
            return _new_extended, (part, options), value.__getstate__()
        return NotImplemented


def _pickled(value: Any) -> bytes:
    written = io.BytesIO()
    _Pickler(written).dump(value)
    return written.getvalue()


def _new_extended(part: type[Part], options: type[Options]) -> Part:
    kind = extended(part, options)
    return kind.__new__(kind)


def _head(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _states(root: Path) -> dict[Origin, str]:
    """Digest of the files behind what is kept, by these."""
    folders = (
        (PACKAGE, "**/*.py"),
        (root / "config", "**/*.yaml"),
        (root / "notebooks", "*.ipynb"),
        (root / "workflow", "rules/*.smk"),
    )
    contents = {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for folder, pattern in folders
        for path in sorted(folder.glob(pattern))
    }

    def state(*paths: Path) -> str:
        said = "".join(f"\n{path} {contents[path]}" for path in paths)
        return hashlib.sha256(f"{sys.version} {pydantic.VERSION} {root}{said}".encode()).hexdigest()

    library = [path for path in contents if path.suffix == ".py"]
    rules = [path for path in contents if path.suffix == ".smk"]
    # The configuration is read by modules of its folder, which use some at the top of the package.
    config = PACKAGE / "config"
    reads = [path for path in library if path.parent == PACKAGE or config in path.parents]
    others = [path for path in contents if path not in library]
    return {
        "everything": state(*contents),
        "configuration": state(*reads, *others),
        "library": state(*library, *rules),
    }
