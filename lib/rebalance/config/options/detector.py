"""A detector: neck, heads, a list of steps, and how predictions become detections."""

from typing import Annotated, Any, Self

from annotated_types import Len
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from rebalance.config.options.assigners import Assigner, MaxIou
from rebalance.config.options.heads import (
    BoxHead,
    DenseHead,
    GridHead,
    Head,
    MaskHead,
    MaskIouHead,
    PrototypeHead,
)
from rebalance.config.options.losses import SoftmaxLoss
from rebalance.config.options.necks import Neck
from rebalance.config.options.objectives import Linear, Objective
from rebalance.config.options.select import Test
from rebalance.config.options.steps import (
    AnyStep,
    BoxStep,
    BoxStepSettings,
    DenseStepSettings,
    GridStepSettings,
    MaskIouStepSettings,
    MaskStepSettings,
    PrototypeStepSettings,
    RpnStepSettings,
    Step,
    step_head,
    step_sort,
)
from rebalance.config.part import Options, nearest, refusal, section

HEAD_OF = {
    "rpn": DenseHead,
    "dense": DenseHead,
    "prototypes": PrototypeHead,
    "grid": GridHead,
    "box": BoxHead,
    "mask": MaskHead,
    "mask_iou": MaskIouHead,
}
TASKS_OF = {
    "rpn": {"class", "box"},
    "dense": {"class", "box"},
    "prototypes": {"class", "box", "mask"},
    "grid": {"class", "mask"},
    "box": {"class", "box"},
    "mask": {"mask"},
    "mask_iou": {"mask_iou"},
}
"""What steps of each sort must learn."""
GRIDS = ("dense", "prototypes")
TEST_OF = {
    "pre_nms": GRIDS,
    "choose": GRIDS,
    "quality": GRIDS,
    "augment": ("dense", "rpn"),
    "loops": ("box",),
    "average": ("box",),
    "mask_threshold": ("mask", "prototypes", "grid"),
}
"""Test settings that mean something only with a step of one of these sorts."""
FIRST = ("rpn", "dense", "prototypes", "grid")
"""Steps on the pyramid's maps."""


class Detector(Options):
    """A detector is a list of steps; each step names a head, and has settings by its sort."""

    neck: Neck
    """The pyramid."""
    heads: Annotated[dict[str, Head], Len(1)]
    """Heads by name; steps that name the same one share it."""
    rpn: RpnStepSettings | None = section()
    """Settings of the step ``rpn``."""
    dense: DenseStepSettings | None = section()
    """Settings of the step ``dense``."""
    prototypes: PrototypeStepSettings | None = section()
    """Settings of the step ``prototypes``."""
    grid: GridStepSettings | None = section()
    """Settings of the step ``grid``."""
    box: BoxStepSettings | None = section()
    """Shared by all box steps."""
    mask: MaskStepSettings | None = section()
    """Shared by all mask steps."""
    mask_iou: MaskIouStepSettings | None = section()
    """Shared by all mask IoU steps."""
    steps: Annotated[list[Step], Len(1)]
    """In order."""
    test: Test = Field(default_factory=Test)
    """From predictions to detections."""

    @property
    def needs_masks(self) -> bool:
        """Whether it trains on instance masks."""
        return any("mask" in TASKS_OF[step_sort(step)] for step in self.steps)

    def _objective(self, step: AnyStep) -> Objective:
        own: Objective | None = getattr(step, "objective", None)
        shared: Objective = getattr(self, step_sort(step)).objective
        return own or shared

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        sorts = [step_sort(step) for step in self.steps]
        for position, (step, sort) in enumerate(zip(self.steps, sorts, strict=True)):
            if getattr(self, sort) is None:
                raise refusal(f"missing key {sort!r}, the settings of steps[{position}]")
            self._check_head(step, sort, position)
            if isinstance(step, BoxStep):
                self._check_iou(step, position)
            self._check_tasks(step, sort, position)
        self._check_order(sorts)
        self._check_test(sorts)
        return self

    def _check_head(self, step: AnyStep, sort: str, position: int) -> None:
        name = step_head(step)
        at = ("steps", position) if isinstance(step, str) else ("steps", position, sort)
        if name not in self.heads:
            raise refusal(
                f"head must be one of {', '.join(self.heads)}, got {name!r}"
                f"{nearest(name, self.heads)}",
                at,
            )
        head = self.heads[name]
        if not isinstance(head, HEAD_OF[sort]):
            raise refusal(f"needs a {HEAD_OF[sort].noun}, got {name!r}, a {head.noun}", at)

    def _check_iou(self, step: BoxStep, position: int) -> None:
        assert self.box is not None
        assigner: Assigner = step.assigner or self.box.assigner
        if not isinstance(assigner, MaxIou):
            raise refusal(
                f"replaces the thresholds of assigner {MaxIou.called!r}, got {assigner.called!r}",
                at=("steps", position, "iou"),
            )
        if assigner.negative_floor > step.iou:
            raise refusal(
                f"must be at least negative_floor, {assigner.negative_floor:g}, got {step.iou:g}",
                at=("steps", position, "iou"),
            )

    def _check_tasks(self, step: AnyStep, sort: str, position: int) -> None:
        objective = self._objective(step)
        is_own = getattr(step, "objective", None) is not None
        at = ("steps", position, "objective") if is_own else (sort, "objective")
        tasks = objective.tasks()
        for task in sorted(TASKS_OF[sort] - tasks):
            raise refusal(f"missing key {task!r}, which a {sort} step learns", at)
        if sort in ("mask", "mask_iou") and tasks != TASKS_OF[sort]:
            other = sorted(tasks - TASKS_OF[sort])[0]
            raise refusal(f"a {sort} step learns {sort} alone", (*at, other))
        if sort == "rpn" and isinstance(objective, Linear):
            loss = objective.class_
            if isinstance(loss, SoftmaxLoss):
                raise refusal(
                    f"the rpn step has one logit and needs a sigmoid loss, got {loss.called!r}",
                    at=(*at, "class", "name"),
                )

    def _check_order(self, sorts: list[str]) -> None:
        """RoIs come from an RPN, which stands first; other steps on maps make detections, alone."""
        for position, sort in enumerate(sorts):
            if (sort in FIRST) != (position == 0):
                raise refusal(
                    f"the first step, and it alone, must be one of {', '.join(FIRST)}, got {sort}",
                    at=("steps", position),
                )
        if sorts[0] == "rpn" and "box" not in sorts:
            raise refusal("proposals need a box step behind the rpn step", at=("steps",))
        if sorts[0] != "rpn" and len(sorts) > 1:
            raise refusal(f"{sorts[1]} steps need the proposals of an rpn step", at=("steps", 0))
        for position, sort in enumerate(sorts):
            if sort == "mask" and "box" not in sorts[:position]:
                raise refusal("a mask step needs a box step before it", at=("steps", position))
            if sort == "mask_iou" and sorts[position - 1] != "mask":
                raise refusal(
                    "a mask_iou step needs a mask step right before it", at=("steps", position)
                )

    def _check_test(self, sorts: list[str]) -> None:
        for option in self.test.model_fields_set & TEST_OF.keys():
            allowed = TEST_OF[option]
            if not set(allowed) & set(sorts):
                raise refusal(
                    f"is for detectors with a {' or '.join(allowed)} step, "
                    f"got steps {', '.join(sorts)}",
                    at=("test", option),
                )
        compares = "masks" if sorts[0] == "grid" else "boxes"
        if self.test.nms.compares != compares:
            raise refusal(
                f"a {sorts[0]} step gives {compares} to compare, {self.test.nms.called!r} "
                f"compares {self.test.nms.compares}",
                at=("test", "nms", "name"),
            )

    @model_serializer(mode="wrap")
    def _without_what_has_no_step(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Test settings that no step reads are left out, so that the result can be parsed again."""
        settings: dict[str, Any] = handler(self)
        sorts = {step_sort(step) for step in self.steps}
        settings["test"] = {
            option: value
            for option, value in settings["test"].items()
            if option not in TEST_OF or sorts & set(TEST_OF[option])
        }
        return settings
