"""One run: what a work's file says of it, and what it is once it is resolved for a scale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import Field

from rebalance.config.bounds import Count, Index, NonNegative, ShareBelowOne, Text
from rebalance.config.departures import Departure
from rebalance.config.options.backbones import Backbone
from rebalance.config.options.detector import Detector
from rebalance.config.options.hardware import Hardware
from rebalance.config.options.image import Image
from rebalance.config.options.schedule import Schedule
from rebalance.config.parse import Layer, Layers, Place, parse
from rebalance.config.part import Options, section
from rebalance.config.reading import load_yaml, merged

DEFAULT_VARIANT = "default"

Changes = dict[str, Any]
"""Changes to settings below; checked once they are merged with these."""


class Evaluate(Options):
    """How detections are evaluated; other settings here evaluate again, and predict nothing."""

    tau: ShareBelowOne = 0.5
    """IoU of a true positive in LRP."""
    ranking: Literal["scores", "lower", "upper"] = "scores"
    """By scores, or true positives against or by their IoU: the bounds of thesis Table 7.4."""


class Variant(Options):
    """A trained run seen another way."""

    test: Changes = Field(default_factory=dict)
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
    image: Changes = Field(default_factory=dict)
    """Changes to the scale's images."""
    detector: Changes = Field(default_factory=dict)
    """Changes to the detector."""
    may_diverge: bool = False
    """Whether a loss that becomes nan or infinite ends the training with its log; else it fails."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Other ways to test and evaluate it, by name."""
    departures: list[Departure] = Field(default_factory=list)
    """Where it differs from the work, in short sentences that pages show."""


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


class Network(Options):
    """What weights belong to."""

    backbone: Backbone
    """Image -> maps."""
    detector: Detector
    """Maps -> detections."""
    dataset: DatasetFiles | None = section()
    """What it learns from."""


class Run(Options):
    """A run with everything said."""

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
    may_diverge: bool = False
    """Whether a loss that becomes nan or infinite ends the training with its log; else it fails."""
    variants: dict[str, Variant]
    """How it is tested and evaluated; the one called default has no changes."""
    hardware: Hardware
    """What it is trained on."""

    def tested_as(self, variant: str) -> "Run":
        """This run, its detector with the test settings of one of its variants."""
        changes = {"test": self.variants[variant].test}
        detector = Detector.model_validate(merged(self.detector.model_dump(), changes))
        return self.model_copy(update={"detector": detector})

    def predicted_as(self, variant: str) -> str:
        """The variant whose detections this one has: the first of the same test settings.

        Variants that differ in their evaluation alone share detections.
        """
        test = self.variants[variant].test
        return next(name for name, other in self.variants.items() if other.test == test)


class Classes(Options):
    """What a model tells apart."""

    ids: Annotated[list[int], Len(1)]
    """Category id of label 1, 2, ..."""
    names: Annotated[list[str], Len(1)]
    """In the same order."""


class TrainedRun(Run):
    """A run that was trained: ``run.yaml``."""

    classes: Classes
    """What it was trained to tell apart."""
    params_k: NonNegative | None = section()
    """Thousands of parameters that train."""
    diverged: Count | None = None
    """Iteration whose loss was not finite; the model is that before it. null: none was."""
    made_with: dict[str, Any]
    """Commit, versions and device."""


def read_run(path: Path) -> dict[str, Any]:
    """Settings of a run from a file: of one to be trained, or the ``run.yaml`` of a trained one.

    Raises:
        InputError: file, key, what was got, what is allowed.
    """
    contents = load_yaml(path)
    if isinstance(contents, Mapping):
        added = TrainedRun.model_fields.keys() - Run.model_fields.keys()
        contents = {key: value for key, value in contents.items() if key not in added}
    run = parse(Run, contents, str(path)).model_dump()
    for variant in run["variants"]:
        tested_as(run, path, variant, {}, Place(str(path)))
    return run


def read_network(path: Path) -> dict[str, Any]:
    """Backbone and detector from a file that may say all of a run or no more; data set if it does.

    Raises:
        InputError: file, key, what was got, what is allowed.
    """
    contents = load_yaml(path)
    if isinstance(contents, Mapping):
        contents = {key: contents[key] for key in Network.keys() if key in contents}  # noqa: SIM118
    return parse(Network, contents, str(path)).model_dump()


def read_trained_run(path: Path) -> TrainedRun:
    """Settings that a training left behind.

    Raises:
        InputError: file, key, what was got, what is allowed.
    """
    return parse(TrainedRun, load_yaml(path), str(path))


def tested_as(
    run: Mapping[str, Any], file: Path, variant: str, changes: Mapping[str, Any], place: Place
) -> dict[str, Any]:
    """A run's settings, with its detector's test settings as one of its variants has them.

    Args:
        run: settings of a trained run.
        file: where they stand.
        variant: one of the run's.
        changes: further test settings, on top.
        place: of these changes.

    Raises:
        InputError: test settings that are unknown, not allowed, or do not fit the detector.
    """
    test, at = run["variants"][variant]["test"], Place(str(file))
    detector = merged(merged(run["detector"], {"test": test}), {"test": changes})
    layers = Layers(
        [
            Layer(at.at("detector"), run["detector"]),
            Layer(at.at("variants", variant, "test"), test, ("test",)),
            Layer(place, changes, ("test",)),
        ]
    )
    return {**run, "detector": parse(Detector, detector, layers).model_dump()}
