"""Two processes with half of each batch compute what one process computes with all of it."""

import os
import signal
import socket
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning_fabric.plugins.environments import LightningEnvironment
from rebalance import distributed
from rebalance.config.options.hardware import JobResources
from rebalance.engine.checkpoint import choose_checkpoint
from rebalance.engine.fabric import SlurmStep, processes_of
from rebalance.engine.slurm import needs_tasks
from rebalance.engine.train import train
from rebalance.errors import InputError
from rebalance.locks import try_lock
from safetensors.torch import load_file

from .conftest import children, wait_for


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def assert_same_training(one, other):
    logs = [pd.read_csv(folder / "log.csv") for folder in (one, other)]
    pd.testing.assert_frame_equal(*logs, check_dtype=False, rtol=1e-4, atol=1e-5)
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)


def finish(process):
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors


def test_one_task_with_two_devices_trains_like_one_process(run, start, tmp_path):
    run["schedule"]["iterations"] = 5
    train(run, tmp_path / "one", threads=1)
    run["hardware"]["devices"] = 2
    finish(start(run, tmp_path / "two", SLURM_NTASKS="1", SLURM_STEP_NUM_TASKS="1"))
    assert_same_training(tmp_path / "one", tmp_path / "two")


def test_two_slurm_tasks_train_like_one_process(run, start, tmp_path):
    run["schedule"]["iterations"] = 5
    train(run, tmp_path / "one", threads=1)
    run["hardware"]["devices"] = 2
    step = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1",
            "SLURM_JOB_ID": "1234", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}  # fmt: skip
    tasks = [
        start(run, tmp_path / "two", **step, SLURM_PROCID=str(k), SLURM_LOCALID=str(k))
        for k in range(2)
    ]
    for task in tasks:
        finish(task)
    assert_same_training(tmp_path / "one", tmp_path / "two")


def test_who_starts_the_processes():
    assert processes_of(4, {}) == (LightningEnvironment, 1)
    assert processes_of(4, {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"})[0] is (
        LightningEnvironment
    )
    # sbatch --ntasks=4 without srun: there is one process, whatever the allocation holds
    assert processes_of(4, {"SLURM_NTASKS": "4"})[0] is LightningEnvironment
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}
    assert processes_of(4, step) == (SlurmStep, 2)
    for devices in (1, 2, 8):
        with pytest.raises(InputError, match=rf"devices is {devices}, but SLURM started 4 tasks"):
            processes_of(devices, step)


@pytest.mark.parametrize(
    ("devices", "gpus", "nodes"),
    [(1, 4, 1), (4, 4, 1), (8, 4, 2), (6, 4, 2), (5, 4, 5), (2, 1, 2), (4, 0, 1)],
)
def test_a_training_takes_the_fewest_nodes_that_share_its_devices_evenly(devices, gpus, nodes):
    job = JobResources(threads=1, gpus=gpus, mem_mb=100, runtime=1)
    assert job.nodes_for(devices) == nodes


def test_tasks_are_started_in_the_script_of_a_job_and_once():
    assert needs_tasks(2, {"SLURM_JOB_ID": "7"})
    assert not needs_tasks(1, {"SLURM_JOB_ID": "7"})
    assert not needs_tasks(2, {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"})
    assert not needs_tasks(2, {})


@pytest.mark.slow
def test_sigterm_to_one_of_two_processes_stops_both_with_a_checkpoint(run, start, tmp_path):
    run["schedule"].update(iterations=2000, checkpoint_every=10**6)
    run["hardware"]["devices"] = 2
    process = start(run, tmp_path / "out")
    deadline = time.monotonic() + 120
    while not (tmp_path / "out" / "log.unfinished.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == os.EX_TEMPFAIL, errors
    assert (tmp_path / "out" / "checkpoint.pt").exists()


@pytest.mark.slow
def test_a_corrupt_image_of_one_rank_stops_both_with_one_message(run, start, shapes, tmp_path):
    images = tmp_path / "images" / "train"
    images.mkdir(parents=True)
    for path in (shapes / "images" / "train").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    broken = sorted(images.iterdir())[5]
    broken.write_bytes(b"")
    run["dataset"]["train"]["images"] = str(images.parent)
    run["hardware"]["devices"] = 2
    process = start(run, tmp_path / "out")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert errors.count("rebalance train: ") == 1
    assert broken.name in errors
    assert "Traceback" not in errors
    assert (tmp_path / "out" / "checkpoint.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_stands_still_ends_the_training_after_the_time_set(
    run, start, tmp_path, rank
):
    run["schedule"].update(iterations=10**6, checkpoint_every=1)
    run["hardware"].update(devices=2, timeout=0.1)
    process = start(run, tmp_path / "out")
    wait_for(tmp_path / "out" / "checkpoint.previous.pt", process)
    (child,) = children(process.pid)
    stopped = (process.pid, child)[rank]
    os.kill(stopped, signal.SIGSTOP)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if rank == 0 else os.EX_TEMPFAIL), errors
    assert "one of 2 processes stands still: they have not met for 0.1 minutes" in errors
    assert "Traceback" not in errors
    while Path(f"/proc/{child}").exists():  # until whoever adopted it has taken note
        assert "State:\tT" not in Path(f"/proc/{child}/status").read_text()
        time.sleep(0.1)
    assert choose_checkpoint(tmp_path / "out") == [], "the last checkpoint is whole"
    assert try_lock(tmp_path / "out" / ".lock") is not None, "the next training need not wait"


def _check_gather(rank, port, folder):
    """In each of two processes: values, and the gradient of a loss of all rows."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    rows = torch.arange(6.0).reshape(3, 2)[: 1 if rank == 0 else 2] + 10 * rank
    rows.requires_grad_()
    everything = distributed.gather_rows(rows)
    weights = torch.tensor([1.0, 2.0, 3.0])[:, None]
    (everything**2 * weights).sum().backward()
    mean = distributed.world_mean(torch.tensor([float(rank), 4.0]))
    torch.save((everything.detach(), rows.detach(), rows.grad, mean), Path(folder) / f"{rank}.pt")
    assert distributed.world_max(rank, torch.device("cpu")) == 1
    assert distributed.world_messages("late" if rank else None) == ["late"]
    dist.destroy_process_group()


def test_gathered_rows_have_the_gradient_of_the_global_loss(tmp_path):
    mp.spawn(_check_gather, args=(free_port(), str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    everything = torch.tensor([[0.0, 1], [10, 11], [12, 13]])
    for rank, (gathered, rows, grad, mean) in enumerate(parts):
        assert gathered.equal(everything)
        assert mean.tolist() == [0.5, 4.0]
        weights = torch.tensor([[1.0], [2.0], [3.0]])[: len(rows)] if rank == 0 else (
            torch.tensor([[2.0], [3.0]])
        )  # fmt: skip
        # both ranks compute the loss, DDP then halves: 2 * (2 w x) / 2
        torch.testing.assert_close(grad / 2, 2 * weights * rows)


def test_a_single_process_needs_no_group():
    rows = torch.ones(2, 3, requires_grad=True)
    assert distributed.gather_rows(rows) is rows
    assert distributed.world_size() == 1
    assert distributed.world_messages(None) == []
