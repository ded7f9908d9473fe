"""The ``rebalance weights`` sub-commands: checkpoints of other projects in, and out."""

import argparse
from pathlib import Path
from typing import Any

from rebalance.cli.arguments import output_file, positive_int
from rebalance.errors import InputError

# What a sub-command needs is imported when it runs: the command line must answer at once.

PROJECTS = ("mmdetection", "torchvision")  # keys of ``convert.SOURCES``


def add_weight_commands(commands: Any) -> None:
    """Add ``weights`` and its sub-commands to the sub-parsers of the command line."""
    parser = commands.add_parser("weights", help="checkpoints of mmdetection and torchvision")
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("import", help="make model.safetensors of a published checkpoint")
    step.add_argument("--from", dest="project", required=True, choices=PROJECTS)
    step.add_argument("--weights", required=True, type=Path, help="its .pth or .safetensors")
    step.add_argument("--out", required=True, type=output_file, help="model.safetensors to write")
    step.add_argument(
        "--settings", type=output_file, help="run.yaml to write beside it, for `rebalance predict`"
    )
    _add_run_arguments(step)
    step.set_defaults(run=_import)

    step = steps.add_parser("export", help="give a trained run the names of another project")
    step.add_argument("--to", dest="project", required=True, choices=PROJECTS)
    step.add_argument("--weights", required=True, type=Path, help="model.safetensors of the run")
    step.add_argument(
        "--out", required=True, type=output_file, help=".pth or .safetensors to write"
    )
    _add_run_arguments(step)
    step.set_defaults(run=_export)


def _add_run_arguments(step: argparse.ArgumentParser) -> None:
    which = step.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", dest="name", help="a run, see `rebalance runs`")
    which.add_argument("--run-file", type=Path, help="resolved settings (YAML), as run.yaml")
    step.add_argument("--scale", help="a file in config/scales (default: config.yaml's)")
    step.add_argument("--data", help="folder of the data sets (default: config.yaml's)")
    step.add_argument(
        "--classes", type=positive_int, help="number of classes, where the data set is not at hand"
    )


def _import(arguments: argparse.Namespace) -> None:
    from rebalance.data.weights import read_weights, write_weights
    from rebalance.weights.convert import import_weights

    state = read_weights(arguments.weights)
    write_weights(import_weights(state, _detector(arguments), arguments.project), arguments.out)
    if arguments.settings is not None:
        _write_settings(arguments)


def _write_settings(arguments: argparse.Namespace) -> None:
    """The run.yaml that a training would have left; classes are those of the data set."""
    import yaml

    from rebalance.data.coco import load_coco
    from rebalance.data.files import write_atomically

    if arguments.name is None:
        raise InputError("--settings: needs --run, whose settings are written")
    run = _settings(arguments)
    categories = load_coco(run["dataset"]["train"]["annotations"])["categories"]
    ordered = sorted(categories, key=lambda category: category["id"])
    run["classes"] = {key + "s": [one[key] for one in ordered] for key in ("id", "name")}
    run["made_with"] = {"weights": str(arguments.weights), "project": arguments.project}
    write_atomically(arguments.settings, yaml.safe_dump(run, sort_keys=False).encode())


def _export(arguments: argparse.Namespace) -> None:
    from rebalance.data.weights import write_checkpoint, write_weights
    from rebalance.engine.trained_run import load_model
    from rebalance.weights.convert import export_weights

    if arguments.out.suffix not in (".pth", ".safetensors"):
        raise InputError(f"--out must end in .pth or .safetensors, got {arguments.out}")
    detector = _detector(arguments)
    load_model(detector, arguments.weights)
    state = export_weights(detector, arguments.project)
    if arguments.out.suffix == ".safetensors":
        write_weights(state, arguments.out)
    else:
        write_checkpoint(state, arguments.out, nested=arguments.project == "mmdetection")


def _detector(arguments: argparse.Namespace) -> Any:
    from rebalance.data.coco import load_coco
    from rebalance.detectors import build_detector

    run = _settings(arguments)
    run["backbone"].pop("weights", None)  # those of ImageNet, which would be replaced
    classes = arguments.classes
    if classes is None:
        if "dataset" not in run:
            raise InputError(
                f"{arguments.run_file}: names no data set, so that --classes is needed"
            )
        classes = len(load_coco(run["dataset"]["train"]["annotations"])["categories"])
    return build_detector(run, classes)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings of a run, as plain values."""
    from rebalance.config.experiments import load_experiments, resolve_run
    from rebalance.config.run import read_network

    if arguments.run_file is not None:
        return read_network(arguments.run_file)
    experiments = load_experiments(check_runs=False)
    scale = arguments.scale or experiments.settings.scale
    data = arguments.data or experiments.settings.data
    return resolve_run(experiments, arguments.name, scale, 0, data).model_dump()
