"""Objectives: how the losses of a step's tasks add up."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from annotated_types import Len
from pydantic import Field, model_validator

from rebalance.config.bounds import Count, NonNegative, Positive, ShareBelowOne
from rebalance.config.options.losses import (
    Alrp,
    BoxLoss,
    ClassLoss,
    CoupledRankingLoss,
    InstanceWeights,
    MaskIouLoss,
    MaskLoss,
    NoWeights,
    Per,
    RankingLoss,
    SemanticLoss,
    SigmoidLoss,
    Term,
    Weighted,
)
from rebalance.config.part import Also, Options, OrName, Part, extended, refusal, section


class Balance(Part, noun="balance"):
    """What a task's loss weighs beside the loss of the classes."""


class ConstantBalance(
    Balance, name="constant", makes="rebalance.detectors.objectives.balance:Balance"
):
    """1: a task's own weight is all there is."""


class ValueBalance(
    Balance, name="value", makes="rebalance.detectors.objectives.balance:ValueBalance"
):
    """Ranking loss over task loss (thesis 8.4.3)."""


class MagnitudeBalance(
    Balance, name="magnitude", makes="rebalance.detectors.objectives.balance:MagnitudeBalance"
):
    """Gradient of the ranking loss over that of the task loss, as L1 norms (thesis 8.4.2)."""


class EpochBalance(
    Balance, name="epoch", makes="rebalance.detectors.objectives.balance:MeanBalance"
):
    """Ranking loss over localisation loss, of the last epoch (thesis 7.3.2)."""

    initial: Positive = 50.0
    """Factor in the first epoch."""
    period: Count = 3665
    """Iterations of an epoch: COCO's 117,266 images with objects, 32 at a time."""


class Objective(Part, noun="objective"):
    """Predictions beside their targets -> a loss for each task."""

    TASKS: ClassVar[tuple[str, ...]] = (
        "class",
        "box",
        "centerness",
        "iou",
        "mask",
        "semantic",
        "mask_iou",
    )

    def arguments(self) -> dict[str, Any]:
        """Settings of losses and balance: an objective binds them itself, with their weights."""
        return self.model_dump(exclude={self.tag})

    def tasks(self) -> set[str]:
        """Tasks that have a loss."""
        fields = {name.rstrip("_"): getattr(self, name) for name in type(self).model_fields}
        return {task for task in self.TASKS if fields.get(task) is not None}

    def has_costs(self) -> bool:
        """Whether each candidate has a loss of its own, or another one is given in its place."""
        return getattr(self, "costs_by", self) is not None


class LinearTasks(Options):
    """Each task on its own: sums over a count, times constants."""

    per: Per | None = section()
    """``per`` of the tasks that do not say their own."""
    costs: Annotated[list[str], Len(1)] | None = section()
    """Tasks that count where candidates are chosen by their loss; unless given, class and box."""
    log: bool = False
    """Whether the log shows gradients and correlation, too."""
    class_: Annotated[ClassLoss, Also(Term)] | None = section(alias="class")
    """Classes."""
    box: Annotated[BoxLoss, Also(Term)] | None = section()
    """Boxes of positives."""
    centerness: Annotated[SigmoidLoss, Also(Term)] | None = section()
    """How central a positive's point lies in its ground truth (FCOS)."""
    iou: Annotated[SigmoidLoss, Also(Term)] | None = section()
    """IoU of a positive's predicted box (PAA)."""
    mask: Annotated[MaskLoss, Also(Term)] | None = section()
    """Masks of positives."""
    semantic: Annotated[SemanticLoss, Also(Term)] | None = section()
    """Classes of pixels (YOLACT)."""
    mask_iou: Annotated[MaskIouLoss, Also(Term)] | None = section()
    """IoU of predicted masks (Mask Scoring R-CNN)."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down_per(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("per") is None:
            return data
        return {
            key: {"per": data["per"], **value} if isinstance(value, Mapping) else value
            for key, value in data.items()
        }


class Linear(
    LinearTasks, Objective, name="linear", makes="rebalance.detectors.objectives.linear:make_linear"
):
    """Each task on its own: sums over a count, times constants."""

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        tasks = self.tasks()
        if not tasks:
            raise refusal(f"needs a loss for one of {', '.join(self.TASKS)}, got none")
        for index, task in enumerate(self.costs or ()):
            if task not in tasks:
                raise refusal(
                    f"must be one of {', '.join(sorted(tasks))}, got {task!r}", at=("costs", index)
                )
        return self


class RankingOptions(Options):
    """What ranking objectives share."""

    over: Literal["device", "batch"] = "device"
    """What is one ranking: the images of a device, as in all the works, or of all devices."""
    boxes: Literal["image", "unit"] = "image"
    """Where boxes are compared: in the image, or around the unit square (published dense heads)."""
    costs_by: LinearTasks | None = section()
    """What candidates cost for PAA and hard mining: losses of classes and boxes."""
    log: bool = False
    """Whether the log shows parts, balances, gradients and correlation, too."""


class Ranking(
    RankingOptions,
    Objective,
    name="ranking",
    makes="rebalance.detectors.objectives.ranking:make_ranking",
):
    """Scores by their rank, other tasks balanced with it (AP, Rank & Sort; thesis chapter 8)."""

    class_: Annotated[RankingLoss, Also(Weighted)] | None = section(alias="class")
    """Classes; a mask step takes those of the box step before it."""
    box: Annotated[BoxLoss, Also(Weighted)] | None = section()
    """Boxes of positives."""
    mask: Annotated[MaskLoss, Also(Weighted)] | None = section()
    """Masks of positives."""
    semantic: Annotated[SemanticLoss, Also(Weighted)] | None = section()
    """Classes of pixels."""
    labels: Literal["binary", "iou", "dice", "mean"] | None = section()
    """What positives are sorted by (thesis Eq. 8.10); unless given, IoU for Rank & Sort."""
    weigh: Annotated[InstanceWeights, OrName()] = Field(default_factory=NoWeights)
    """Weights of the positives in the tasks beside the classes (thesis Table 8.1)."""
    balance: Annotated[Balance, OrName()] = Field(default_factory=ConstantBalance)
    """Factor of the other tasks' losses."""
    without_positives: NonNegative = 0.0
    """Each part of each loss where there are no positives; published Rank & Sort: 1."""


class CoupledRanking(
    RankingOptions,
    Objective,
    name="coupled_ranking",
    makes="rebalance.detectors.objectives.coupled:make_coupled_ranking",
):
    """One ranking of classes and localisation errors (aLRP; thesis chapter 7)."""

    class_: Annotated[CoupledRankingLoss, Also(Weighted)] = Field(
        default_factory=lambda: cast("Alrp", extended(Alrp, Weighted)()), alias="class"
    )
    """Classes and boxes."""
    box: Annotated[BoxLoss, Also(Weighted)]
    """Localisation error of a positive."""
    tau: ShareBelowOne = 0.5
    """IoU at which an error is 1 (Eq. 7.3)."""
    error_range: Positive = 2.0
    """Errors are divided by this times 1 - tau: 2 is the range of GIoU loss, 1 that of IoU loss."""
    normalise: Literal["both", "class"] = "both"
    """Which errors are divided: of both losses, or only what the gradient of the classes knows."""
    balance: Annotated[Balance, OrName()] = Field(default_factory=EpochBalance)
    """Factor of the localisation's gradient."""
