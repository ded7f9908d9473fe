"""Devices, precision and processes by Lightning Fabric, inside and outside SLURM."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from typing_extensions import override

from rebalance.errors import InputError


class SlurmStep(SLURMEnvironment):
    """One process per task of a SLURM job step.

    Fabric's own class reads the tasks of the whole job (which may hold several steps) and refuses
    jobs that say ``--ntasks`` without ``--ntasks-per-node``; the step's own variables need neither.
    """

    def __init__(self) -> None:
        ClusterEnvironment.__init__(self)

    @override
    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    @override
    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Nothing is left to check: ``processes_of`` compared devices and tasks."""


def processes_of(
    devices: int, environment: Mapping[str, str]
) -> tuple[type[ClusterEnvironment], int]:
    """Who starts the processes of a training with ``devices`` devices, and on how many nodes.

    One task, or none (a laptop, or ``sbatch`` without ``srun``): Fabric starts one process per
    device itself. Several tasks of an ``srun`` step: SLURM has started them, one per device.

    Raises:
        InputError: several tasks, but not as many as devices, or not evenly over the nodes.
    """
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks == 1:
        return LightningEnvironment, 1
    nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if tasks != devices or tasks % nodes:
        raise InputError(
            f"hardware.devices is {devices}, but SLURM started {tasks} tasks on {nodes} nodes: ask "
            f"for one task (it starts {devices} processes itself) or for {devices} tasks, evenly "
            "over the nodes"
        )
    return SlurmStep, nodes


def will_be_main(devices: int, environment: Mapping[str, str]) -> bool:
    """Whether this process will have rank 0, before the processes of the training have met."""
    started_by, _ = processes_of(devices, environment)
    rank = "SLURM_PROCID" if started_by is SlurmStep else "LOCAL_RANK"
    return environment.get(rank, "0") == "0"


def make_fabric(hardware: Mapping[str, Any]) -> Fabric:
    """Fabric for "devices" (over all nodes) and "precision", on CUDA if there is any, else the CPU.

    Raises:
        InputError: more devices than there are, or a number of SLURM tasks that does not fit.
    """
    devices = int(hardware["devices"])
    environment, nodes = processes_of(devices, os.environ)
    local = devices // nodes
    accelerator = _accelerator()
    if accelerator == "cuda" and local > torch.cuda.device_count():
        raise InputError(
            f"hardware.devices asks for {local} GPUs on this node, there are "
            f"{torch.cuda.device_count()}"
        )
    if devices == 1:
        return single_device_fabric(hardware["precision"])
    return Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=nodes,
        strategy=DDPStrategy(
            cluster_environment=environment(),
            # Later than the end that the training gives itself.
            timeout=timedelta(minutes=30 + 2 * hardware["timeout"]),
        ),
        precision=hardware["precision"],
    )


def single_device_fabric(precision: Any) -> Fabric:
    """One process on one device, whatever SLURM's variables say."""
    return Fabric(
        accelerator=_accelerator(),
        devices=1,
        plugins=LightningEnvironment(),
        precision=precision,
    )


def _accelerator() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
