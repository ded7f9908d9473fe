"""The ``rebalance data`` sub-commands: one per step from an archive or a seed to COCO JSON."""

import argparse
from typing import Any


def add_data_commands(commands: Any) -> None:
    """Add ``data`` and its sub-commands to the sub-parsers of the command line."""
    parser = commands.add_parser("data", help="make datasets: download, extract, convert, draw")
    steps = parser.add_subparsers(dest="step", required=True)
    _add_shapes(steps)


def _add_shapes(steps: Any) -> None:
    parser = steps.add_parser("shapes", help="draw the synthetic set in COCO layout")
    _add_shapes_arguments(parser)
    parser.set_defaults(run=_shapes)


def _add_shapes_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, help="dataset folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-train", type=int, default=1000, help="training images")
    parser.add_argument("--num-val", type=int, default=200, help="validation images")
    parser.add_argument("--image-size", type=int, default=96, help="longer side, pixels")
    parser.add_argument(
        "--vary-aspect", action="store_true", help="two thirds of the images 3:4 or 4:3"
    )


def _shapes(arguments: argparse.Namespace) -> None:
    from rebalance.data.shapes import make_shapes

    make_shapes(
        arguments.out,
        num_train=arguments.num_train,
        num_val=arguments.num_val,
        image_size=arguments.image_size,
        seed=arguments.seed,
        vary_aspect=arguments.vary_aspect,
    )
