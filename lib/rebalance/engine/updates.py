"""One update of the weights: rate, losses, gradients, clipping, SGD."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from rebalance import distributed
from rebalance.detectors.detector import Detector
from rebalance.detectors.objectives import is_loss, total_loss
from rebalance.engine.schedule import learning_rate


class Updates:
    """SGD with momentum on a detector, under Fabric.

    As in mmdetection: the norm of all gradients is clipped before the weight decay is added, which
    acts on every trainable parameter, biases and norms included; the rate is not part of the
    momentum. ``bias`` of the schedule treats the biases of convolutions and linear layers (not of
    norms) differently: {lr_factor, decay_factor}.

    Args:
        fabric: devices and precision.
        detector: its weights are those to start from.
        schedule: of the run; "lr", "momentum", "weight_decay", "clip_norm" and what
            ``learning_rate`` reads.
        channels_last: whether weights, and with them all maps, are laid out so.
    """

    def __init__(
        self,
        fabric: Fabric,
        detector: Detector,
        schedule: Mapping[str, Any],
        channels_last: bool = False,
    ) -> None:
        self.fabric, self.schedule = fabric, schedule
        if channels_last:
            detector.to(memory_format=torch.channels_last)
        # Fabric unscales the gradients of 16-mixed precision itself, which a fused optimiser does.
        fused = fabric.device.type == "cuda" and self._precision != "16-mixed"
        self.optimizer = torch.optim.SGD(
            parameter_groups(detector, schedule),
            lr=schedule["lr"],
            momentum=schedule["momentum"],
            fused=True if fused else None,
        )
        self.model: nn.Module
        self.model, self.wrapped_optimizer = fabric.setup(detector, self.optimizer)

    def backward(
        self,
        iteration: int,
        images: Tensor,
        targets: Sequence[Mapping[str, Any]],
        rngs: Sequence[torch.Generator],
    ) -> dict[str, float]:
        """Losses and clipped gradients of a batch, not applied yet.

        Args:
            iteration: from 0.
            images: see ``Detector.train_steps``, as ``targets`` and ``rngs``.
            targets: of the images of this rank.
            rngs: one per image.

        Returns:
            Learning rate, losses of the global batch, what objectives log and gradient norm.
        """
        rate = learning_rate(iteration, self.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        found: dict[str, Tensor] = self.model(images, targets, rngs)
        loss = total_loss(found)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model,
            self.wrapped_optimizer,
            max_norm=self.schedule["clip_norm"] or math.inf,
            error_if_nonfinite=False,
        )
        assert isinstance(norm, Tensor)
        means = distributed.world_mean(torch.stack([loss, *found.values()]))
        # The one wait for the device that an iteration needs.
        numbers = torch.cat([means, norm.reshape(1).to(means.dtype)]).tolist()
        values = dict(zip(["loss", *found, "grad_norm"], numbers, strict=True))
        return {"lr": rate, **values}

    def apply(self) -> None:
        """Change the weights."""
        self.wrapped_optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def not_finite(self, values: Mapping[str, float]) -> list[str]:
        """Names of the values that should be finite and are not.

        With 16-mixed precision an infinite gradient is no fault: the scaler skips the update.
        """
        scaled = self._precision == "16-mixed"
        checked = [*filter(is_loss, values), *([] if scaled else ["grad_norm"])]
        return [name for name in checked if not math.isfinite(values[name])]

    @property
    def _precision(self) -> str:
        return self.fabric.strategy.precision.precision

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs besides the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])


def parameter_groups(model: nn.Module, schedule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Trainable parameters by the factors of their rate and decay, for an optimizer."""
    biases = set(_biases(model)) if schedule.get("bias") else set[int]()
    decay = schedule["weight_decay"]
    groups = []
    for is_bias, factors in ((False, {}), (True, schedule.get("bias") or {})):
        parameters = [
            p for p in model.parameters() if p.requires_grad and (id(p) in biases) == is_bias
        ]
        if parameters:
            groups.append({
                "params": parameters,
                "lr_factor": factors.get("lr_factor", 1.0),
                "weight_decay": decay * factors.get("decay_factor", 1.0),
            })  # fmt: skip
    return groups


def _biases(model: nn.Module) -> Iterator[int]:
    """Identities of the biases of convolutions and linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and module.bias is not None:
            yield id(module.bias)
