"""Objectives: how the losses of a step's tasks add up."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rebalance.config.bounds import Positive
from rebalance.config.options.losses import (
    BoxLoss,
    ClassLoss,
    CoupledRankingLoss,
    MaskLoss,
    Per,
    RankingLoss,
    SigmoidLoss,
    Term,
)
from rebalance.config.part import Also, Part, refusal, section

InstanceWeights = Literal["none", "centerness", "score", "iou", "ranking"]


class Balance(Part, noun="balance", given=["class_loss", "task_loss"]):
    """What a task's loss is multiplied by, beside the ranking."""


class ConstantBalance(Balance, name="constant", makes="rebalance.losses.balancing:constant_weight"):
    """A constant."""

    weight: Positive = 1.0
    """The constant."""


class ValueBalance(Balance, name="value", makes="rebalance.losses.balancing:value_weight"):
    """Ranking loss over task loss (thesis 8.4.3)."""


class MagnitudeBalance(
    Balance, name="magnitude", makes="rebalance.losses.balancing:magnitude_weight"
):
    """Gradient of the ranking loss over that of the task loss, as L1 norms (thesis 8.4.2)."""


class EpochBalance(Balance, name="epoch", makes="rebalance.losses.balancing:EpochBalance"):
    """Ranking loss over localisation loss, of the last epoch (thesis 7.3.2)."""

    initial: Positive = 50.0
    """Factor in the first epoch."""


class Objective(Part, noun="objective"):
    """Predictions beside their targets -> a loss for each task."""

    TASKS: ClassVar[tuple[str, ...]] = ("class", "box", "centerness", "iou", "mask")

    def arguments(self) -> dict[str, Any]:
        """Settings of losses and balance: an objective binds them itself, with their weights."""
        return self.model_dump(exclude={self.tag})

    def tasks(self) -> set[str]:
        """Tasks that have a loss; "class" where classes are learnt, by whatever loss."""
        fields = {name: name.rstrip("_") for name in type(self).model_fields}
        found = {task for name, task in fields.items() if getattr(self, name) is not None}
        return {"class" if task == "rank" else task for task in found} & set(self.TASKS)


class Linear(Objective, name="linear", makes="rebalance.detectors.objectives.linear:make_linear"):
    """Each task on its own: sums over a count, times constants."""

    per: Per | None = section()
    """``per`` of the tasks that do not say their own."""
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

    @model_validator(mode="before")
    @classmethod
    def _hand_down_per(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("per") is None:
            return data
        return {
            key: {"per": data["per"], **value} if isinstance(value, Mapping) else value
            for key, value in data.items()
        }

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        if not self.tasks():
            raise refusal(f"needs a loss for one of {', '.join(self.TASKS)}, got none")
        return self


class Ranking(Objective, name="ranking"):
    """Scores by their rank, other tasks balanced with it (AP, Rank & Sort; thesis chapter 8)."""

    rank: RankingLoss
    """Classes."""
    box: BoxLoss
    """Boxes of positives."""
    mask: MaskLoss | None = section()
    """Masks of positives."""
    instance_weights: InstanceWeights = "score"
    """Weights of the positives in box and mask loss (thesis Table 8.1)."""
    balance: Balance = Field(default_factory=ValueBalance)
    """Factor of the other tasks' losses."""


class CoupledRanking(Objective, name="coupled_ranking"):
    """One ranking of classes and localisation errors (aLRP; thesis chapter 7)."""

    rank: CoupledRankingLoss
    """Classes and boxes."""
    box: BoxLoss
    """Localisation error of a positive."""
    balance: Balance = Field(default_factory=EpochBalance)
    """Factor of the localisation's gradient."""
