"""The sub-commands ``train``, ``predict``, ``evaluate-epochs``, ``positives`` and ``speed``."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rebalance.cli.arguments import count, finite, output_file, output_folder, positive_int
from rebalance.errors import InputError


def add_engine_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add them to the command line."""
    train = commands.add_parser("train", help="train one run, or go on with it")
    train.add_argument("name", nargs="?", help="a run of config/papers, see `rebalance runs`")
    train.add_argument("--scale", help="a file of config/scales")
    train.add_argument("--seed", type=count, default=0)
    train.add_argument("--data", default="data", help="folder of the data sets")
    train.add_argument("--run-file", type=Path, help="resolved settings (YAML) in place of a name")
    train.add_argument("--threads", type=positive_int, help="of the CPU; results depend on it")
    train.add_argument(
        "--wait",
        type=finite,
        metavar="SECONDS",
        help="for another training in the folder (default: until it ends)",
    )
    train.add_argument(
        "--tensorboard",
        type=output_folder,
        metavar="FOLDER",
        help="gets the log's scalars in RUN/seedK, for TensorBoard; no result depends on it",
    )
    train.add_argument("--out", type=output_folder, required=True, help="folder of the results")
    train.set_defaults(run=train_command)

    predict = commands.add_parser("predict", help="detections of a trained run")
    predict.add_argument("--run-dir", type=Path, required=True, help="model.safetensors, run.yaml")
    predict.add_argument("--split", choices=["train", "val"], default="val")
    predict.add_argument("--variant", default="default", help="of the run's test settings")
    predict.add_argument(
        "--settings", help="changes to detector.test: a YAML or JSON file, or JSON itself"
    )
    predict.add_argument(
        "--annotations", type=Path, help="COCO JSON of other images, with --images"
    )
    predict.add_argument("--images", type=Path, help="their folder")
    predict.add_argument("--threads", type=positive_int, help="of the CPU")
    predict.add_argument(
        "--out",
        type=output_file,
        required=True,
        help="detections.json, or a .zip as the COCO server takes it",
    )
    predict.set_defaults(run=predict_command)

    epochs = commands.add_parser(
        "evaluate-epochs", help="metrics of the weights that a run kept after each epoch"
    )
    epochs.add_argument("--run-dir", type=Path, required=True, help="run.yaml, epochs/")
    epochs.add_argument(
        "--settings", help="changes to detector.test: a YAML or JSON file, or JSON itself"
    )
    epochs.add_argument("--tau", type=finite, default=0.5, help="as of `rebalance evaluate`")
    epochs.add_argument("--ranking", default="scores", help="as of `rebalance evaluate`")
    epochs.add_argument(
        "--ious", type=finite, nargs="+", default=[], metavar="T", help="0.6 0.9 adds AP60 AP90"
    )
    epochs.add_argument("--with-masks", action="store_true", help="as of `rebalance evaluate`")
    epochs.add_argument("--threads", type=positive_int, help="of the CPU")
    epochs.add_argument("--out", type=output_file, required=True, help="epochs.json")
    epochs.set_defaults(run=evaluate_epochs_command)

    positives = commands.add_parser(
        "positives", help="what the positives of a trained run look like, over the training images"
    )
    positives.add_argument(
        "--run-dir", type=Path, required=True, help="model.safetensors, run.yaml"
    )
    positives.add_argument("--threads", type=positive_int, help="of the CPU")
    positives.add_argument("--out", type=output_file, required=True, help="positives.json")
    positives.set_defaults(run=positives_command)

    speed = commands.add_parser("speed", help="what a trained run takes on this machine")
    speed.add_argument("--run-dir", type=Path, required=True, help="model.safetensors, run.yaml")
    speed.add_argument("--threads", type=positive_int, help="of the CPU")
    speed.add_argument("--out", type=output_file, required=True, help="speed.json")
    speed.set_defaults(run=speed_command)


def train_command(arguments: argparse.Namespace) -> int:
    """0 when finished, 75 (EX_TEMPFAIL: start again) after a signal, 1 if a loss is not finite."""
    run, epochs, resources = _resolved(arguments)
    if resources is not None:
        from rebalance.engine.slurm import become_tasks, needs_tasks

        devices = run["hardware"]["devices"]
        nodes = resources.nodes_for(devices)
        if needs_tasks(nodes, os.environ):
            become_tasks(devices, nodes, resources.threads)
    from rebalance.distributed import is_main_process
    from rebalance.engine.checkpoint import OutputError
    from rebalance.engine.train import NonFiniteLossError, train

    try:
        finished = train(
            run,
            arguments.out,
            threads=arguments.threads,
            wait=arguments.wait,
            epochs=epochs,
            tensorboard=arguments.tensorboard,
        )
    except (NonFiniteLossError, OutputError) as error:
        print(f"rebalance train: {error}", file=sys.stderr)
        return 1
    # Fabric takes a helper process that ends with anything but 0 for a crash.
    return os.EX_TEMPFAIL if not finished and is_main_process() else 0


def _resolved(arguments: argparse.Namespace) -> tuple[dict[str, Any], int, Any]:
    """Settings of the run, how many epochs keep their weights, what it asks a cluster for."""
    if arguments.run_file is not None:
        if arguments.name is not None:
            raise InputError("needs a run's name or --run-file, got both")
        from rebalance.config.run import read_run

        return read_run(arguments.run_file), 0, None
    if arguments.name is None or arguments.scale is None:
        raise InputError("needs a run's name and --scale, or --run-file")
    from rebalance.config.experiments import load_experiments, resolve_run
    from rebalance.config.memory import Memory

    experiments = load_experiments(check_runs=False, memory=Memory())
    run = resolve_run(experiments, arguments.name, arguments.scale, arguments.seed, arguments.data)
    resources = experiments.scale(arguments.scale).resources.train
    return run.model_dump(), experiments.epochs(arguments.name, arguments.scale), resources


def predict_command(arguments: argparse.Namespace) -> int:
    """0."""
    settings, place = _test_settings(arguments.settings)
    others = {"annotations": arguments.annotations, "images": arguments.images}
    if None in others.values() and any(others.values()):
        raise InputError("--annotations and --images go together")
    from rebalance.engine.predict import predict

    predict(
        arguments.run_dir,
        arguments.out,
        split=arguments.split,
        variant=arguments.variant,
        test_settings=settings,
        settings_place=place,
        images={key: str(path) for key, path in others.items()} if all(others.values()) else None,
        threads=arguments.threads,
    )
    return 0


def _test_settings(argument: str | None) -> tuple[dict[str, Any], str]:
    """What ``--settings`` says, and how messages name it."""
    if argument is None:
        return {}, "--settings"
    if argument.lstrip().startswith("{"):
        import json

        try:
            return json.loads(argument), "--settings"
        except json.JSONDecodeError as error:
            raise InputError(f"--settings: not valid JSON: {error}") from error
    from rebalance.config.reading import load_yaml

    contents = load_yaml(Path(argument))
    if not isinstance(contents, dict):
        raise InputError(f"{argument}: must hold a mapping, got {type(contents).__name__}")
    return contents, argument


def evaluate_epochs_command(arguments: argparse.Namespace) -> int:
    """0."""
    settings, place = _test_settings(arguments.settings)
    from rebalance.engine.epochs import evaluate_epochs

    evaluate_epochs(
        arguments.run_dir,
        arguments.out,
        test_settings=settings,
        settings_place=place,
        tau=arguments.tau,
        ranking=arguments.ranking,
        ious=arguments.ious,
        with_masks=arguments.with_masks,
        threads=arguments.threads,
    )
    return 0


def positives_command(arguments: argparse.Namespace) -> int:
    """0."""
    from rebalance.engine.positives import collect_positives

    collect_positives(arguments.run_dir, arguments.out, threads=arguments.threads)
    return 0


def speed_command(arguments: argparse.Namespace) -> int:
    """0."""
    from rebalance.engine.speed import measure_speed

    measure_speed(arguments.run_dir, arguments.out, threads=arguments.threads)
    return 0
