"""One process at a time: a lock says who holds it and ends with the process that does.

A lock is ``flock`` on a file of its own; the file exists while the lock is held and says whose it
is. The kernel releases it when its process ends, however that happens; the file of a killed process
may stay, and the next one takes it over.

How far it reaches: always over the processes of one machine, and over those of several on NFS
(Linux passes ``flock`` on to the server), GPFS, CephFS and Lustre mounted with ``flock``. On Lustre
with ``localflock`` the nodes do not see each other's locks. A file system that keeps none (Lustre
with ``noflock``) is told of, and work goes on without.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rebalance.errors import writing

_HELD = {errno.EAGAIN, errno.EACCES}
_NOT_KEPT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between two attempts; each may ask a server


class BusyError(Exception):
    """Another process works there and the wait for it is over; start again later."""


class NoLocksError(OSError):
    """The file system keeps no locks."""


@contextmanager
def locked(
    path: Path,
    doing: str,
    wait: float | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Iterator[bool]:
    """Hold the lock ``path`` during the block; while another process holds it, wait for that.

    Args:
        path: of the file, whose folder exists.
        doing: what is done there, for messages: "training in results/run/seed0".
        wait: seconds at most; None waits for as long as the other process lives.
        stop_requested: ends the wait.

    Yields:
        Whether there is a lock: False on a file system that keeps none.

    Raises:
        BusyError: the wait was over, or was asked to end; the message says who holds the lock.
    """
    try:
        handle = _wait_for(path, doing, wait, stop_requested)
    except NoLocksError as error:
        print(
            f"{path.parent}: the file system keeps no locks ({error.strerror}): see to it that "
            f"nothing else is {doing}",
            file=sys.stderr,
        )
        yield False
        return
    try:
        with writing(path):
            os.truncate(handle, 0)
            os.pwrite(handle, json.dumps(_this_process()).encode(), 0)
        yield True
    finally:
        # Before the release: whoever waits with this file open sees that it is no longer the one.
        path.unlink(missing_ok=True)
        os.close(handle)


def try_lock(path: Path, create: bool = True) -> int | None:
    """A descriptor that holds the lock until it is closed; None while another process has it.

    Raises:
        NoLocksError: the file system keeps no locks.
        OSError: the file cannot be opened.
    """
    while True:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o666)
        try:
            # The one who held it before may have removed the file since it was opened.
            if hold(handle) and still_there(path, handle):
                return handle
            elsewhere = still_there(path, handle)
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        if elsewhere:
            return None


def holder_of(path: Path) -> str | None:
    """Who holds a lock, in words; None: nobody does, or the file system keeps no locks."""
    try:
        handle = try_lock(path, create=False)
    except (FileNotFoundError, PermissionError, NoLocksError):
        return None
    if handle is None:
        return _holder(path)
    os.close(handle)
    return None


def remove_unless_in_use(mark: Path, leftovers: Path) -> None:
    """Remove the files in a folder unless a process that has called this with ``mark`` is alive.

    For locks that do not end with their process, as Snakemake's do not. Where the file system keeps
    no locks nothing is removed.

    Args:
        mark: a file, made if it is absent; this process holds a shared lock on it until it ends.
        leftovers: the folder.
    """
    mark.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if hold(handle):
            for path in leftovers.glob("*"):
                path.unlink(missing_ok=True)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except NoLocksError:
        os.close(handle)


def hold(handle: int) -> bool:
    """Lock an open file until it is closed; False while another process holds it.

    Raises:
        NoLocksError: the file system keeps no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _NOT_KEPT:
            raise NoLocksError(error.errno, error.strerror) from None
        raise
    return True


def still_there(path: Path, handle: int) -> bool:
    """Whether an open file is the one that has the name now."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _wait_for(
    path: Path, doing: str, wait: float | None, stop_requested: Callable[[], bool]
) -> int:
    begin, pause, told = time.monotonic(), _FIRST_PAUSE, ""
    while (handle := try_lock(path)) is None:
        holder = _holder(path)
        if stop_requested() or (wait is not None and time.monotonic() - begin >= wait):
            raise BusyError(f"{holder} is {doing}; start again when it has ended")
        if holder != told:
            print(f"{holder} is {doing}: waiting until it ends", file=sys.stderr)
            told = holder
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return handle


def _this_process() -> dict[str, str | int | None]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _holder(path: Path) -> str:
    """Who holds a lock, in words; another process may be about to write or to remove the file."""
    try:
        owner = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return "another process"
    job = f" of SLURM job {owner['slurm_job']}" if owner["slurm_job"] else ""
    return f"process {owner['process']} on {owner['host']}{job}"
