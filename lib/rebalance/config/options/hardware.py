"""What a training runs on, and what its jobs ask a cluster for."""

from typing import Annotated, Literal

from annotated_types import Ge

from rebalance.config.bounds import Count, Index, Positive
from rebalance.config.part import Options


class Hardware(Options):
    """Devices of a training."""

    devices: Count = 1
    """GPUs over all nodes, or processes without them."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    """Of the arithmetic, as Lightning Fabric calls it."""
    num_workers: Index = 0
    """Processes that load images, per device."""
    channels_last: bool = False
    """Weights and maps in the memory order that tensor cores take; sums are rounded otherwise."""
    timeout: Positive = 10.0
    """Minutes without an exchange of all processes: one stands still, and the training ends."""


class JobResources(Options):
    """What the first attempt of a job asks for; a retry asks for more."""

    threads: Count
    """CPU cores."""
    gpus: Index
    """GPUs of a node; a training on more devices takes several nodes."""
    mem_mb: Annotated[int, Ge(100)]
    """Megabytes of memory."""
    runtime: Count
    """Minutes."""

    def nodes_for(self, devices: int) -> int:
        """Nodes that hold the devices of a training, equally many each; without GPUs one."""
        if not self.gpus:
            return 1
        fitting = (
            n for n in range(1, devices + 1) if devices % n == 0 and devices <= n * self.gpus
        )
        return next(fitting)


class Resources(Options):
    """Of the jobs that need more than a little."""

    train: JobResources
    """Training."""
    predict: JobResources
    """Prediction, and what reads whole data sets."""
