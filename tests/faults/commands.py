"""What a process of ``test_killed`` runs; a module of its own, for each of them imports it."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from rebalance.cli import main


def command(argv: list[str], folder: str, messages: str) -> None:
    """A command line in a folder; what it says is appended to a file."""
    os.chdir(folder)
    with Path(messages).open("a", buffering=1) as file:  # noqa: SIM117
        with redirect_stdout(file), redirect_stderr(file):
            sys.exit(main(argv))
