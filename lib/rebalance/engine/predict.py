"""Prediction: a trained run in, detections.json (COCO results format) out."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rebalance.data.files import write_atomically
from rebalance.detectors.canvas import Size
from rebalance.detectors.masks import encode_masks, pasted_rles, resized_rles
from rebalance.engine.batches import BatchPlan
from rebalance.engine.trained_run import TrainedRun, open_trained_run


def predict(
    run_dir: str | Path,
    out: str | Path,
    *,
    split: str = "val",
    variant: str = "default",
    test_settings: Mapping[str, Any] | None = None,
    settings_place: str = "test_settings",
    images: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> None:
    """Detections of a split, best first per image; finding nothing writes an empty list.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        out: the file to write, whole or not at all; what ends in .zip is an archive with one JSON
            of its name, as the COCO server takes it.
        split: "train" or "val".
        variant: whose test settings are used, one of those in run.yaml.
        test_settings: further changes to the detector's test settings.
        settings_place: how messages name these.
        images: ``annotations`` and ``images`` of others than those of the split.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, unknown split or variant, a class mapping that is not
            that of the training.
    """
    run = open_trained_run(
        run_dir,
        split,
        variant=variant,
        test_settings=test_settings,
        settings_place=settings_place,
        images=images,
        threads=threads,
    )
    content = (json.dumps(detections_of(run)) + "\n").encode()
    write_atomically(
        out, _archive(Path(out).stem, content) if Path(out).suffix == ".zip" else content
    )


def _archive(name: str, content: bytes) -> bytes:
    """A zip with one JSON; equal contents give equal bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.json"), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def detections_of(run: TrainedRun) -> list[dict[str, Any]]:
    """COCO results of every image of a run's data set, ordered as the data set is."""
    found: dict[int, list[dict[str, Any]]] = {}
    run.detector.eval()
    for plan, images, targets in run.batches("predict"):
        found |= batch_detections(run, plan, images, targets)
    return [result for index in sorted(found) for result in found[index]]


def batch_detections(
    run: TrainedRun, plan: BatchPlan, images: Tensor, targets: Sequence[Mapping[str, Any]]
) -> dict[int, list[dict[str, Any]]]:
    """COCO results of each image of one of ``run.batches``, by its place in the data set.

    The detector must be in evaluation mode.
    """
    threshold = run.settings["detector"]["test"].get("mask_threshold", 0.5)
    sizes = [target["image_size"] for target in targets]
    with run.fabric.autocast(), torch.no_grad():
        detections = run.detector.predict(images, sizes)
    return {
        index: coco_results(
            detection,
            run.dataset.image_ids[index],
            run.dataset.class_ids,
            size,
            run.dataset.sizes[index],
            threshold,
            plan.canvas,
        )
        for index, size, detection in zip(plan.indices, sizes, detections, strict=True)
    }


def coco_results(
    detection: Mapping[str, Any],
    image_id: int,
    class_ids: list[int],
    size: Size,
    original: Size,
    mask_threshold: float = 0.5,
    canvas: Size | None = None,
) -> list[dict[str, Any]]:
    """Detections of one image as COCO results, in pixels of the image file.

    Args:
        detection: "boxes" [D, 4] xyxy in the network's pixels, "scores" [D], "labels" [D]. With
            masks also one of "mask_probabilities" [D, h, w], each over its box,
            "canvas_mask_probabilities" [D, h, w], each over the canvas, and "masks", [D, H, W] bool
            in the pixels of the file or a list of D run-length masks; and "mask_scores" [D] where
            masks are not ranked by the scores of the boxes.
        image_id: of the annotations.
        class_ids: category id of label 1, 2, ...
        size: (height, width) of the image for the network.
        original: (height, width) of the image file.
        mask_threshold: probability from which on a pixel belongs to an object.
        canvas: (height, width) that the image was padded to; None: it was not.

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
    masks = _run_length_masks(detection, boxes, original, mask_threshold, (canvas or size, size))
    if masks is not None:
        for result, mask in zip(results, masks, strict=True):
            result["segmentation"] = mask
    if "mask_scores" in detection:
        for result, score in zip(results, detection["mask_scores"].tolist(), strict=True):
            result["mask_score"] = score
    return results


def _run_length_masks(
    detection: Mapping[str, Any],
    boxes: Tensor,
    original: Size,
    threshold: float,
    on_canvas: tuple[Size, Size],
) -> list[dict[str, Any]] | None:
    """Masks in the pixels of the image file; None if the detector makes none."""
    if "mask_probabilities" in detection:
        return pasted_rles(detection["mask_probabilities"], boxes, original, threshold)
    if "canvas_mask_probabilities" in detection:
        probabilities = detection["canvas_mask_probabilities"]
        return resized_rles(probabilities, original, threshold, on_canvas)
    masks = detection.get("masks")
    return encode_masks(masks) if isinstance(masks, Tensor) else masks
