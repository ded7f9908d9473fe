"""The one exception that means: the user's input is at fault, and the message says where."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input (a file, a setting, an argument); the command line prints it and exits with 2.

    The message names the file (or argument), the record or field, what was got and what is allowed.
    """


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let errors of the file system that name no file, as those of a full disk do, name this one.

    Raises:
        OSError: as the block raises it.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
