"""The sub-command ``compare``."""

import argparse
import sys
from pathlib import Path

from rebalance.cli.arguments import count, finite, output_file


def add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to the command line."""
    parser = commands.add_parser(
        "compare",
        help="gains of detection results over a baseline, with 95%% intervals",
        description=compare_command.__doc__,
    )
    parser.add_argument("--gt", type=Path, required=True, help="COCO instances JSON")
    parser.add_argument(
        "--dt",
        nargs="+",
        required=True,
        metavar="RESULT",
        help="the baseline, then what is compared with it: COCO results JSON, a folder with "
        "detections.json, a run's folder (all of its seeds), or the name of a run in --runs",
    )
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what to call the results")
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", help="of runs by name: results/<scale>/runs"
    )
    parser.add_argument("--iou-type", default="bbox", help="bbox, segm or keypoints")
    parser.add_argument(
        "--areas-of", default="boxes", help="boxes, or masks: what is small, medium, large (segm)"
    )
    parser.add_argument("--sigmas", type=finite, nargs="+", metavar="S", help="OKS deviations")
    parser.add_argument("--resamples", type=int, default=1000, help="of the images (1000)")
    parser.add_argument("--seed", type=count, default=0, help="of the resamples (0)")
    parser.add_argument("--out", type=output_file, required=True, help="compare.json to write")
    parser.add_argument("--html", type=output_file, help="page to write")
    parser.set_defaults(run=compare_command)


def compare_command(arguments: argparse.Namespace) -> None:
    """Does it really help? Paired bootstrap over the images of AP, oLRP and their parts."""
    from rebalance.data.files import write_atomically
    from rebalance.metrics.compare import compare
    from rebalance.metrics.output import to_json
    from rebalance.report.compare import gains_text, page_html

    comparison = compare(
        arguments.gt,
        arguments.dt,
        iou_type=arguments.iou_type,
        resamples=arguments.resamples,
        seed=arguments.seed,
        areas_of=arguments.areas_of,
        runs=arguments.runs,
        names=arguments.names,
        sigmas=arguments.sigmas,
        progress=lambda message: print(message, file=sys.stderr),
    )
    write_atomically(arguments.out, to_json(comparison).encode())
    if arguments.html:
        write_atomically(arguments.html, page_html(comparison).encode())
    print(gains_text(comparison))
