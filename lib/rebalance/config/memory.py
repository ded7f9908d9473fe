"""What was computed from the project's files, kept as long as none of them changes.

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
from typing import Any, TypeVar

import pydantic

from rebalance.config.part import Options, Part, extended

Value = TypeVar("Value")
PACKAGE = Path(__file__).resolve().parents[1]
FILE = Path(".snakemake", "rebalance.pickle")
"""Below the project's root; a project that Snakemake has never run in has no memory."""


class Memory:
    """Results of functions of the code (library, rules) and of ``config`` and ``notebooks``.

    Args:
        root: the folder that holds ``config``, ``notebooks`` and ``workflow``.
    """

    def __init__(self, root: Path = Path(".")) -> None:
        self._file = root / FILE
        self._key = _digest_of_files(root)
        self._kept: dict[Hashable, Any] = {}
        self._has_more = False
        # Of ours alone: what is unpickled may run code.
        if self._file.is_file() and self._file.stat().st_uid == os.getuid():
            head, _, content = self._file.read_bytes().partition(b"\n")
            if head == self._head(content):  # of these files, and whole
                self._kept = pickle.loads(content)

    def recall(self, what: Hashable, compute: Callable[[], Value]) -> Value:
        """What was computed under this name before, or is now."""
        if what not in self._kept:
            self._kept[what] = compute()
            self._has_more = True
        value: Value = self._kept[what]
        return value

    def save(self) -> None:
        """Write what is new for the next process, if there is a folder for it."""
        if not self._has_more or not self._file.parent.is_dir():
            return
        written = io.BytesIO()
        _Pickler(written).dump(self._kept)
        content = written.getvalue()
        handle, temporary = tempfile.mkstemp(dir=self._file.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(self._head(content) + b"\n" + content)
        os.replace(temporary, self._file)
        self._has_more = False

    def _head(self, content: bytes) -> bytes:
        return f"{self._key} {hashlib.sha256(content).hexdigest()}".encode()


class _Pickler(pickle.Pickler):
    """Knows those parts, too, whose class has no name in any module: the extended ones."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Part) and kind.__module__ == extended.__module__:
            options, part = kind.__bases__
            return _new_extended, (part, options), value.__getstate__()
        return NotImplemented


def _new_extended(part: type[Part], options: type[Options]) -> Part:
    kind = extended(part, options)
    return kind.__new__(kind)


def _digest_of_files(root: Path) -> str:
    digest = hashlib.sha256(f"{sys.version} {pydantic.VERSION} {root}".encode())
    for folder, pattern in (
        (PACKAGE, "**/*.py"),
        (root / "config", "**/*.yaml"),
        (root / "notebooks", "*.ipynb"),
        (root / "workflow", "rules/*.smk"),
    ):
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"\n{path} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
