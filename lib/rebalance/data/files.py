"""Files and folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rebalance.errors import InputError


def prepare_folder(path: str | Path) -> Path:
    """The folder, made if it is absent; ``InputError`` if the path is something else."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: must be a folder, is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling to fill; it takes the name ``path`` if the block ends well.

    Whatever stops the block, ``path`` does not exist half-filled. What a killed process left behind
    is removed by the next call.

    Raises:
        InputError: ``path`` exists and is not an empty folder.
    """
    folder = Path(path)
    if folder.is_symlink() or (folder.exists() and (folder.is_file() or any(folder.iterdir()))):
        raise InputError(f"{folder}: already exists; remove it to make it again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    try:
        yield unfinished
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


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


def link_folder(link: str | Path, target: str | Path) -> None:
    """Make ``link`` a relative symbolic link to a folder; replaces an older link, nothing else.

    Raises:
        InputError: the target is no folder, or something that is not a link has the name.
    """
    link, target = Path(link), Path(target)
    if not target.is_dir():
        raise InputError(f"{target}: no such image folder")
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise InputError(f"{link}: exists and is not a link; remove it first")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
