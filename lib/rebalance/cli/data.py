"""The ``rebalance data`` sub-commands: one per step from an archive or a seed to COCO JSON."""

import argparse
from pathlib import Path
from typing import Any

from rebalance.cli.arguments import count, finite, output_file, output_folder, positive_int

# What a sub-command needs is imported when it runs: the command line must answer at once.


def add_data_commands(commands: Any) -> None:
    """Add ``data`` and its sub-commands to the sub-parsers of the command line."""
    parser = commands.add_parser("data", help="make datasets: download, extract, convert, draw")
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("shapes", help="draw the synthetic set in COCO layout")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    _add_drawing_options(step)
    step.set_defaults(run=_shapes)

    step = steps.add_parser("shapes-voc", help="draw the synthetic set in Pascal VOC layout")
    step.add_argument(
        "--out",
        required=True,
        type=output_folder,
        help="to make: VOC2007/ and VOC2012/ in it",
    )
    _add_drawing_options(step)
    step.set_defaults(run=_shapes_voc)

    step = steps.add_parser("download", help="download a file: resumed, verified, never twice")
    what = step.add_mutually_exclusive_group(required=True)
    what.add_argument("--source", help="name of a known archive or weights file")
    what.add_argument("--url", help="any other address")
    step.add_argument("--size", type=count, help="expected bytes, with --url")
    step.add_argument("--md5", help="expected md5, with --url")
    step.add_argument("--sha256", help="expected sha256 or its first digits, with --url")
    step.add_argument("--md5-url", help="where the expected md5 is published, with --url")
    step.add_argument("--out", required=True, type=output_file, help="file to write")
    step.set_defaults(run=_download)

    step = steps.add_parser("extract", help="unpack a zip or tar archive into a new folder")
    step.add_argument("--archive", required=True)
    step.add_argument("--out", required=True, type=output_folder, help="folder to make")
    step.set_defaults(run=_extract)

    step = steps.add_parser("voc", help="convert Pascal VOC image sets to COCO JSON")
    for split in ("train", "val"):
        step.add_argument(
            f"--{split}", nargs="+", required=True, metavar="FOLDER:SET", help="merged in order"
        )
    step.add_argument(
        "--classes", nargs="+", help="names in the order of their ids; VOC's 20 by default"
    )
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.set_defaults(run=_voc)

    step = steps.add_parser("coco", help="take in the official COCO 2017 archives, unpacked")
    step.add_argument("--raw", required=True, help="folder with a folder per unpacked archive")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.set_defaults(run=_coco)

    step = steps.add_parser("coco-panoptic", help="take in COCO's panoptic archive, unpacked")
    step.add_argument("--raw", required=True, type=Path, help="folder of the unpacked archive")
    step.add_argument("--out", required=True, type=output_file, help="link to the JSON of val2017")
    step.set_defaults(run=_coco_panoptic)

    step = steps.add_parser("coco-testdev", help="take in COCO's test archives, unpacked")
    step.add_argument("--images", required=True, type=Path, help="folder with test2017")
    step.add_argument("--info", required=True, type=Path, help="folder of image_info_test2017")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.set_defaults(run=_coco_testdev)

    step = steps.add_parser("coco-folder", help="take in any folder in COCO layout")
    for split in ("train", "val"):
        step.add_argument(f"--{split}-annotations", required=True, type=Path)
        step.add_argument(f"--{split}-images", required=True, type=Path)
    step.add_argument("--drop-empty-boxes", action="store_true", help="instead of an error")
    step.add_argument("--first", type=int, help="only this many images of each split, by id")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.set_defaults(run=_coco_folder)

    step = steps.add_parser("results", help="take in a results file that the user placed")
    step.add_argument("--placed", required=True, type=Path, help="where it must be")
    step.add_argument("--panoptic", action="store_true", help="with PNGs in <name>_segments/")
    step.add_argument("--out", required=True, type=output_file, help="link to make")
    step.set_defaults(run=_results)

    step = steps.add_parser("drawn-truth", help="keypoints or panoptic segments of drawn objects")
    step.add_argument("--task", required=True, help="keypoints or panoptic")
    step.add_argument("--annotations", required=True, type=Path, help="COCO JSON with masks")
    step.add_argument("--out", required=True, type=output_file, help="JSON to write")
    step.set_defaults(run=_drawn_truth)

    step = steps.add_parser("drawn-results", help="that ground truth, spoilt by known errors")
    step.add_argument("--task", required=True, help="keypoints or panoptic")
    step.add_argument("--truth", required=True, type=Path, help="what drawn-truth wrote")
    step.add_argument("--seed", type=count, default=0)
    step.add_argument("--shift", type=finite, default=0.0, help="pixels beside, std")
    step.add_argument("--missed", type=finite, default=0.0, help="share not found")
    step.add_argument("--invented", type=finite, default=0.0, help="share of false positives")
    step.add_argument("--out", required=True, type=output_file, help="JSON to write")
    step.set_defaults(run=_drawn_results)

    step = steps.add_parser("shapes-videos", help="draw synthetic videos")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.add_argument("--seed", type=count, default=0)
    step.add_argument("--num-videos", type=positive_int, default=24)
    step.add_argument("--num-frames", type=positive_int, default=20, help="of each video")
    step.add_argument("--image-size", type=positive_int, default=96, help="side, pixels")
    step.set_defaults(run=_shapes_videos)

    step = steps.add_parser("imagenet-vid", help="take in ImageNet VID, which the user placed")
    step.add_argument("--annotations", required=True, type=Path, help="Annotations/VID/val")
    step.add_argument("--images", required=True, type=Path, help="Data/VID/val")
    step.add_argument("--categories", required=True, type=Path, help="COCO JSON that has them")
    step.add_argument("--out", required=True, type=output_folder, help="dataset folder to write")
    step.set_defaults(run=_imagenet_vid)

    step = steps.add_parser("weights", help="convert published weights to safetensors")
    step.add_argument("--weights", required=True, help="downloaded .pth file")
    step.add_argument("--out", required=True, type=output_file, help=".safetensors file to write")
    step.set_defaults(run=_weights)


def _add_drawing_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-train", type=int, default=1000, help="training images")
    parser.add_argument("--num-val", type=int, default=200, help="validation images")
    parser.add_argument("--image-size", type=int, default=96, help="longer side, pixels")
    parser.add_argument(
        "--vary-aspect", action="store_true", help="two thirds of the images 3:4 or 4:3"
    )


def _drawing_options(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("num_train", "num_val", "image_size", "seed", "vary_aspect")
    return {name: getattr(arguments, name) for name in names}


def _shapes(arguments: argparse.Namespace) -> None:
    from rebalance.data.shapes import make_shapes

    make_shapes(arguments.out, **_drawing_options(arguments))


def _shapes_voc(arguments: argparse.Namespace) -> None:
    from rebalance.data.voc import make_shapes_voc

    make_shapes_voc(arguments.out, **_drawing_options(arguments))


def _download(arguments: argparse.Namespace) -> None:
    from rebalance.data.download import download
    from rebalance.data.sources import Source, find_source
    from rebalance.errors import InputError

    given = Source(
        arguments.url or "", arguments.size, arguments.md5, arguments.sha256, arguments.md5_url
    )
    if arguments.source is None:
        source = given
    elif given != Source(""):
        raise InputError(
            "--size, --md5, --sha256 and --md5-url go with --url; a --source has its own"
        )
    else:
        source = find_source(arguments.source)
    download(
        source.url,
        arguments.out,
        size=source.size,
        md5=source.md5,
        sha256=source.sha256,
        md5_url=source.md5_url,
    )


def _extract(arguments: argparse.Namespace) -> None:
    from rebalance.data.download import extract

    extract(arguments.archive, arguments.out)


def _voc(arguments: argparse.Namespace) -> None:
    from rebalance.data.voc import voc_to_coco

    splits = {"train": arguments.train, "val": arguments.val}
    voc_to_coco(splits, arguments.out, arguments.classes)


def _coco(arguments: argparse.Namespace) -> None:
    from rebalance.data.folder import take_coco2017

    take_coco2017(arguments.raw, arguments.out)


def _coco_panoptic(arguments: argparse.Namespace) -> None:
    from rebalance.data.folder import take_coco_panoptic

    take_coco_panoptic(arguments.raw, arguments.out)


def _coco_testdev(arguments: argparse.Namespace) -> None:
    from rebalance.data.folder import take_coco_testdev

    take_coco_testdev(arguments.images, arguments.info, arguments.out)


def _coco_folder(arguments: argparse.Namespace) -> None:
    from rebalance.data.folder import FolderSplit, take_coco_folder

    splits = {
        "train": FolderSplit(arguments.train_annotations, arguments.train_images),
        "val": FolderSplit(arguments.val_annotations, arguments.val_images),
    }
    take_coco_folder(splits, arguments.out, arguments.drop_empty_boxes, arguments.first)


def _results(arguments: argparse.Namespace) -> None:
    from rebalance.data.folder import take_results

    take_results(arguments.placed, arguments.out, arguments.panoptic)


def _drawn_truth(arguments: argparse.Namespace) -> None:
    from rebalance.data.drawn import draw_truth

    draw_truth(arguments.task, arguments.annotations, arguments.out)


def _drawn_results(arguments: argparse.Namespace) -> None:
    from rebalance.data.drawn import Errors, draw_results

    errors = Errors(arguments.shift, arguments.missed, arguments.invented)
    draw_results(arguments.task, arguments.truth, errors, arguments.seed, arguments.out)


def _shapes_videos(arguments: argparse.Namespace) -> None:
    from rebalance.data.videos import make_shapes_videos

    names = ("num_videos", "num_frames", "image_size", "seed")
    make_shapes_videos(arguments.out, **{name: getattr(arguments, name) for name in names})


def _imagenet_vid(arguments: argparse.Namespace) -> None:
    from rebalance.data.videos import take_imagenet_vid

    take_imagenet_vid(arguments.annotations, arguments.images, arguments.categories, arguments.out)


def _weights(arguments: argparse.Namespace) -> None:
    from rebalance.data.weights import convert_weights

    convert_weights(arguments.weights, arguments.out)
