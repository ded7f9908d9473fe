"""Entries of ``config/released.yaml``: where the detections of released models come from."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rebalance.config.bounds import Index, NonNegative, ShareBelowOne, Text
from rebalance.config.part import Options, Part, refusal, section
from rebalance.config.run import DEFAULT_VARIANT

Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
Task = Literal["boxes", "masks", "keypoints", "panoptic", "video"]


class Origin(Part, noun="origin of detections", tag="kind"):
    """Where a results file comes from."""


class Fetched(Options):
    """What is downloaded, and how to know that it arrived unharmed."""

    url: Url
    """Its address."""
    md5: Md5 | None = section()
    """Of the file."""
    sha256: Sha256 | None = section()
    """Of the file, or the first digits that are part of its name."""
    md5_url: Url | None = section()
    """Where whoever publishes the file publishes its md5, too."""

    @model_validator(mode="after")
    def _check_checksum(self) -> Self:
        if self.md5 is None and self.sha256 is None and self.md5_url is None:
            raise refusal(
                "needs md5, sha256 or md5_url: nothing is downloaded without a checksum; where "
                "none is known let the user place the file (kind: own_file)",
                at=("url",),
            )
        return self

    @property
    def checksums(self) -> dict[str, str]:
        """Those that are known, by the option of ``rebalance data download``."""
        known = {"md5": self.md5, "sha256": self.sha256, "md5-url": self.md5_url}
        return {option: value for option, value in known.items() if value is not None}


class ResultsFile(Fetched, Origin, name="results_file"):
    """A published file of results in COCO's format."""


class Checkpoint(Fetched, Origin, name="checkpoint"):
    """Published weights of a detector that the suite has: imported, and predicted with here."""

    project: Literal["mmdetection", "torchvision"]
    """Whose names they have."""
    run: Text
    """Of any work: what the weights are of."""


class OfRun(Origin, name="run"):
    """A run of the suite."""

    run: Text
    """Of any work."""
    variant: Text = DEFAULT_VARIANT
    """Of the run."""


class OwnFile(Origin, name="own_file"):
    """A results file that the user puts at ``<data>/released/<model>.json``."""


class Drawn(Origin, name="drawn"):
    """The ground truth, spoilt on purpose: of tasks that no detector of the suite does."""

    seed: Index
    """Of the drawing."""
    shift: NonNegative
    """By which what is found lies beside its ground truth, standard deviation, pixels."""
    missed: ShareBelowOne
    """Share of the ground truths that is not found."""
    invented: ShareBelowOne
    """False positives as a share of the ground truths."""


class OnVideo(Origin, name="video"):
    """A run's detector on the frames of videos (thesis H.1)."""

    run: Text
    """Of any work: the still-image detector."""
    thresholds: Literal["none", "general", "optimal"]
    """B: every frame on its own; G: frames linked, one threshold; S: linked, one per class."""


class ReleasedModel(Options):
    """A released model, or another source of detections that rows name."""

    model: Text
    """What it is called, and who released it."""
    task: Task
    """What is evaluated of it."""
    origin: Origin
    """Of its detections, at scales that take released models."""
    stand_in: Origin | None = section()
    """Shown in its place at the others; if not given, the origin is used at every scale."""
    doubts: list[Text] = Field(default_factory=list)
    """Whether it is what the work evaluated."""

    def origin_at(self, released: bool) -> Origin:
        """Where its detections come from at a scale that takes released models or does not."""
        return self.origin if released or self.stand_in is None else self.stand_in

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        """What cannot be evaluated as the task, or cannot stand in, is refused."""
        for key, origin in (("origin", self.origin), ("stand_in", self.stand_in)):
            if origin is None:
                continue
            if isinstance(origin, Drawn) and self.task not in ("keypoints", "panoptic"):
                raise refusal(f"drawn are keypoints and panoptic, not {self.task}", at=(key,))
            if isinstance(origin, OnVideo) != (self.task == "video"):
                raise refusal(f"kind video and task video go together, got {self.task}", at=(key,))
        if isinstance(self.stand_in, ResultsFile | Checkpoint | OwnFile):
            raise refusal("must be a run or drawn", at=("stand_in", "kind"))
        return self
