"""A trained run that leaves its place: packed into one folder, and loaded from it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rebalance.config.run import DEFAULT_VARIANT, read_trained_run
from rebalance.data.coco import read_image
from rebalance.data.files import make_folder
from rebalance.detectors import build_detector
from rebalance.detectors.detector import Detector
from rebalance.engine.batches import prediction_batches
from rebalance.engine.loading import Normaliser
from rebalance.engine.predict import coco_results
from rebalance.engine.run_folder import MODEL, SETTINGS
from rebalance.engine.trained_run import load_model
from rebalance.engine.transforms import Preparation

METRICS = "metrics.json"


@dataclass(frozen=True)
class LoadedDetector:
    """A trained detector with what it takes to use it.

    Attributes:
        detector: in evaluation mode, with the trained weights.
        settings: run.yaml, every option of the run.
    """

    detector: Detector
    settings: Mapping[str, Any]

    @property
    def class_names(self) -> dict[int, str]:
        """Category id -> name."""
        classes = self.settings["classes"]
        return dict(zip(classes["ids"], classes["names"], strict=True))

    def __call__(self, image: str | Path | Tensor) -> list[dict[str, Any]]:
        """Detections in an image, best first, as COCO results with ``image_id`` 0.

        Args:
            image: a JPEG or PNG file, or uint8 RGB [3, H, W].

        Raises:
            InputError: a file that cannot be read.
        """
        pixels = image if isinstance(image, Tensor) else read_image(image)
        original = (pixels.shape[1], pixels.shape[2])
        nothing = torch.zeros(0, 4)
        target = {"image_id": 0, "boxes": nothing, "ignored_boxes": nothing}
        prepare = Preparation(self.settings["image"], seed=None)
        resized, target = prepare(pixels, target)
        size = target["image_size"]
        (plan,) = prediction_batches([size], 1, prepare.resize.canvas_step)
        canvas = torch.zeros(1, 3, *plan.canvas, dtype=torch.uint8)
        canvas[0, :, : size[0], : size[1]] = resized
        device = next(self.detector.parameters()).device
        normalised = Normaliser(self.settings["image"], device)(canvas.to(device), [size])
        (found,) = self.detector.predict(normalised, [size])
        threshold = self.settings["detector"]["test"].get("mask_threshold", 0.5)
        class_ids = self.settings["classes"]["ids"]
        return coco_results(found, 0, class_ids, size, original, threshold, plan.canvas)


def load(folder: str | Path) -> LoadedDetector:
    """The detector of a run's folder, or of one that ``rebalance export`` made, on the CPU.

    Args:
        folder: holds model.safetensors and run.yaml; neither can run code.

    Raises:
        InputError: a file is missing, damaged, or does not fit the other.
    """
    settings = read_trained_run(Path(folder) / SETTINGS).model_dump()
    network = {**settings, "backbone": {**settings["backbone"]}}
    network["backbone"].pop("weights", None)  # the trained ones take their place
    detector = build_detector(network, len(settings["classes"]["ids"]))
    load_model(detector, Path(folder) / MODEL)
    return LoadedDetector(detector.eval(), settings)


def export_run(run_dir: str | Path, out: str | Path, card: str) -> None:
    """Pack weights, settings, metrics and card of a trained run into a new folder.

    Args:
        run_dir: of one training: ``results/<scale>/runs/<run>/seed<k>``.
        out: the folder to make; complete or not there.
        card: of :func:`rebalance.report.card.card_text`.

    Raises:
        InputError: ``run_dir`` holds no trained run, or ``out`` is taken.
    """
    source = Path(run_dir)
    load(source)  # what does not load is not given away

    def fill(folder: Path) -> None:
        for name in (MODEL, SETTINGS):
            shutil.copyfile(source / name, folder / name)
        metrics = source / DEFAULT_VARIANT / METRICS
        if metrics.is_file():
            (folder / DEFAULT_VARIANT).mkdir()
            shutil.copyfile(metrics, folder / DEFAULT_VARIANT / METRICS)
        (folder / "README.md").write_text(card)

    make_folder(out, fill)
