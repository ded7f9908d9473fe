"""Prediction: a trained run in, detections.json (COCO results format) out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rebalance.data.coco import CocoDataset
from rebalance.data.files import write_atomically
from rebalance.detectors import build_detector
from rebalance.engine.batches import Size, prediction_batches
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.loading import (
    BatchDataset,
    LoadFailure,
    Normaliser,
    batch_loader,
    to_device,
)
from rebalance.engine.progress import progress_bar
from rebalance.errors import InputError
from rebalance.settings import merged


def predict(
    run_dir: str | Path,
    out: str | Path,
    *,
    split: str = "val",
    variant: str = "default",
    test_settings: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> None:
    """Detections of a split, best first per image; finding nothing writes an empty list.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        out: the file to write, whole or not at all.
        split: "train" or "val".
        variant: whose test settings are used, one of those in run.yaml.
        test_settings: further changes to the detector's test settings.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, unknown split or variant, a class mapping that is not
            that of the training.
    """
    run = read_run(Path(run_dir))
    if threads is not None:
        torch.set_num_threads(threads)
    if split not in ("train", "val"):
        raise InputError(f"split must be one of ['train', 'val'], got {split!r}")
    if variant not in run["variants"]:
        raise InputError(
            f"{run_dir}/run.yaml: variants are {sorted(run['variants'])}, got {variant!r}"
        )
    changes = merged(run["variants"][variant].get("test", {}), test_settings or {})
    settings = merged(run, {"detector": {"test": changes}})
    settings["backbone"].pop("weights", None)
    dataset = CocoDataset(**run["dataset"][split])
    if list(dataset.class_ids) != run["classes"]["ids"]:
        raise InputError(
            f"{run['dataset'][split]['annotations']}: category ids are {list(dataset.class_ids)}, "
            f"the model was trained on {run['classes']['ids']}"
        )
    detector = build_detector(settings, dataset.num_classes)
    load_model(detector, Path(run_dir) / "model.safetensors")
    results = run_detector(detector, dataset, settings)
    write_atomically(out, (json.dumps(results) + "\n").encode())


def read_run(run_dir: Path) -> dict[str, Any]:
    """The settings that a training left behind; InputError if they are missing or damaged."""
    path = run_dir / "run.yaml"
    try:
        run = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(run, dict) or "detector" not in run or "classes" not in run:
        raise InputError(f"{path}: not the settings of a finished training")
    return run


def load_model(detector: nn.Module, path: Path) -> None:
    """Load trained weights; InputError if the file is missing, damaged or of another network."""
    try:
        detector.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit run.yaml beside it: {error}") from error


def run_detector(
    detector: nn.Module, dataset: CocoDataset, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """COCO results of every image of a dataset, ordered as the dataset is.

    Args:
        detector: trained.
        dataset: the images.
        settings: of the run; "image", "schedule.batch_size", "hardware" are read.
    """
    fabric = single_device_fabric(settings["hardware"]["precision"])
    detector.to(fabric.device).eval()
    batches = BatchDataset(dataset, settings["image"], seed=None)
    normalise = Normaliser(settings["image"], fabric.device)
    plans = list(prediction_batches(batches.sizes, settings["schedule"]["batch_size"]))
    loader = batch_loader(
        batches, plans, settings["hardware"]["num_workers"], fabric.device.type == "cuda"
    )
    found: dict[int, list[dict[str, Any]]] = {}
    batches_of_plans = zip(plans, loader, strict=True)
    for plan, batch in progress_bar(batches_of_plans, total=len(plans), desc="predict"):
        if isinstance(batch, LoadFailure):
            raise InputError(batch.message)
        images, _ = to_device(batch, fabric.device)
        sizes = [batches.sizes[index] for index in plan.indices]
        with fabric.autocast(), torch.no_grad():
            detections = detector.predict(normalise(images, sizes), sizes)  # type: ignore[operator]
        for index, size, detection in zip(plan.indices, sizes, detections, strict=True):
            found[index] = coco_results(
                detection,
                dataset.image_ids[index],
                dataset.class_ids,
                scale_factors(size, dataset.sizes[index]),
            )
    return [result for index in sorted(found) for result in found[index]]


def scale_factors(size: Size, original: Size) -> tuple[float, float]:
    """Factors (x, y) from the network's pixels to those of the image file."""
    return original[1] / size[1], original[0] / size[0]


def coco_results(
    detection: Mapping[str, Tensor],
    image_id: int,
    class_ids: list[int],
    scale: tuple[float, float],
) -> list[dict[str, Any]]:
    """Detections of one image as COCO results: xywh in pixels of the image file.

    Args:
        detection: "boxes" [D, 4] xyxy in the network's pixels, "scores" [D], "labels" [D].
        image_id: of the annotations.
        class_ids: category id of label 1, 2, ...
        scale: factors (x, y) to the pixels of the image file.
    """
    boxes = detection["boxes"].double() * detection["boxes"].new_tensor([*scale, *scale]).double()
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "image_id": image_id,
            "category_id": class_ids[label - 1],
            "bbox": [round(side, 3) for side in box],
            "score": score,
        }
        for box, score, label in zip(
            boxes.tolist(), detection["scores"].tolist(), detection["labels"].tolist(), strict=True
        )
    ]
