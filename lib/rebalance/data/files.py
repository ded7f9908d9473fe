"""Files and folders that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from rebalance.errors import InputError


def prepare_folder(path: str | Path) -> Path:
    """The folder, made if it is absent; ``InputError`` if the path is something else."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: must be a folder, is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, flush it to the disk, then rename it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; data are shared with the rest of a group.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
