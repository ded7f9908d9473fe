"""The sub-commands that read the configuration: ``runs``, ``show`` and ``render``."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rebalance.cli.arguments import count, output_file, positive_int

NUM_CLASSES = {"coco_download": 80, "voc_download": 20}
"""Of data sets by kind, where they need not be at hand to know it."""


def add_experiment_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add them to the command line."""
    runs = commands.add_parser("runs", help="list the runs and the targets that show them")
    runs.set_defaults(run=list_runs)

    show = commands.add_parser("show", help="print one run, resolved for a scale")
    show.add_argument("name", metavar="RUN", help="a run, see `rebalance runs`")
    add_scale_arguments(show)
    show.add_argument("--seed", type=count, default=0)
    show.add_argument(
        "--classes", type=positive_int, help="number of classes, where the data set is not at hand"
    )
    show.set_defaults(run=show_run)

    render = commands.add_parser("render", help="execute the notebook of one table or figure")
    render.add_argument("target", help="for example focal_eiou_table_2")
    add_scale_arguments(render)
    render.add_argument(
        "--seeds", type=count, nargs="+", help="of the trainings (default: config.yaml's)"
    )
    render.add_argument("--executed", type=output_file, required=True, help="notebook with outputs")
    render.add_argument("--html", type=output_file, required=True, help="rendered page")
    render.set_defaults(run=render_command)


def add_scale_arguments(parser: argparse.ArgumentParser) -> None:
    """``--scale`` and ``--data``; by default those of ``config/config.yaml``."""
    parser.add_argument("--scale", help="a file in config/scales (default: config.yaml's)")
    parser.add_argument("--data", help="folder of the data sets (default: config.yaml's)")


def list_runs(arguments: argparse.Namespace) -> None:
    """Print every run with the tables and figures that show it."""
    from rebalance.config.experiments import load_experiments
    from rebalance.config.memory import Memory
    from rebalance.config.targets import Curves

    experiments = load_experiments(memory=Memory())
    shown: dict[str, list[str]] = {run: [] for run in experiments.runs}
    for target in experiments.targets.values():
        for row in [] if isinstance(target, Curves) else target.runs:
            shown[row.run].append(target.name)
    width = max(map(len, shown))
    for run, targets in shown.items():
        print(f"{run:{width}}  {', '.join(targets)}")


def show_run(arguments: argparse.Namespace) -> None:
    """Print one resolved run as YAML, and in a comment below it how many parameters it has."""
    import yaml

    from rebalance.config.experiments import load_experiments, resolve_run
    from rebalance.config.memory import Memory

    experiments = load_experiments(memory=Memory())
    scale = arguments.scale or experiments.settings.scale
    data = arguments.data or experiments.settings.data
    run = resolve_run(experiments, arguments.name, scale, arguments.seed, data)
    resolved = run.model_dump()
    print(yaml.safe_dump(resolved, sort_keys=False), end="")
    kind = experiments.datasets[resolved["dataset"]["name"]].model_dump()["kind"]
    classes = arguments.classes or NUM_CLASSES.get(kind) or _annotated_classes(resolved)
    if classes is None:
        print("# parameters: not known before the data set is there; give --classes")
        return
    from rebalance.detectors import count_parameters

    total, trainable = count_parameters(resolved, classes)
    print(f"# parameters: {total:,} with {classes} classes, {trainable:,} of them trainable")


def _annotated_classes(resolved: Mapping[str, Any]) -> int | None:
    """Number of classes by the annotations, if they are there."""
    path = Path(resolved["dataset"]["train"]["annotations"])
    if not path.is_file():
        return None
    from rebalance.data.coco import load_coco

    return len(load_coco(path)["categories"])


def render_command(arguments: argparse.Namespace) -> int:
    """0, or 1 and one line on stderr when a cell of the notebook failed."""
    from rebalance.cli import page_server

    if page_server.VARIABLE in os.environ:
        try:
            return page_server.run_on_server(os.environ[page_server.VARIABLE], arguments.given)
        except OSError as error:
            reason = error.strerror or error
            print(f"rebalance render: no page server ({reason}): alone", file=sys.stderr)
    from rebalance.config.experiments import load_experiments
    from rebalance.config.memory import Memory
    from rebalance.report.notebooks import NotebookError, run_notebook
    from rebalance.report.page import write_look
    from rebalance.report.place import place_of

    experiments = load_experiments(check_runs=False, memory=Memory())
    target = experiments.target(arguments.target)
    scale = arguments.scale or experiments.settings.scale
    results = experiments.results(scale, arguments.data, arguments.seeds)
    notebook = experiments.root / "notebooks" / f"{target.notebook}.ipynb"
    place = place_of(experiments, target, results, arguments.html)
    given = target.parameters(results)
    try:
        run_notebook(notebook, given, arguments.executed, arguments.html, place)
    except NotebookError as error:
        print(f"rebalance render: {error}", file=sys.stderr)
        return 1
    write_look(results.folder)
    return 0
