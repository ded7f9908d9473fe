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
from rebalance.config.options.losses import BoxLoss, DynamicSmoothL1, SoftmaxLoss
from rebalance.config.options.necks import Neck
from rebalance.config.options.objectives import Linear, Objective, Ranking
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
PER_LEVEL = (
    ("dense", "candidates", "base_edges"),
    ("dense", "assigner", "scale_ranges"),
    ("grid", "num_cells"),
    ("grid", "assignment", "scale_ranges"),
)
"""Lists with an entry for each level."""
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

    def _setting(self, step: AnyStep, name: str) -> Any:
        """A step's own setting or the shared one; None where steps of its sort have none."""
        own = getattr(step, name, None)
        return getattr(getattr(self, step_sort(step)), name, None) if own is None else own

    def _objective(self, step: AnyStep) -> Objective:
        objective: Objective = self._setting(step, "objective")
        return objective

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
            self._check_losses(step, sort, position)
        self._check_shared_heads()
        self._check_levels(sorts[0])
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
        assigner: Assigner = self._setting(step, "assigner")
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
        objective, at = self._objective(step), _at_objective(step, sort, position)
        tasks = objective.tasks()
        for task in sorted(TASKS_OF[sort] - tasks):
            raise refusal(f"missing key {task!r}, which a {sort} step learns", at)
        learnt = TASKS_OF[sort] | self.heads[step_head(step)].tasks()
        for task in sorted(tasks - learnt):
            raise refusal(
                f"a {sort} step with head {step_head(step)!r} learns {', '.join(sorted(learnt))}",
                (*at, task),
            )
        if sort == "rpn" and isinstance(objective, Linear):
            loss = objective.class_
            if isinstance(loss, SoftmaxLoss):
                raise refusal(
                    f"the rpn step has one logit and needs a sigmoid loss, got {loss.called!r}",
                    at=(*at, "class", "name"),
                )

    def _check_losses(self, step: AnyStep, sort: str, position: int) -> None:
        """What losses are read by, or read, beside what the head predicts."""
        objective, at = self._objective(step), _at_objective(step, sort, position)
        for part in ("assigner", "sampler"):
            chooser = self._setting(step, part)
            if chooser is not None and chooser.by_loss() and not objective.has_costs():
                raise refusal(
                    f"missing key 'costs_by', the losses that {part} {chooser.called!r} reads", at
                )
        outputs = self.heads[step_head(step)].tasks()
        costs_by = getattr(objective, "costs_by", None)
        for losses, where in ((objective, at), (costs_by, (*at, "costs_by"))):
            box: BoxLoss | None = getattr(losses, "box", None)
            if box is not None and box.reads is not None and box.reads not in outputs:
                raise refusal(
                    f"needs {box.reads}, which head {step_head(step)!r} does not give",
                    (*where, "box", "name"),
                )
        if isinstance(getattr(objective, "box", None), DynamicSmoothL1) and (
            self._setting(step, "dynamic") is None
        ):
            raise refusal(
                f"{DynamicSmoothL1.called!r} needs box.dynamic, which moves its beta",
                (*at, "box", "name"),
            )
        if (
            sort == "mask"
            and isinstance(objective, Ranking)
            and objective.class_ is None
            and self._setting(step, "refined")
        ):
            raise refusal(
                "a ranking of masks takes the classes of the box step before, so it needs "
                "refined: false, got true",
                at,
            )

    def _check_shared_heads(self) -> None:
        """Softmax has a logit for background."""
        has_background = dict[str, bool]()
        for position, step in enumerate(self.steps):
            sort, head = step_sort(step), step_head(step)
            loss = getattr(self._objective(step), "class_", None)
            softmax = isinstance(loss, SoftmaxLoss)
            if has_background.setdefault(head, softmax) != softmax:
                raise refusal(
                    f"head {head!r} has {'no logit' if softmax else 'a logit'} for background in "
                    f"an earlier step, got {'a softmax loss' if softmax else 'another loss'}",
                    (*_at_objective(step, sort, position), "class"),
                )

    def _check_levels(self, sort: str) -> None:
        """What a step on maps says of each level, it says of all that the neck gives."""
        num_levels = getattr(self.neck, "num_levels", None)
        for path in PER_LEVEL:
            found: Any = self if path[0] == sort else None
            for key in path:
                found = getattr(found, key, None)
            if None not in (found, num_levels) and len(found) != num_levels:
                raise refusal(
                    f"must be one per level of the neck, {num_levels}, got {len(found)}", path
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
        outputs = self.heads[step_head(self.steps[0])].tasks()
        if self.test.quality is not None and self.test.quality.output not in outputs:
            raise refusal(
                f"must be an output of head {step_head(self.steps[0])!r}, which has "
                f"{', '.join(outputs) or 'none'}, got {self.test.quality.output!r}",
                at=("test", "quality", "output"),
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


def _at_objective(step: AnyStep, sort: str, position: int) -> tuple[str | int, ...]:
    """Where a step's losses stand: its own, or those that all steps of its sort share."""
    is_own = getattr(step, "objective", None) is not None
    return ("steps", position, "objective") if is_own else (sort, "objective")
