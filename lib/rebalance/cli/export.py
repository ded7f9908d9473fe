"""The sub-command ``export``."""

import argparse
from pathlib import Path

from rebalance.cli.arguments import count, output_folder
from rebalance.errors import InputError


def add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "export",
        help="pack a trained run into one folder, for rebalance.load",
        description=export_command.__doc__,
    )
    parser.add_argument(
        "--run",
        dest="trained",
        required=True,
        help="its folder (with run.yaml), or its name in results/",
    )
    parser.add_argument("--scale", help="of a run by name (default: config.yaml's)")
    parser.add_argument("--seed", type=count, default=0, help="of a run by name (0)")
    parser.add_argument("--out", type=output_folder, required=True, help="the folder to make")
    parser.set_defaults(run=export_command)


def export_command(arguments: argparse.Namespace) -> None:
    """Weights, settings, metrics and a card, which ``rebalance.load`` opens on any machine."""
    from rebalance.engine.exported import export_run
    from rebalance.report.card import card_text

    folder = _folder(arguments)
    export_run(folder, arguments.out, card_text(folder))
    print(f"{arguments.out}: {', '.join(sorted(path.name for path in arguments.out.iterdir()))}")


def _folder(arguments: argparse.Namespace) -> Path:
    if (Path(arguments.trained) / "run.yaml").is_file():
        return Path(arguments.trained)
    scale = arguments.scale
    if scale is None:
        from rebalance.config.experiments import load_experiments

        scale = load_experiments(check_runs=False).settings.scale
    folder = Path("results", scale, "runs", arguments.trained, f"seed{arguments.seed}")
    if not (folder / "run.yaml").is_file():
        raise InputError(f"--run: no run.yaml in {arguments.trained}, and none in {folder}")
    return folder
