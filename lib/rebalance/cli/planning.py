"""The sub-commands ``plan``, ``probe`` and ``status``."""

import argparse
import json
from typing import Any

from rebalance.cli.arguments import positive_int
from rebalance.cli.experiments import add_scale_arguments


def add_planning_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add them to the command line."""
    plan = commands.add_parser("plan", help="what targets take, before anything runs")
    _add_targets(plan)
    plan.add_argument(
        "--gpus", type=positive_int, help="devices at a time (default: those of a training)"
    )
    plan.add_argument("--device", help="whose times count, of those that were probed")
    plan.add_argument("--json", action="store_true", help="instead of a table")
    plan.set_defaults(run=plan_command)

    probe = commands.add_parser(
        "probe", help="train a few iterations of each detector, for `rebalance plan`"
    )
    _add_targets(probe)
    probe.add_argument("--threads", type=positive_int, help="of the CPU")
    probe.set_defaults(run=probe_command)

    status = commands.add_parser("status", help="what is made, running, failed and waiting")
    _add_targets(status)
    status.add_argument("--json", action="store_true", help="instead of a table")
    status.set_defaults(run=status_command)


def _add_targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="*", help="tables, figures, works (default: those of all works)"
    )
    add_scale_arguments(parser)


def _jobs(arguments: argparse.Namespace) -> Any:
    from rebalance.config.experiments import load_experiments
    from rebalance.config.memory import Memory
    from rebalance.planning.jobs import Jobs

    experiments = load_experiments(check_runs=False, memory=Memory())
    scale = arguments.scale or experiments.settings.scale
    return Jobs(experiments, scale, arguments.data)


def plan_command(arguments: argparse.Namespace) -> None:
    """Print what each target takes, and all of them together."""
    from rebalance.planning.measured import Measured
    from rebalance.planning.plan import Plan, as_json, table

    jobs = _jobs(arguments)
    targets = jobs.targets(arguments.targets)
    plan = Plan(jobs, Measured(jobs, arguments.device), arguments.gpus)
    total = plan.costs(targets)
    rows = {**{target.name: plan.costs([target]) for target in targets}, "all": total}
    if arguments.json:
        print(json.dumps(as_json(rows, plan), indent=1))
        return
    shown = {name: costs for name, costs in rows.items() if costs.jobs or name == "all"}
    print(table(shown))
    made = len(rows) - len(shown)
    if made:
        print(f"made already: {made} of {len(targets)} targets")
    if rows["all"].unknown:
        print(
            f"hours are without {len(rows['all'].unknown)} runs of which nothing is known: "
            f"`rebalance probe --scale {jobs.scale}`, on the device that trains, tells"
        )


def probe_command(arguments: argparse.Namespace) -> None:
    """Print the name of the file that holds what was measured."""
    from rebalance.planning.probe import probe

    jobs = _jobs(arguments)
    print(probe(jobs, jobs.targets(arguments.targets), arguments.threads))


def status_command(arguments: argparse.Namespace) -> None:
    """Print how far each target is, what runs, and the last lines of what failed."""
    from rebalance.planning.status import as_json, find_states, table

    jobs = _jobs(arguments)
    targets = jobs.targets(arguments.targets)
    states = find_states(jobs, targets)
    if arguments.json:
        print(json.dumps(as_json(jobs, targets, states), indent=1))
    else:
        print(table(jobs, targets, states))
