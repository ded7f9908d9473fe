"""The command line: one sub-command per step of the pipeline, each a call of one library function.

One module per group of sub-commands. Heavy imports stay inside the sub-commands, so that
``rebalance --help`` and ``rebalance runs`` answer at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from rebalance import __version__
from rebalance.cli.arguments import Parser
from rebalance.cli.data import add_data_commands
from rebalance.cli.evaluation import add_metric_commands
from rebalance.cli.experiments import add_experiment_commands
from rebalance.cli.export import add_export
from rebalance.cli.pages import add_report_commands
from rebalance.cli.planning import add_planning_commands
from rebalance.cli.training import add_engine_commands
from rebalance.cli.weights import add_weight_commands
from rebalance.errors import InputError
from rebalance.locks import BusyError

EXTRAS = {
    "matplotlib": "plots",
    "pandas": "plots",
    "jupyter_client": "notebooks",
    "nbclient": "notebooks",
    "nbconvert": "notebooks",
    "nbformat": "notebooks",
    "papermill": "notebooks",
}
"""Packages that pages need, and the extra of ``pip install`` that brings each."""


def build_parser() -> argparse.ArgumentParser:
    """The parser; every sub-command sets ``run``, a function of the parsed arguments."""
    parser: argparse.ArgumentParser = Parser(
        prog="rebalance",
        description="Every step from data sets to rendered pages. What Snakemake runs may be run "
        "by hand; `rebalance <command> --help` says what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"rebalance {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    add_experiment_commands(commands)
    add_planning_commands(commands)
    add_data_commands(commands)
    add_engine_commands(commands)
    add_metric_commands(commands)
    add_report_commands(commands)
    add_weight_commands(commands)
    add_export(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; 0 on success; one line on stderr and 2 for bad input,
    75 (EX_TEMPFAIL: start again) where another process is at work, or one of its own was killed."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = build_parser().parse_args(given)
    arguments.given = given
    try:
        result = arguments.run(arguments)
    except InputError as error:
        print(f"rebalance {arguments.command}: {error}", file=sys.stderr)
        return 2
    except BusyError as error:
        print(f"rebalance {arguments.command}: {error}", file=sys.stderr)
        return os.EX_TEMPFAIL
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        extra = f"pip install 'rebalance[{EXTRAS[error.name]}]'"
        print(f"rebalance {arguments.command}: needs {error.name}: {extra}", file=sys.stderr)
        return 2
    except RuntimeError as error:  # torch raises it wherever the main thread is at that moment
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).splitlines()[0]
        print(
            f"rebalance {arguments.command}: a process that loads images was killed ({reason}); is "
            "there memory for hardware.num_workers? Start again",
            file=sys.stderr,
        )
        return os.EX_TEMPFAIL
    except OSError as error:  # a full disk, a file system that is read-only or went away
        where = f"{error.filename}: " if error.filename else ""
        print(f"rebalance {arguments.command}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return result or 0
