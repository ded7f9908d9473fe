"""The sub-commands ``evaluate``, ``evaluate-panoptic`` and ``threshold``."""

import argparse
from pathlib import Path


def add_metric_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add them to the command line."""
    _add_evaluate(commands)


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate", help="AP, AR and LRP of a detections file", description=evaluate_command.__doc__
    )
    parser.add_argument("--gt", type=Path, required=True, help="COCO instances JSON")
    parser.add_argument("--dt", type=Path, required=True, help="COCO results JSON (a list)")
    parser.add_argument("--iou-type", default="bbox", help="bbox, segm or keypoints")
    parser.add_argument("--tau", type=float, default=0.5, help="IoU of a true positive in LRP")
    parser.add_argument(
        "--ious", type=float, nargs="+", default=[], metavar="T", help="0.6 0.9 adds AP60 AP90"
    )
    parser.add_argument(
        "--max-dets", type=int, nargs="+", metavar="N", help="per class and image (1 10 100)"
    )
    parser.add_argument(
        "--operating-points",
        default="detections",
        help="of LRP: detections (published code) or scores (equal scores stay together)",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs=3,
        default=[1.0, 1.0, 1.0],
        metavar=("TP", "FP", "FN"),
        help="importance of each error in LRP",
    )
    parser.add_argument("--quality", default="iou", help="localisation quality of LRP: iou, giou")
    parser.add_argument(
        "--sigmas", type=float, nargs="+", metavar="S", help="OKS deviations, unless COCO's 17"
    )
    parser.add_argument("--out", type=Path, help="metrics.json to write")
    parser.add_argument("--per-class", type=Path, help="CSV to write")
    parser.set_defaults(run=evaluate_command)


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Compare detections with ground truth; prints the summary and writes what is asked for."""
    from rebalance.data.files import write_atomically
    from rebalance.metrics.evaluate import evaluate
    from rebalance.metrics.lrp import Weights
    from rebalance.metrics.output import per_class_csv, summary, to_json

    metrics = evaluate(
        arguments.gt,
        arguments.dt,
        iou_type=arguments.iou_type,
        tau=arguments.tau,
        ious=arguments.ious,
        max_dets=arguments.max_dets,
        operating_points=arguments.operating_points,
        weights=Weights(*arguments.weights),
        quality=arguments.quality,
        sigmas=arguments.sigmas,
    )
    if arguments.out:
        write_atomically(arguments.out, to_json(metrics).encode())
    if arguments.per_class:
        write_atomically(arguments.per_class, per_class_csv(metrics["per_class"]).encode())
    print(summary(metrics))
    return 0
