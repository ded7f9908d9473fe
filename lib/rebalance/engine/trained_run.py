"""A trained run, opened: its settings, its detector with the trained weights, and a data set."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rebalance.config.parse import Place
from rebalance.config.run import read_trained_run, tested_as
from rebalance.data.coco import CocoDataset
from rebalance.detectors import build_detector
from rebalance.detectors.detector import Detector
from rebalance.engine.batches import BatchPlan, prediction_batches
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.loading import (
    BatchDataset,
    LoadFailure,
    Normaliser,
    batch_loader,
    to_device,
)
from rebalance.engine.progress import progress_bar
from rebalance.engine.run_folder import MODEL, SETTINGS
from rebalance.errors import InputError

SPLITS = ("train", "val")


class TrainedRun(NamedTuple):
    """What predicts, or is looked at.

    Attributes:
        settings: of the run, with the changes that were asked for.
        dataset: one split of its data.
        detector: with the trained weights, on the device of ``fabric``.
        fabric: one process on one device.
    """

    settings: dict[str, Any]
    dataset: CocoDataset
    detector: Detector
    fabric: Fabric

    def batches(self, name: str) -> Iterator[tuple[BatchPlan, Tensor, list[dict[str, Any]]]]:
        """Plan, images and targets of batches that hold every image once, prepared as at test.

        Args:
            name: of the progress bar.

        Raises:
            InputError: an image that cannot be read.
        """
        dataset = BatchDataset(self.dataset, self.settings["image"], seed=None)
        normalise = Normaliser(self.settings["image"], self.fabric.device)
        size = self.settings["schedule"]["batch_size"]
        plans = list(prediction_batches(dataset.sizes(), size, dataset.prepare.resize.canvas_step))
        workers = self.settings["hardware"]["num_workers"]
        loader = batch_loader(dataset, plans, workers, self.fabric.device.type == "cuda")
        pairs = zip(plans, loader, strict=True)
        for plan, batch in progress_bar(pairs, total=len(plans), desc=name):
            if isinstance(batch, LoadFailure):
                raise InputError(batch.message)
            images, targets = to_device(batch, self.fabric.device)
            yield plan, normalise(images, [target["image_size"] for target in targets]), targets


def open_trained_run(
    run_dir: str | Path,
    split: str,
    *,
    variant: str = "default",
    test_settings: Mapping[str, Any] | None = None,
    settings_place: str = "test_settings",
    images: Mapping[str, str] | None = None,
    for_training: bool = False,
    threads: int | None = None,
) -> TrainedRun:
    """Open what a training left behind.

    Args:
        run_dir: holds model.safetensors and run.yaml; neither can run code.
        split: "train" or "val".
        variant: whose test settings are used, one of those in run.yaml.
        test_settings: further changes to the detector's test settings.
        settings_place: how messages name these.
        images: ``annotations`` (COCO JSON with the categories of the training) and ``images`` of
            others than those of the split.
        for_training: the training steps will run: load masks where the detector trains on them.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, unknown split or variant, a class mapping that is not
            that of the training.
    """
    file = Path(run_dir) / SETTINGS
    checked = read_trained_run(file)
    run = checked.model_dump()
    if threads is not None:
        torch.set_num_threads(threads)
    if split not in SPLITS:
        raise InputError(f"split must be one of {list(SPLITS)}, got {split!r}")
    if variant not in run["variants"]:
        raise InputError(f"{file}: variants are {sorted(run['variants'])}, got {variant!r}")
    settings = tested_as(run, file, variant, test_settings or {}, Place(settings_place))
    settings["backbone"].pop("weights", None)  # the trained ones take their place
    masks = for_training and checked.detector.needs_masks
    files = images or run["dataset"][split]
    dataset = CocoDataset(**files, masks=masks)
    if list(dataset.class_ids) != run["classes"]["ids"]:
        raise InputError(
            f"{files['annotations']}: category ids are {list(dataset.class_ids)}, "
            f"the model was trained on {run['classes']['ids']}"
        )
    detector = build_detector(settings, dataset.num_classes)
    load_model(detector, Path(run_dir) / MODEL)
    fabric = single_device_fabric(settings["hardware"]["precision"])
    return TrainedRun(settings, dataset, detector.to(fabric.device), fabric)


def load_model(detector: Detector, path: Path) -> None:
    """Load trained weights; InputError if the file is missing, damaged or of another network."""
    try:
        detector.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit run.yaml beside it: {error}") from error
