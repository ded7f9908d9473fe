"""Files and folders that appear whole or not at all."""

import glob
import os
import shutil
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rebalance.errors import InputError, writing
from rebalance.locks import NoLocksError, hold, locked, still_there, try_lock

UNFINISHED = ".unfinished"
"""Ends the temporary names of what is being written."""

MADE_FROM = ".made_from"
"""In a folder that was made at once: from what."""

DAMAGED_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, UnicodeDecodeError
)  # fmt: skip
"""What zipfile raises for damaged bytes. RuntimeError: encrypted, or an unknown compression."""


def prepare_folder(path: str | Path) -> Path:
    """The folder, made if it is absent; ``InputError`` if the path is something else."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: must be a folder, is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def own_folder(path: str | Path) -> Iterator[Path]:
    """``prepare_folder``, with no other process writing there meanwhile (``locks.locked``)."""
    folder = prepare_folder(path)
    with locked(folder / ".lock", f"writing to {folder}"), writing(folder):
        yield folder


def make_folder(path: str | Path, made_from: str, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` put files into a temporary sibling, which takes the name ``path`` if it returns.

    Whatever stops it, ``path`` does not exist half-filled. What a killed process left behind is
    removed by the next call. Of several processes at once one fills the folder; the others wait
    for it. A folder that is there and was made from the same is left as it is.

    Args:
        path: of the folder.
        made_from: what decides its content; kept in it, in ``.made_from``.
        fill: gets the temporary folder.

    Raises:
        InputError: ``path`` exists and is neither an empty folder nor made from the same, or has no
            name of its own, as ``.`` has none.
    """
    folder = Path(path)
    if folder.name in ("", ".."):
        raise InputError(f"{folder}: must be the name of a folder to make")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock"), f"making {folder}") as alone:
        if _is_taken(folder):
            if not _was_made_from(made_from, folder):
                raise InputError(f"{folder}: already exists; remove it to make it again")
            print(f"{folder}: is there already; remove it to make it again", file=sys.stderr)
            return
        for leftover in _unfinished(folder) if alone else []:
            shutil.rmtree(leftover)
        # A name of its own even so: where there are no locks it keeps two processes apart.
        unfinished = Path(tempfile.mkdtemp(UNFINISHED, f".{folder.name}.", folder.parent))
        try:
            unfinished.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
            with writing(folder):
                fill(unfinished)
                (unfinished / MADE_FROM).write_text(made_from)
            if folder.exists():
                folder.rmdir()
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def write_atomically(path: str | Path, content: bytes, former: Path | None = None) -> None:
    """Write a file under a temporary name beside it, flush it to the disk, then rename it.

    What processes that were killed have left of such writing is removed.

    Args:
        path: of the file.
        content: of the file.
        former: name for the file that was there; None drops it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _unfinished(path):
        _remove_if_abandoned(leftover)
    handle, temporary = _temporary_file(path)
    try:
        with writing(path), os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes private files; data are shared with the rest of a group.
            temporary.chmod(0o666 & ~_umask())
            if former is not None and path.exists():
                path.replace(former)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
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


def _is_taken(folder: Path) -> bool:
    """Whether the name is that of anything but an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return True
    return folder.is_dir() and any(folder.iterdir())


def _was_made_from(made_from: str, folder: Path) -> bool:
    mark = folder / MADE_FROM
    return mark.is_file() and mark.read_text(errors="replace") == made_from


def _unfinished(path: Path) -> list[Path]:
    """What writers of a file or folder have not finished, or not yet."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*{UNFINISHED}"))


def _temporary_file(path: Path) -> tuple[int, Path]:
    """An open file beside ``path``, locked so that nobody takes it for a leftover."""
    while True:
        handle, name = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
        with suppress(NoLocksError):
            hold(handle)
        if still_there(Path(name), handle):
            return handle, Path(name)
        os.close(handle)  # it was taken for one before it was locked


def _remove_if_abandoned(leftover: Path) -> None:
    """Remove a temporary file unless its writer is alive, which then holds a lock on it."""
    try:
        handle = try_lock(leftover, create=False)
    except (FileNotFoundError, PermissionError, NoLocksError):
        return  # finished meanwhile, another user's, or nobody knows
    if handle is not None:
        leftover.unlink(missing_ok=True)
        os.close(handle)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
