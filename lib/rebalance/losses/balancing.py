"""Weights that balance tasks against each other (one per loss) and examples (one per instance).

Task weights are detached scalars that multiply a task's loss. Instance weights are [P], one per
positive; the box loss is their `weighted_mean` (thesis Eq. 8.11).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rebalance.boxes import paired_boxes, paired_iou, ratio
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

    Means over the epoch are divided (thesis 7.3.2). Multiply the localisation part of the loss by
    ``weight``, `update` after every iteration, and call `end_epoch` after every epoch. The state is
    in buffers: it travels with checkpoints and stays on the device.

    Args:
        initial: the weight in the first epoch (50 in the thesis).
    """

    weight: Tensor
    total: Tensor
    localisation: Tensor

    def __init__(self, initial: float = 50.0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(initial))
        self.register_buffer("total", torch.tensor(0.0))
        self.register_buffer("localisation", torch.tensor(0.0))

    @torch.no_grad()
    def update(self, total: Tensor, localisation: Tensor) -> None:
        """Take note of one iteration's ``L_aLRP`` and ``L_loc`` (scalars)."""
        self.total += total
        self.localisation += localisation

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Set the weight for the next epoch; it stays when there was no localisation loss."""
        measured = self.localisation > 0
        self.weight.copy_(torch.where(measured, ratio(self.total, self.localisation), self.weight))
        self.total.zero_()
        self.localisation.zero_()


# --- instances -------------------------------------------------------------------------------


class Positives(NamedTuple):
    """What instance weights are made of.

    Attributes:
        logits: [P, C] sigmoid logits of the positives.
        points: [P, 2] x and y of their anchors' centres, pixels.
        pred_boxes: [P, 4] xyxy, pixels.
        target_boxes: [P, 4].
        all_logits: [n] every logit of the batch that takes part in the ranking.
        all_targets: [n] > 0 at the positives (P of them, in order), 0 or -1 elsewhere.
    """

    logits: Tensor
    points: Tensor
    pred_boxes: Tensor
    target_boxes: Tensor
    all_logits: Tensor
    all_targets: Tensor


def no_weights(positives: Positives) -> Tensor:
    """1 for every positive."""
    return torch.ones_like(positives.points[:, 0])


def centerness_weights(positives: Positives) -> Tensor:
    """Centerness of FCOS (Tian et al., ICCV 2019), in [0, 1]: 1 at the centre, 0 at the border."""
    to_corners = torch.cat(
        [
            positives.points - positives.target_boxes[:, :2],
            positives.target_boxes[:, 2:] - positives.points,
        ],
        dim=1,
    ).clamp(min=0)
    near, far = torch.aminmax(to_corners.reshape(-1, 2, 2), dim=1)
    return ratio(near, far).prod(1).sqrt()


def score_weights(positives: Positives) -> Tensor:
    """The largest confidence score of each positive, in (0, 1), detached."""
    return positives.logits.detach().sigmoid().amax(1)


def iou_weights(positives: Positives) -> Tensor:
    """IoU of each prediction with its ground truth, in [0, 1], detached."""
    pred, target = paired_boxes(positives.pred_boxes.detach(), positives.target_boxes)
    return paired_iou(pred, target).to(positives.pred_boxes.dtype)


def rank_weights(positives: Positives, delta: float = 0.5, delta_loc: float = 0.0) -> Tensor:
    """Ranking-based weights (`ranking_weights`), detached; ``delta_loc`` smooths the numerator."""
    return ranking_weights(positives.all_logits, positives.all_targets, delta, delta_loc)


INSTANCE_WEIGHTS = {
    "none": no_weights,
    "centerness": centerness_weights,
    "score": score_weights,
    "iou": iou_weights,
    "ranking": rank_weights,
}
"""Names of the columns of thesis Table 8.1 -> function of `Positives`; options by keyword."""


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """``sum(w_i L_i) / sum(w_i)`` (thesis Eq. 8.11), 0 when no weight is positive; both [P]."""
    return ratio((weights * losses).sum(), weights.sum())
