"""The sub-commands ``evaluate``, ``evaluate-panoptic``, ``threshold`` and ``link``."""

import argparse
import sys
import tempfile
from pathlib import Path

from rebalance import report
from rebalance.cli.arguments import finite, output_file, positive_int
from rebalance.cli.compare import add_compare
from rebalance.errors import InputError

REPORT_NOTEBOOK = Path(report.__file__).parent / "detections_report.ipynb"


def add_metric_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add them to the command line."""
    _add_evaluate(commands)
    _add_evaluate_panoptic(commands)
    _add_threshold(commands)
    _add_link(commands)
    add_compare(commands)


def _add_evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate", help="AP, AR and LRP of a detections file", description=evaluate_command.__doc__
    )
    parser.add_argument("--gt", type=Path, required=True, help="COCO instances JSON")
    parser.add_argument("--dt", type=Path, required=True, help="COCO results JSON (a list)")
    parser.add_argument("--iou-type", default="bbox", help="bbox, segm or keypoints")
    parser.add_argument(
        "--with-masks",
        action="store_true",
        help="boxes, and beside them masks under names with mask_ (in place of --iou-type)",
    )
    parser.add_argument("--tau", type=finite, default=0.5, help="IoU of a true positive in LRP")
    parser.add_argument(
        "--ious", type=finite, nargs="+", default=[], metavar="T", help="0.6 0.9 adds AP60 AP90"
    )
    parser.add_argument(
        "--max-dets",
        type=positive_int,
        nargs="+",
        metavar="N",
        help="per class and image (1 10 100)",
    )
    parser.add_argument(
        "--operating-points",
        default="detections",
        help="of LRP: detections (published code) or scores (equal scores stay together)",
    )
    parser.add_argument(
        "--weights",
        type=finite,
        nargs=3,
        default=[1.0, 1.0, 1.0],
        metavar=("TP", "FP", "FN"),
        help="importance of each error in LRP",
    )
    parser.add_argument("--quality", default="iou", help="localisation quality of LRP: iou, giou")
    parser.add_argument(
        "--ranking",
        default="scores",
        help="scores, or lower or upper: true positives ranked against or by their quality",
    )
    parser.add_argument(
        "--threshold", type=finite, metavar="S", help="adds the LRP of detections scoring >= S"
    )
    parser.add_argument(
        "--sigmas", type=finite, nargs="+", metavar="S", help="OKS deviations, unless COCO's 17"
    )
    parser.add_argument("--out", type=output_file, help="metrics.json to write")
    parser.add_argument("--per-class", type=output_file, help="CSV to write")
    parser.add_argument(
        "--matches",
        type=output_file,
        help="matches.npz to write: `rebalance compare` need not match again",
    )
    parser.add_argument("--html", type=output_file, help="report with curves to write")
    parser.add_argument(
        "--card", type=Path, metavar="RUN_DIR", help="write README.md of a run's folder anew"
    )
    parser.add_argument("--coco", action="store_true", help="print the lines of pycocotools, too")
    parser.set_defaults(run=evaluate_command)


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Compare detections with ground truth; prints the summary and writes what is asked for."""
    import time

    from rebalance.data.files import write_atomically
    from rebalance.metrics.evaluate import evaluate, evaluate_boxes_and_masks
    from rebalance.metrics.lrp import Weights
    from rebalance.metrics.matches import Matches, matches_bytes
    from rebalance.metrics.output import coco_lines, counts_line, per_class_csv, summary, to_json

    if arguments.coco and arguments.max_dets is not None:
        raise InputError(
            "--coco: its lines have COCO's numbers of detections, leave --max-dets out"
        )
    if arguments.with_masks and arguments.iou_type != "bbox":
        raise InputError(f"--with-masks: is for boxes, got --iou-type {arguments.iou_type}")
    matches: list[Matches] = []  # of boxes, and of masks where these are wanted, too
    start = time.perf_counter()
    metrics = (evaluate_boxes_and_masks if arguments.with_masks else evaluate)(
        arguments.gt,
        arguments.dt,
        tau=arguments.tau,
        ious=arguments.ious,
        max_dets=arguments.max_dets,
        operating_points=arguments.operating_points,
        weights=Weights(*arguments.weights),
        quality=arguments.quality,
        ranking=arguments.ranking,
        threshold=arguments.threshold,
        sigmas=arguments.sigmas,
        keep_matches=matches.append,
        **({} if arguments.with_masks else {"iou_type": arguments.iou_type}),
    )
    if arguments.out:
        write_atomically(arguments.out, to_json(metrics).encode())
    if arguments.per_class:
        write_atomically(arguments.per_class, per_class_csv(metrics["per_class"]).encode())
    if arguments.matches:
        write_atomically(arguments.matches, matches_bytes(matches))
    if arguments.card:
        from rebalance.report.card import write_card

        write_card(arguments.card)
    print(f"{counts_line(matches[0])}, {time.perf_counter() - start:.1f} s")
    print(summary(metrics))
    if arguments.coco:
        print(coco_lines(metrics, arguments.iou_type))
        if arguments.with_masks:
            masks = {key.removeprefix("mask_"): metrics[key] for key in metrics if "mask_" in key}
            print(f"masks:\n{coco_lines(masks, 'segm')}")
    return _write_report(arguments) if arguments.html else 0


def _write_report(arguments: argparse.Namespace) -> int:
    """0, or 1 and one line on stderr when the report's notebook failed."""
    from rebalance.report.notebooks import NotebookError, run_notebook

    executed = arguments.html.with_suffix(".failed.ipynb")
    with tempfile.TemporaryDirectory() as scratch:
        parameters = {
            "title": f"Detections of {arguments.dt.name}",
            "scale": "",
            "gt": str(arguments.gt),
            "dt": str(arguments.dt),
            "iou_type": arguments.iou_type,
            "tau": arguments.tau,
            "classes": [],
            "table": f"{scratch}/per_class.csv",
            "bitmap": f"{scratch}/detections.png",
        }
        try:
            # A report is handed on: where the files lie on this machine is not for its readers.
            run_notebook(
                REPORT_NOTEBOOK, parameters, executed, arguments.html, show_parameters=False
            )
        except NotebookError as error:
            print(f"rebalance evaluate: {error}", file=sys.stderr)
            return 1
    executed.unlink()  # kept where it failed: the traceback is in it
    print(f"{arguments.html}: report written")
    return 0


def _add_evaluate_panoptic(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    parser = commands.add_parser(
        "evaluate-panoptic",
        help="PQ and LRP of panoptic predictions",
        description=evaluate_panoptic_command.__doc__,
    )
    parser.add_argument("--gt", type=Path, required=True, help="COCO panoptic JSON")
    parser.add_argument("--dt", type=Path, required=True, help="predictions, COCO panoptic JSON")
    parser.add_argument("--gt-folder", type=Path, help="its PNGs (default: the name without .json)")
    parser.add_argument("--dt-folder", type=Path, help="its PNGs (default: the name without .json)")
    parser.add_argument("--tau", type=finite, default=0.5, help="IoU that a match must exceed")
    parser.add_argument("--out", type=output_file, help="metrics.json to write")
    parser.add_argument("--per-class", type=output_file, help="CSV to write")
    parser.set_defaults(run=evaluate_panoptic_command)


def evaluate_panoptic_command(arguments: argparse.Namespace) -> int:
    """Compare panoptic predictions with ground truth, all classes, things and stuff."""
    from rebalance.data.files import write_atomically
    from rebalance.metrics.output import per_class_csv, summary, to_json
    from rebalance.metrics.panoptic import GROUPS, evaluate_panoptic

    metrics = evaluate_panoptic(
        arguments.gt, arguments.dt, arguments.gt_folder, arguments.dt_folder, arguments.tau
    )
    if arguments.out:
        write_atomically(arguments.out, to_json(metrics).encode())
    if arguments.per_class:
        write_atomically(arguments.per_class, per_class_csv(metrics["per_class"]).encode())
    for group in GROUPS:
        print(f"{group} ({metrics[group]['N']} classes)\n{summary(metrics[group])}")
    return 0


def _add_threshold(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "threshold",
        help="keep the detections above each class's LRP-optimal threshold",
        description=threshold_command.__doc__,
    )
    parser.add_argument(
        "--metrics", type=Path, required=True, help="metrics.json of rebalance evaluate"
    )
    parser.add_argument("--dt", type=Path, required=True, help="COCO results JSON")
    parser.add_argument("--out", type=output_file, required=True, help="COCO results JSON to write")
    parser.add_argument(
        "--undefined",
        default="drop",
        help="detections of classes without a threshold: drop or keep",
    )
    parser.set_defaults(run=threshold_command)


def threshold_command(arguments: argparse.Namespace) -> int:
    """Keep the detections that score at least their class's LRP-optimal threshold."""
    import json

    from rebalance.data.files import write_atomically
    from rebalance.metrics.threshold import apply_thresholds

    kept = apply_thresholds(arguments.metrics, arguments.dt, arguments.undefined)
    write_atomically(arguments.out, json.dumps(kept).encode())
    print(f"{arguments.out}: kept {len(kept)} detections")
    return 0


def _add_link(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "link",
        help="link the detections of videos from frame to frame and score them anew",
        description=link_command.__doc__,
    )
    parser.add_argument("--gt", type=Path, required=True, help="COCO JSON of the frames")
    parser.add_argument("--dt", type=Path, required=True, help="COCO results of the frames")
    parser.add_argument("--threshold", type=finite, default=0.5, help="of every class")
    parser.add_argument(
        "--metrics", type=Path, help="metrics.json whose LRP-optimal thresholds classes get instead"
    )
    parser.add_argument("--out", type=output_file, required=True, help="COCO results JSON to write")
    parser.set_defaults(run=link_command)


def link_command(arguments: argparse.Namespace) -> int:
    """Detections of a still-image detector as the online video detector of thesis H.1 has them."""
    import json
    import math

    from rebalance.data.coco import load_coco
    from rebalance.data.files import write_atomically
    from rebalance.inputs import read_json
    from rebalance.metrics.threshold import optimal_thresholds
    from rebalance.video import Linking, link_detections

    images = load_coco(arguments.gt)["images"]
    thresholds = {}
    if arguments.metrics is not None:
        found = optimal_thresholds(arguments.metrics)
        thresholds = {key: value for key, value in found.items() if not math.isnan(value)}
    settings = Linking(threshold=arguments.threshold, thresholds=thresholds)
    linked = link_detections(images, read_json(arguments.dt, "results"), settings)
    write_atomically(arguments.out, json.dumps(linked).encode())
    print(f"{arguments.out}: {len(linked)} detections")
    return 0
