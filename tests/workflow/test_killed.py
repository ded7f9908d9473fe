"""Snakemake is killed and started again: nothing by hand, and nothing long is made twice."""

import hashlib
import io
import os
import signal
import subprocess
import tarfile
import threading
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed")]

RUN = "retinanet_r50_smooth_l1"


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose trainings take seconds."""
    project = make_project()

    def more_iterations(scale):
        scale["schedules"]["focal_eiou"].update(iterations=60, checkpoint_every=10)

    project.edit("config/scales/shapes.yaml", more_iterations)
    return project


def model_of(seed):
    return f"results/shapes/runs/{RUN}/seed{seed}/model.safetensors"


def start(project, *targets):
    """Snakemake and nothing of what it starts can be killed by its number."""
    return subprocess.Popen(
        ["snakemake", "--cores", "1", *targets], cwd=project.root, env=project.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_until(happened, process=None):
    deadline = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


def orphan_of(folder):
    """Process id of the training in a folder, which its lock names."""
    return int((folder / ".lock").read_text().split('"process": ')[1].split(",")[0])


def start_and_kill(project, seed):
    """Kill snakemake in the middle of a training; the training lives on."""
    folder = (project.root / model_of(seed)).parent
    snakemake = start(project, model_of(seed))
    wait_until((folder / "log.unfinished.csv").exists, snakemake)
    snakemake.kill()
    snakemake.wait()
    return folder, orphan_of(folder)


def test_what_an_orphan_has_finished_before_the_restart_is_taken_over(project):
    folder, _ = start_and_kill(project, 0)
    wait_until(lambda: (folder / "run.yaml").exists() and not (folder / ".lock").exists())
    finished = (folder / "model.safetensors").stat()
    project.snakemake(model_of(0))
    assert os.path.samestat(finished, (folder / "model.safetensors").stat())
    assert project.planned(model_of(0)) == {}
    log = (project.root / f"logs/shapes/train/{RUN}/seed0.log").read_text()
    assert "this training is finished" in log


def test_the_restart_waits_for_an_orphan_and_takes_over_its_result(project):
    folder, orphan = start_and_kill(project, 1)
    os.kill(orphan, signal.SIGSTOP)
    snakemake = start(project, model_of(1))
    log = project.root / f"logs/shapes/train/{RUN}/seed1.log"
    wait_until(lambda: log.exists() and "waiting until it ends" in log.read_text(), snakemake)
    os.kill(orphan, signal.SIGCONT)
    assert snakemake.wait(timeout=240) == 0
    assert "this training is finished" in log.read_text()
    rows = (folder / "log.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 61))


def test_beside_a_living_snakemake_its_locks_stay(project):
    model = project.root / model_of(2)
    snakemake = start(project, model_of(2))
    wait_until((model.parent / "log.unfinished.csv").exists, snakemake)
    snakemake.send_signal(signal.SIGSTOP)
    try:
        done = project.snakemake(model_of(2), check=False)
        assert done.returncode != 0
        assert "Directory cannot be locked" in done.stdout
    finally:
        snakemake.send_signal(signal.SIGCONT)
    assert snakemake.wait(timeout=240) == 0
    assert model.exists()


@pytest.fixture(scope="module")
def archive():
    """Enough files for a kill while they are unpacked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for k in range(5000):
            file.addfile(tarfile.TarInfo(f"{k}.txt"))
    return buffer.getvalue()


def test_what_orphans_have_downloaded_and_unpacked_is_taken_over(make_project, server, archive):
    project, server.holds = make_project(), threading.Event()
    url, sha256 = server.add("a.tar", archive), hashlib.sha256(archive).hexdigest()
    with (project.root / "lib/rebalance/data/sources.py").open("a") as sources:
        sources.write(f'\nSOURCES["voc2007_test"] = Source("{url}", sha256="{sha256}")\n')
    downloaded, unpacked = (f"data/{step}/voc2007_test" for step in ("downloads", "raw"))

    snakemake = start(project, downloaded)
    wait_until(lambda: server.requests, snakemake)
    snakemake.kill()
    server.holds.set()
    wait_until((project.root / downloaded).exists)
    project.snakemake(downloaded)
    assert len(server.requests) == 1

    snakemake = start(project, unpacked)
    wait_until(lambda: list((project.root / "data/raw").rglob("*.lock")), snakemake)
    snakemake.kill()
    wait_until((project.root / unpacked).exists)
    first = (project.root / unpacked / "0.txt").stat()
    project.snakemake(unpacked)
    assert os.path.samestat(first, (project.root / unpacked / "0.txt").stat())
    assert len(list((project.root / unpacked).glob("*.txt"))) == 5000
    assert project.planned(unpacked) == {}
