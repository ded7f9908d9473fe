"""Prediction: a trained run in, detections.json (COCO results format) out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rebalance.config.parse import Place
from rebalance.config.run import read_trained_run, tested_as
from rebalance.data.coco import CocoDataset
from rebalance.data.files import write_atomically
from rebalance.detectors import build_detector
from rebalance.detectors.masks import encode_masks, pasted_rles, resized_rles
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


def predict(
    run_dir: str | Path,
    out: str | Path,
    *,
    split: str = "val",
    variant: str = "default",
    test_settings: Mapping[str, Any] | None = None,
    settings_place: str = "test_settings",
    threads: int | None = None,
) -> None:
    """Detections of a split, best first per image; finding nothing writes an empty list.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        out: the file to write, whole or not at all.
        split: "train" or "val".
        variant: whose test settings are used, one of those in run.yaml.
        test_settings: further changes to the detector's test settings.
        settings_place: how messages name these.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, unknown split or variant, a class mapping that is not
            that of the training.
    """
    run = read_trained_run(Path(run_dir) / "run.yaml").model_dump()
    if threads is not None:
        torch.set_num_threads(threads)
    if split not in ("train", "val"):
        raise InputError(f"split must be one of ['train', 'val'], got {split!r}")
    if variant not in run["variants"]:
        raise InputError(
            f"{run_dir}/run.yaml: variants are {sorted(run['variants'])}, got {variant!r}"
        )
    settings = tested_as(run, variant, test_settings or {}, Place(settings_place))
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
        settings: of the run; "image", "detector.test", "schedule.batch_size", "hardware" are read.
    """
    fabric = single_device_fabric(settings["hardware"]["precision"])
    detector.to(fabric.device).eval()
    batches = BatchDataset(dataset, settings["image"], seed=None)
    normalise = Normaliser(settings["image"], fabric.device)
    all_sizes = batches.sizes()
    plans = list(prediction_batches(all_sizes, settings["schedule"]["batch_size"]))
    loader = batch_loader(
        batches, plans, settings["hardware"]["num_workers"], fabric.device.type == "cuda"
    )
    found: dict[int, list[dict[str, Any]]] = {}
    batches_of_plans = zip(plans, loader, strict=True)
    for plan, batch in progress_bar(batches_of_plans, total=len(plans), desc="predict"):
        if isinstance(batch, LoadFailure):
            raise InputError(batch.message)
        images, _ = to_device(batch, fabric.device)
        sizes = [all_sizes[index] for index in plan.indices]
        with fabric.autocast(), torch.no_grad():
            detections = detector.predict(normalise(images, sizes), sizes)  # type: ignore[operator]
        for index, size, detection in zip(plan.indices, sizes, detections, strict=True):
            found[index] = coco_results(
                detection,
                dataset.image_ids[index],
                dataset.class_ids,
                size,
                dataset.sizes[index],
                settings["detector"]["test"].get("mask_threshold", 0.5),
            )
    return [result for index in sorted(found) for result in found[index]]


def coco_results(
    detection: Mapping[str, Any],
    image_id: int,
    class_ids: list[int],
    size: Size,
    original: Size,
    mask_threshold: float = 0.5,
) -> list[dict[str, Any]]:
    """Detections of one image as COCO results, in pixels of the image file.

    Args:
        detection: "boxes" [D, 4] xyxy in the network's pixels, "scores" [D], "labels" [D]. With
            masks also one of "mask_probabilities" [D, h, w], each over its box,
            "image_mask_probabilities" [D, h, w], each over the image, and "masks", [D, H, W] bool
            in the pixels of the file or a list of D run-length masks; and "mask_scores" [D] where
            masks are not ranked by the scores of the boxes.
        image_id: of the annotations.
        class_ids: category id of label 1, 2, ...
        size: (height, width) of the image for the network.
        original: (height, width) of the image file.
        mask_threshold: probability from which on a pixel belongs to an object.

    Returns:
        Per detection "image_id", "category_id", "bbox" (xywh), "score", and with masks
        "segmentation" (RLE) and "mask_score" where there are "mask_scores".
    """
    boxes = detection["boxes"].double()
    boxes *= boxes.new_tensor([original[1] / size[1], original[0] / size[0]] * 2)
    xywh = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
    results: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": class_ids[label - 1],
            "bbox": [round(side, 3) for side in box],
            "score": score,
        }
        for box, score, label in zip(
            xywh.tolist(), detection["scores"].tolist(), detection["labels"].tolist(), strict=True
        )
    ]
    masks = _run_length_masks(detection, boxes, original, mask_threshold)
    if masks is not None:
        for result, mask in zip(results, masks, strict=True):
            result["segmentation"] = mask
    if "mask_scores" in detection:
        for result, score in zip(results, detection["mask_scores"].tolist(), strict=True):
            result["mask_score"] = score
    return results


def _run_length_masks(
    detection: Mapping[str, Any], boxes: Tensor, original: Size, threshold: float
) -> list[dict[str, Any]] | None:
    """Masks in the pixels of the image file; None if the detector makes none."""
    if "mask_probabilities" in detection:
        return pasted_rles(detection["mask_probabilities"], boxes, original, threshold)
    if "image_mask_probabilities" in detection:
        return resized_rles(detection["image_mask_probabilities"], original, threshold)
    masks = detection.get("masks")
    return encode_masks(masks) if isinstance(masks, Tensor) else masks
