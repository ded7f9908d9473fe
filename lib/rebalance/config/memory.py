"""What was computed from the project's files, kept as long as none of them changes.

Reading, checking and resolving the configuration and digesting the code behind every job takes
seconds, which each call of Snakemake and each page would spend again.
"""

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

import pydantic

Value = TypeVar("Value")
PACKAGE = Path(__file__).resolve().parents[1]
FILE = Path(".snakemake", "rebalance.pickle")
"""Below the project's root; a project that Snakemake has never run in has no memory."""


class Memory:
    """Results of functions of the library's code and of a project's ``config`` and ``notebooks``.

    Args:
        root: the folder that holds both.
    """

    def __init__(self, root: Path = Path(".")) -> None:
        self._file = root / FILE
        self._key = _digest_of_files(root)
        self._kept: dict[Hashable, Any] = {}
        self._has_more = False
        if self._file.is_file():
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
        content = pickle.dumps(self._kept)
        handle, temporary = tempfile.mkstemp(dir=self._file.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(self._head(content) + b"\n" + content)
        os.replace(temporary, self._file)
        self._has_more = False

    def _head(self, content: bytes) -> bytes:
        return f"{self._key} {hashlib.sha256(content).hexdigest()}".encode()


def _digest_of_files(root: Path) -> str:
    digest = hashlib.sha256(f"{sys.version} {pydantic.VERSION} {root}".encode())
    folders = (PACKAGE, "**/*.py"), (root / "config", "**/*.yaml"), (root / "notebooks", "*.ipynb")
    for folder, pattern in folders:
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"\n{path} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()
