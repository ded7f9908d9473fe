"""The sub-commands ``notebook`` and ``index``."""

import argparse
import sys
from pathlib import Path

from rebalance.cli.arguments import output_file


def add_report_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add them to the command line."""
    notebook = commands.add_parser("notebook", help="run a parameterised notebook and render it")
    notebook.add_argument("notebook", type=Path, help="has one cell tagged 'parameters'")
    notebook.add_argument(
        "--parameters", type=Path, required=True, help="JSON: exactly the declared parameters"
    )
    notebook.add_argument(
        "--executed", type=output_file, required=True, help="where the notebook with outputs goes"
    )
    notebook.add_argument("--html", type=output_file, help="where the page goes (on success only)")
    notebook.set_defaults(run=run_notebook_command)

    index = commands.add_parser("index", help="write the page that shows every target as a card")
    source = index.add_mutually_exclusive_group()
    source.add_argument("--scale", help="show the configured targets at this scale")
    source.add_argument("--manifest", type=Path, help="show what this JSON lists instead")
    index.add_argument(
        "--out", type=output_file, required=True, help="the page; links are relative to it"
    )
    index.set_defaults(run=run_index_command)


def run_notebook_command(arguments: argparse.Namespace) -> int:
    """0, or 1 and one line on stderr when a cell of the notebook failed."""
    from rebalance.report.notebooks import NotebookError, read_parameters, run_notebook

    parameters = read_parameters(arguments.parameters)
    try:
        run_notebook(arguments.notebook, parameters, arguments.executed, arguments.html)
    except NotebookError as error:
        print(f"rebalance notebook: {error}", file=sys.stderr)
        return 1
    return 0


def run_index_command(arguments: argparse.Namespace) -> None:
    """Write the index page of the configured targets, or of those in a manifest."""
    from rebalance.inputs import read_json
    from rebalance.report.index import write_index

    if arguments.manifest is not None:
        manifest = read_json(arguments.manifest, "manifest")
        write_index(manifest, arguments.out, str(arguments.manifest))
        return
    from rebalance.config.experiments import load_experiments
    from rebalance.config.memory import Memory
    from rebalance.report.manifest import index_manifest

    experiments = load_experiments(check_runs=False, memory=Memory())
    scale = arguments.scale or experiments.settings.scale
    write_index(index_manifest(experiments, scale), arguments.out)
