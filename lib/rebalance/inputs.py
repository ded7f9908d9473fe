"""Input files as bytes and as JSON, refused by name when they cannot be read."""

import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from rebalance.errors import InputError


def check_is_file(path: str | Path, what: str = "file") -> Path:
    """The path of a file that is there, and is neither a folder nor a pipe or device.

    Reading a pipe waits for someone to write to it; a device may never end.

    Args:
        path: of the file.
        what: the file is, for the message: "annotation file".

    Raises:
        InputError: it is none.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such {what}") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path}: must be a file, is {kind}")
    return path


def is_inside(name: object) -> bool:
    """Whether a file name in some data is a name at all, and stays in the folder it belongs to."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """Contents of a file; InputError where there is none or it cannot be read."""
    try:
        return check_is_file(path, what).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None


def read_json(path: str | Path, what: str = "file") -> Any:
    """The value in a JSON file.

    Args:
        path: of the file.
        what: the file is, for the message: "file of metrics".

    Raises:
        InputError: there is no such file, it cannot be read, or it is not JSON.
    """
    try:
        return json.loads(read_bytes(path, what))
    except InputError:
        raise
    except ValueError as error:  # of the encoding as well
        raise InputError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid JSON: it is nested too deeply") from None


def _reason(error: OSError | ValueError) -> str:
    return str(getattr(error, "strerror", None) or error)
