"""The one exception that means: the user's input is at fault, and the message says where."""


class InputError(ValueError):
    """Bad input (a file, a setting, an argument); the command line prints it and exits with 2.

    The message names the file (or argument), the record or field, what was got and what is allowed.
    """
