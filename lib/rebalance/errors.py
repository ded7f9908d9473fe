"""The exceptions that the command line prints in one line: what is at fault, and where."""


class InputError(ValueError):
    """Bad input (a file, a setting, an argument); the command line prints it and exits with 2.

    The message names the file (or argument), the record or field, what was got and what is allowed.
    """


class TryAgainError(Exception):
    """What stopped the work is not at fault in it; the command line prints it and exits with 75."""
