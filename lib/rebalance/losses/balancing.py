"""Weights that balance tasks against each other (one per loss) and examples (one per instance).

Task weights are detached scalars that multiply a task's loss. Instance weights are [P], one per
positive; the box loss is their `weighted_mean` (thesis Eq. 8.11). As with losses, their parameters
without default are what they take, by the names of ``rebalance.detectors.types.Matched``.
"""

import torch
from torch import Tensor, nn

from rebalance.boxes import centerness, paired_boxes, paired_iou, ratio
from rebalance.errors import InputError
from rebalance.losses.ranking import ranking_weights

# --- tasks -----------------------------------------------------------------------------------


def constant_weight(class_loss: Tensor, task_loss: Tensor, weight: float = 1.0) -> Tensor:
    """The usual linear weighting: ``weight``, whatever the losses."""
    return task_loss.new_tensor(weight)


def value_weight(class_loss: Tensor, task_loss: Tensor) -> Tensor:
    """Value-based self-balance ``L_cls / L_t`` (thesis 8.4.3; 8.4.2 prints the inverse).

    Args:
        class_loss: scalar.
        task_loss: scalar >= 0; the weight is 0 where it is 0.
    """
    return ratio(class_loss.detach(), task_loss.detach())


def magnitude_weight(
    class_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
) -> Tensor:
    """Magnitude-based self-balance ``|dL_cls/ds|_1 / |dL_t/db|_1`` (thesis 8.4.2, not inverted).

    Args:
        class_loss: scalar, a function of ``logits``.
        task_loss: scalar, a function of ``outputs``; the weight is 0 where its gradient is 0.
        logits: outputs of the classification head, any shape.
        outputs: outputs of the task's head, any shape.
    """
    (of_logits,) = torch.autograd.grad(class_loss, logits, retain_graph=True)
    (of_outputs,) = torch.autograd.grad(task_loss, outputs, retain_graph=True)
    return ratio(of_logits.abs().sum(), of_outputs.abs().sum())


def guided_weight(class_loss: Tensor, box_loss: Tensor, box_weight: float = 1.0) -> Tensor:
    """Guided loss (thesis Eq. 3.21): the weight ``w_reg L_reg / L_cls`` of the classification loss.

    Args:
        class_loss: scalar >= 0; the weight is 0 where it is 0.
        box_loss: scalar.
        box_weight: ``w_reg``, the weight of the box loss.
    """
    return ratio(box_weight * box_loss.detach(), class_loss.detach())


class EpochBalance(nn.Module):
    """aLRP's self-balance: ``L_aLRP / L_loc`` of the last epoch weighs the gradient of the boxes.

    Means over the epoch are divided (thesis 7.3.2). `update` before ``weight`` multiplies the
    localisation part of an iteration's loss: the iteration that completes an epoch is weighed by
    that epoch, as in the published code. The state is in buffers: it travels with checkpoints, and
    nothing waits for the device.

    Args:
        initial: the weight in the first epoch (50 in the thesis).
        period: iterations of an epoch, those without positives not counted, >= 1. The published
            code has 3665: COCO's 117,266 images with objects, 32 at a time.

    Raises:
        InputError: ``period`` below 1.
    """

    weight: Tensor
    total: Tensor
    localisation: Tensor
    iterations: Tensor

    def __init__(self, initial: float = 50.0, period: int = 3665) -> None:
        super().__init__()
        if period < 1:
            raise InputError(f"period must be at least 1, got {period}")
        self.period = period
        self.register_buffer("weight", torch.tensor(float(initial)))
        self.register_buffer("total", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("localisation", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("iterations", torch.tensor(0))

    @torch.no_grad()
    def update(self, total: Tensor, localisation: Tensor, counts: Tensor | bool = True) -> None:
        """Take note of one iteration, and set the weight if it completes the epoch.

        Args:
            total: ``L_aLRP``, scalar.
            localisation: ``L_loc``, scalar >= 0; the weight stays when all of an epoch are 0.
            counts: whether there were positives; an iteration without is not noted.
        """
        counts = torch.as_tensor(counts, device=self.weight.device)
        self.total += torch.where(counts, total, 0)
        self.localisation += torch.where(counts, localisation, 0)
        self.iterations += counts
        ended = self.iterations >= self.period
        measured = ended & (self.localisation > 0)
        weight = ratio(self.total, self.localisation).to(self.weight.dtype)
        self.weight.copy_(torch.where(measured, weight, self.weight))
        for state in (self.total, self.localisation, self.iterations):
            state.masked_fill_(ended, 0)


# --- instances -------------------------------------------------------------------------------


def no_weights(target_boxes: Tensor) -> Tensor:
    """1 for every positive."""
    return torch.ones_like(target_boxes[:, 0])


def centerness_weights(points: Tensor, target_boxes: Tensor) -> Tensor:
    """Centerness (FCOS, Tian et al., ICCV 2019, Eq. 3), in [0, 1]; see `rebalance.boxes`.

    Args:
        points: [P, 2] x and y of the centres of the positives' anchors, pixels.
        target_boxes: [P, 4] xyxy, pixels.
    """
    return centerness(points, target_boxes)


def score_weights(positive_logits: Tensor) -> Tensor:
    """The largest confidence score of each positive, in (0, 1), detached.

    Args:
        positive_logits: [P, C] sigmoid logits of the positives.
    """
    return positive_logits.detach().sigmoid().amax(1)


def iou_weights(pred_boxes: Tensor, target_boxes: Tensor) -> Tensor:
    """IoU of each prediction [P, 4] with its ground truth [P, 4], in [0, 1], detached."""
    pred, target = paired_boxes(pred_boxes.detach(), target_boxes)
    return paired_iou(pred, target).to(pred_boxes.dtype)


def rank_weights(
    logits: Tensor, targets: Tensor, delta: float = 0.5, delta_loc: float = 0.0
) -> Tensor:
    """Ranking-based weights (`ranking_weights`), detached.

    Args:
        logits: every logit that takes part in the ranking, any shape.
        targets: the same shape; > 0 at the positives, 0 or -1 elsewhere.
        delta: half width of the step in the rank.
        delta_loc: half width of the step in the numerator.
    """
    return ranking_weights(logits.flatten(), targets.flatten(), delta, delta_loc, check=False)


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """``sum(w_i L_i) / sum(w_i)`` (thesis Eq. 8.11), 0 when no weight is positive; both [P]."""
    return ratio((weights * losses).sum(), weights.sum())
