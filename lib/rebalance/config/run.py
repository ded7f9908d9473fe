"""One run: what a work's file says of it, and what it is once it is resolved for a scale."""

from typing import Any

from pydantic import Field

from rebalance.config.bounds import Index, ShareBelowOne, Text
from rebalance.config.options.backbones import Backbone
from rebalance.config.options.detector import Detector
from rebalance.config.options.hardware import Hardware
from rebalance.config.options.image import Image
from rebalance.config.options.schedule import Schedule
from rebalance.config.part import Options

DEFAULT_VARIANT = "default"

Layer = dict[str, Any]
"""Changes to settings below; checked once they are merged with these."""


class Evaluate(Options):
    """How detections are evaluated; other settings here evaluate again, and predict nothing."""

    tau: ShareBelowOne = 0.5
    """IoU of a true positive in LRP."""


class Variant(Options):
    """A trained run seen another way."""

    test: Layer = Field(default_factory=dict)
    """Changes to the detector's test settings: other detections."""
    evaluate: Evaluate = Field(default_factory=Evaluate)
    """Other numbers of the same detections."""


class RunEntry(Options):
    """A run in a work's file."""

    base: Text
    """The detector that it starts from, of ``config/detectors.yaml``."""
    backbone: Text
    """Of the scale's backbones."""
    dataset: Text
    """Of the scale's data sets."""
    schedule: Text
    """Of the scale's schedules."""
    image: Layer = Field(default_factory=dict)
    """Changes to the scale's images."""
    detector: Layer = Field(default_factory=dict)
    """Changes to the detector."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Other ways to test and evaluate it, by name."""


class SplitFiles(Options):
    """Files of one split of a data set."""

    annotations: Text
    """COCO JSON."""
    images: Text
    """Folder."""


class DatasetFiles(Options):
    """What a run is trained and validated on."""

    name: Text
    """Of ``config/datasets.yaml``."""
    train: SplitFiles
    """Of training."""
    val: SplitFiles
    """Of validation."""


class Run(Options):
    """A run with everything said: ``run.yaml``."""

    name: Text
    """Of the run."""
    scale: Text
    """Of the scale."""
    seed: Index
    """Of this training."""
    dataset: DatasetFiles
    """What it learns from."""
    image: Image
    """What is done to images."""
    backbone: Backbone
    """Image -> maps."""
    detector: Detector
    """Maps -> detections."""
    schedule: Schedule
    """How it is trained."""
    variants: dict[str, Variant]
    """How it is tested and evaluated; the one called default has no changes."""
    hardware: Hardware
    """What it is trained on."""

    def predicted_as(self, variant: str) -> str:
        """The variant whose detections this one has: the first of the same test settings.

        Variants that differ in their evaluation alone share detections.
        """
        test = self.variants[variant].test
        return next(name for name, other in self.variants.items() if other.test == test)
