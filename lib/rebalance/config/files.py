"""The files under ``config/``, each as a type."""

from typing import Annotated, Literal, Self

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    model_validator,
)

from rebalance.config.bounds import Count, Index, Text
from rebalance.config.departures import Departure
from rebalance.config.entries import ENTRIES
from rebalance.config.options.backbones import Backbone
from rebalance.config.options.dataset import Dataset
from rebalance.config.options.detector import Detector
from rebalance.config.options.hardware import Hardware, Resources
from rebalance.config.options.image import Image
from rebalance.config.options.released import ReleasedModel
from rebalance.config.options.schedule import Schedule
from rebalance.config.part import Described, Options, refusal, section
from rebalance.config.run import Changes, RunEntry, TrainedRun

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
TargetId = Annotated[str, StringConstraints(pattern=r"^(table|figure)_[A-Za-z0-9_]+$")]
RunName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]+$")]


def _unique(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise refusal(f"must be different, got {seeds}")
    return seeds


Seeds = Annotated[list[Index], Len(1), AfterValidator(_unique)]


class OwnDetections(Options):
    """Detections of one's own to report on."""

    gt: Text
    """Ground truth, COCO JSON."""
    dt: Text
    """Detections, COCO results JSON."""
    iou_type: Literal["bbox", "segm", "keypoints"]
    """What overlaps are measured of."""


class Settings(Options):
    """``config/config.yaml``: what to make, from which data, where."""

    scale: Text
    """A file in ``config/scales``."""
    data: Text
    """Folder of the data sets."""
    seeds: Seeds | None = None
    """In place of the scale's."""
    detections: OwnDetections | None = None
    """What ``snakemake own_detections`` reports on."""
    tensorboard: Text | None = None
    """Folder that gets the scalars of trainings while they run; no result depends on it."""


class NamedSchedule(Schedule):
    """A schedule, as runs name it."""

    departures: list[Departure] = Field(default_factory=list)
    """Where runs that are trained so differ from the work, in short sentences that pages show."""
    epochs: Count | None = None
    """Keep the weights after each of so many equal parts, for tables to show the best one, too."""

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        if self.epochs is not None and self.epochs > self.iterations:
            raise refusal(
                f"must be at most the {self.iterations} iterations, got {self.epochs}",
                at=("epochs",),
            )
        return self


class Scale(Options):
    """``config/scales/<scale>.yaml``: what the names in runs mean at this scale."""

    title: Text
    """How rendered pages name the scale."""
    seeds: Seeds
    """Every run is trained once with each."""
    seeds_of: dict[Name, Seeds] = Field(default_factory=dict)
    """Other seeds of the runs in one table or figure, by its name: the work averages its runs."""
    datasets: dict[Name, Text]
    """Data set in a run -> data set used."""
    released: bool = False
    """Whether released models are evaluated; else what ``config/released.yaml`` has stand in."""
    classes: dict[Text, Text] = Field(default_factory=dict)
    """Class that a row is about -> the one that stands in for it; without any, itself."""
    image: Image
    """What is done to images."""
    image_of: dict[Name, Changes] = Field(default_factory=dict)
    """Changes to ``image`` for a data set, by its name in a run."""
    backbones: dict[Name, Backbone]
    """Backbone in a run -> backbone used."""
    detectors: dict[Name, Changes]
    """Changes to the detectors of ``config/detectors.yaml``."""
    schedules: dict[Name, NamedSchedule]
    """Schedule in a run -> schedule used."""
    hardware: Hardware
    """What runs are trained on."""
    resources: Resources
    """What jobs ask a cluster for."""


class Work(Options):
    """``config/papers/<work>.yaml``: runs, tables and figures of one work."""

    title: Text
    """Of the work."""
    reference: Text
    """Authors, where and when."""
    bibtex: str = ""
    """How to cite it; nothing of the suite's own."""
    own: bool = False
    """No published work but the suite's own: made by its name, not by ``all``."""
    runs: dict[RunName, RunEntry]
    """What is trained for it; any work may show it."""
    targets: dict[TargetId, Annotated[Changes, Described(*ENTRIES)]]
    """Tables and figures: ``table_2``, ``figure_3_14``."""


class Datasets(RootModel[dict[Name, Dataset]]):
    """``config/datasets.yaml``: every data set by name."""

    model_config = ConfigDict(strict=True, defer_build=True)


class Released(RootModel[dict[Name, ReleasedModel]]):
    """``config/released.yaml``: models that others released, and where their detections are."""

    model_config = ConfigDict(strict=True, defer_build=True)


class NamedDetector(BaseModel):
    """A detector as runs name it; beside these keys it has those of a detector."""

    model_config = ConfigDict(extra="allow", strict=True)

    like: Text | None = section()
    """Another one, whose settings it has, also those that a scale gives it."""
    departures: list[Departure] = Field(default_factory=list)
    """Where runs that start from it differ from the work, in short sentences that pages show."""

    @property
    def settings(self) -> Changes:
        """What it says, over what it is like."""
        return dict(self.model_extra or {})


class Detectors(
    RootModel[dict[Name, Annotated[NamedDetector, Described(Detector, NamedDetector)]]]
):
    """``config/detectors.yaml``: the detectors that runs start from."""

    model_config = ConfigDict(strict=True, defer_build=True)


FILES: dict[str, type[BaseModel]] = {
    "config/config.yaml": Settings,
    "config/datasets.yaml": Datasets,
    "config/detectors.yaml": Detectors,
    "config/released.yaml": Released,
    "config/scales/<scale>.yaml": Scale,
    "config/papers/<work>.yaml": Work,
    "run.yaml": TrainedRun,
}
"""Every file of settings and its type."""
