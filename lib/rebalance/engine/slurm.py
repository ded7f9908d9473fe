"""Tasks of a training on several nodes, started from the batch script of a SLURM job."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn


def needs_tasks(nodes: int, environment: Mapping[str, str]) -> bool:
    """Whether a training on some nodes is in the script of a job, and not yet one of its tasks."""
    return nodes > 1 and "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment


def become_tasks(devices: int, nodes: int, cpus: int) -> NoReturn:
    """Start this command once for each device, by ``srun``, in the place of this process.

    ``srun`` ends as the task does that ends worst; SLURM's signals reach the tasks themselves.

    Args:
        devices: over all nodes.
        nodes: that hold equally many of them.
        cpus: cores of a node that the job has.
    """
    each = devices // nodes
    tasks = (
        f"--nodes={nodes}", f"--ntasks={devices}", f"--ntasks-per-node={each}",
        f"--cpus-per-task={max(1, cpus // each)}",
    )  # fmt: skip
    again = (sys.executable, "-m", "rebalance.cli", *sys.argv[1:])
    os.execvp("srun", ("srun", *tasks, *again))
