"""A small table of the real workflow on a real one-node SLURM, with trainings cut off on the way.

`make test-slurm` starts the node (tests/slurm/setup.sh) and runs this. One `snakemake --profile
slurm` makes a table of two runs; while they train, one is cancelled with scancel and the other is
preempted. Beside it runs a job that meets its time limit.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.environ.get("REBALANCE_SLURM") != "1",
        reason="needs the one-node SLURM that `make test-slurm` starts",
    ),
    pytest.mark.timeout(1500),
]

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = "focal_eiou_table_1"
CANCELLED, PREEMPTED = "retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1"
EVALUATION = "evaluation_evaluate_predict"  # what SLURM knows these two by, as one job
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}
SNAKEMAKE = ("snakemake", "--profile", "slurm")
QUICK = ("--slurm-init-seconds-before-status-checks", "2")

TIME_LIMIT_WORKFLOW = """
rule train:
    output: "done.txt"
    resources: mem_mb=100, runtime=lambda wildcards, attempt: 4 * attempt
    shell:
        "if [ -e checkpoint ]; then exec touch {output}; fi;"
        " trap 'echo $SECONDS > checkpoint; exit 75' TERM; sleep 300 & wait"
"""


@dataclass
class Job:
    """What SLURM knows of a job, running or ended."""

    number: str
    rule: str
    wildcards: str
    fields: dict[str, str]

    @property
    def state(self) -> str:
        return self.fields["JobState"]

    @property
    def gpus(self) -> str | None:
        """What the job asked for on each node, e.g. "gpu:1"."""
        return self.fields.get("TresPerNode", "").removeprefix("gres:") or None


def command(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, env=ENVIRONMENT, text=True, capture_output=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def jobs_in(folder: Path) -> list[Job]:
    """The jobs that the snakemake in a folder has submitted, oldest first."""
    log = (folder / "snakemake.log").read_text()
    run_id = re.search(r"SLURM run ID: (\S+)", log)
    assert run_id, log
    jobs = []
    for line in command("scontrol", "--oneliner", "show", "job").splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = re.fullmatch(r"rule_(\w+?)(?:_wildcards_(.*))?", fields.get("Comment", ""))
        if name and fields["JobName"] == run_id[1]:
            jobs.append(Job(fields["JobId"], name[1], name[2] or "", fields))
    return sorted(jobs, key=lambda job: int(job.number))


def process_of(project: Path, run: str, seed: int = 0) -> int:
    """The process that trains a run."""
    lock = project / f"results/shapes/runs/{run}/seed{seed}/.lock"
    return json.loads(lock.read_text())["process"]


def stands_still(process: int) -> bool:
    """Whether a process is stopped and no SIGTERM waits for it."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    pending = int(fields["ShdPnd"], 16) | int(fields["SigPnd"], 16)
    return fields["State"].startswith("T") and not pending & 1 << (signal.SIGTERM - 1)


def wake(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # SLURM wakes what it ends, too
        os.kill(process, signal.SIGCONT)


def wait_until(happened: Callable[[], bool], what: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert process.poll() is None, f"snakemake ended before {what}"
        assert time.monotonic() < deadline, f"600 s without {what}"
        time.sleep(0.2)


def make_project(root: Path, shrink: Callable[[dict], object]) -> None:
    """Copy the project; its table has two rows, of trainings of a scale that `shrink` changes."""
    for folder in ("config", "workflow", "notebooks", "lib"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=ignored)
    (root / "slurm").symlink_to((REPOSITORY / "slurm").readlink())
    ENVIRONMENT["PYTHONPATH"] = str(root / "lib")

    def two_rows(paper: dict) -> None:
        table = paper["targets"]["table_1"]
        del table["rows"][2:], table["baselines"][2:]

    small = {"num_train": 32, "num_val": 8}
    edit(root / "config/datasets.yaml", lambda entries: entries["shapes"].update(small))
    edit(root / "config/scales/shapes.yaml", shrink)
    edit(root / "config/papers/focal_eiou.yaml", two_rows)


def edit(file: Path, change: Callable[[dict], object]) -> None:
    contents = yaml.safe_load(file.read_text())
    change(contents)
    file.write_text(yaml.safe_dump(contents, sort_keys=False))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project whose table has two rows, of two short trainings."""
    root = tmp_path_factory.mktemp("slurm").resolve()

    def shrink(scale: dict) -> None:
        scale["schedules"]["focal_eiou"].update(iterations=120, batch_size=4, checkpoint_every=20)
        scale["resources"]["train"].update(gpus=1, mem_mb=1000, runtime=10)
        scale["resources"]["predict"].update(threads=4)

    make_project(root, shrink)
    return root


@pytest.fixture(scope="module")
def time_limited(tmp_path_factory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A snakemake whose `train` job sleeps into its time limit; it runs beside the others."""
    root = tmp_path_factory.mktemp("limit").resolve()
    (root / "Snakefile").write_text(TIME_LIMIT_WORKFLOW)
    (root / "slurm").symlink_to(REPOSITORY / "slurm")
    with (root / "snakemake.log").open("w") as log:
        process = subprocess.Popen(
            (*SNAKEMAKE, *QUICK), cwd=root, env=ENVIRONMENT, stdout=log, stderr=log, text=True
        )
    yield root, process
    process.kill()


@pytest.fixture(scope="module")
def story(project: Path, time_limited: object) -> dict[str, list[Job]]:
    """The jobs of the table by rule, after all that happens to them."""
    log = (project / "snakemake.log").open("w")
    process = subprocess.Popen(
        (*SNAKEMAKE, *QUICK, TABLE), cwd=project, env=ENVIRONMENT, stdout=log, stderr=log, text=True
    )

    def rows(run: str) -> int:
        file = project / f"results/shapes/runs/{run}/seed0/log.unfinished.csv"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def training(run: str) -> Job:
        return next(job for job in reversed(jobs_in(project)) if job.wildcards == f"shapes_{run}_0")

    trainers: dict[str, int] = {}

    def both_stand_still() -> bool:
        # However fast the machine and slow the scheduler, neither is done before it is interrupted.
        for run in (CANCELLED, PREEMPTED):
            if run not in trainers and rows(run) > 40:
                trainers[run] = process_of(project, run)
                os.kill(trainers[run], signal.SIGSTOP)
        return len(trainers) == 2

    try:
        wait_until(both_stand_still, "40 iterations of both", process)
        first, second = training(CANCELLED), training(PREEMPTED)
        command("scancel", first.number)
        wait_until(lambda: not stands_still(trainers[CANCELLED]), "SIGTERM", process)
        wake(trainers[CANCELLED])
        wait_until(
            lambda: not command("squeue", "--noheader", f"--jobs={first.number}").strip(),
            "the end of the cancelled job",
            process,
        )
        urgent = ("--partition=urgent", "--gres=gpu:2", "--mem=100", "--output=/dev/null")
        command("sbatch", *urgent, "--wrap", "sleep 1")
        wait_until(lambda: not stands_still(trainers[PREEMPTED]), "SIGTERM", process)
        wake(trainers[PREEMPTED])
        wait_until(
            lambda: (
                training(PREEMPTED).fields["Restarts"] == "1"
                and training(PREEMPTED).state == "PENDING"
            ),
            "the preemption",
            process,
        )
        # SLURM lets two minutes pass before it starts such a job again.
        command("scontrol", "update", f"JobId={second.number}", "StartTime=now")
        assert process.wait(timeout=900) == 0, (project / "snakemake.log").read_text()[-6000:]
    finally:
        process.kill()
        log.close()
    jobs: dict[str, list[Job]] = {}
    for job in jobs_in(project):
        jobs.setdefault(job.rule, []).append(job)
    return jobs


@pytest.fixture(scope="module")
def outlived(project: Path, time_limited: object, tmp_path_factory) -> Path:
    """The folder of a training whose job was requeued while its process lived on.

    As on a node that has lost contact: the process is out of reach of what SLURM kills.
    """
    programs = tmp_path_factory.mktemp("programs")
    rebalance = shutil.which("rebalance", path=ENVIRONMENT["PATH"])
    (programs / "rebalance").write_text(f'#!/bin/sh\nexec setsid --wait {rebalance} "$@"\n')
    (programs / "rebalance").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{programs}{os.pathsep}{ENVIRONMENT['PATH']}"}
    model = f"results/shapes/runs/{PREEMPTED}/seed7/model.safetensors"
    folder = (project / model).parent
    messages = project / f"logs/shapes/train/{PREEMPTED}/seed7.log"
    log = (project / "snakemake.log").open("w")
    process = subprocess.Popen(
        (*SNAKEMAKE, *QUICK, model), cwd=project, env=environment, stdout=log, stderr=log, text=True
    )
    try:
        wait_until((folder / "log.unfinished.csv").exists, "an iteration", process)
        old = process_of(project, PREEMPTED, seed=7)
        os.kill(old, signal.SIGSTOP)  # it shall not end before the next one is there
        (job,) = (job for job in jobs_in(project) if job.rule == "train")
        command("scontrol", "requeue", job.number)
        wait_until(
            lambda: jobs_in(project)[-1].state == "PENDING", "the end of the old job", process
        )
        command("scontrol", "update", f"JobId={job.number}", "StartTime=now")
        wait_until(
            lambda: messages.exists() and "waiting until it ends" in messages.read_text(),
            "a second training",
            process,
        )
        os.kill(old, signal.SIGCONT)
        assert process.wait(timeout=900) == 0, (project / "snakemake.log").read_text()[-6000:]
    finally:
        process.kill()
        log.close()
    (job,) = (job for job in jobs_in(project) if job.rule == "train")
    assert (job.state, job.fields["Restarts"]) == ("COMPLETED", "1")
    assert f"process {old} on " in messages.read_text()
    assert "this training is finished" in messages.read_text()
    return folder


def test_a_requeued_training_takes_over_what_its_old_process_has_finished(outlived):
    rows = (outlived / "log.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 121))
    assert (outlived / "model.safetensors").stat().st_size > 0
    assert not (outlived / "checkpoint.pt").exists()


def trainings(story: dict[str, list[Job]], run: str) -> list[Job]:
    return [job for job in story["train"] if job.wildcards == f"shapes_{run}_0"]


def test_each_step_of_the_table_is_a_job(story, project):
    story = {rule: jobs for rule, jobs in story.items() if rule != "shapes"}  # there before, or not
    assert {rule: len(jobs) for rule, jobs in story.items()} == {
        "train": 3,  # one of the two a second time
        EVALUATION: 2,
        "table": 1,
    }
    table = (project / "results/shapes/focal_eiou/table_1/table.csv").read_text()
    assert len(table.splitlines()) >= 3  # a header and two rows


def test_only_gpu_jobs_ask_for_gpus_and_see_them(story):
    node = Path("/etc/slurm/slurm.conf").resolve().parents[1]
    seen: dict[str, set[str]] = {}
    for line in (node / "log/tasks").read_text().splitlines():
        number, devices = line.split()
        seen.setdefault(number, set()).add(devices)
    for rule, jobs in story.items():
        for job in jobs:
            if rule == "train":
                assert job.gpus == "gpu:1", job.number
                assert seen[job.number] <= {"0", "1"}, job.number
            else:
                assert job.gpus is None, job.number
                assert seen[job.number] == {"none"}, job.number


def test_the_cores_of_the_submitting_machine_do_not_limit_a_job(story):
    assert {job.fields["NumCPUs"] for job in story[EVALUATION]} == {"4"}


def test_a_cancelled_training_is_submitted_again_with_more_and_goes_on(story, project):
    first, second = trainings(story, CANCELLED)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert (first.fields["MinMemoryNode"], second.fields["MinMemoryNode"]) == ("1000M", "2000M")
    assert (first.fields["TimeLimit"], second.fields["TimeLimit"]) == ("00:10:00", "00:20:00")
    assert iteration_gone_on_from(project, CANCELLED) >= 20


def test_a_preempted_training_starts_again_by_itself_and_goes_on(story, project):
    (job,) = trainings(story, PREEMPTED)
    assert (job.state, job.fields["Restarts"]) == ("COMPLETED", "1")
    assert iteration_gone_on_from(project, PREEMPTED) >= 20


def iteration_gone_on_from(project: Path, run: str) -> int:
    log = (project / f"logs/shapes/train/{run}/seed0.log").read_text()
    found = re.search(r"going on after iteration (\d+)", log)
    assert found, log
    return int(found[1])


@pytest.mark.parametrize("run", [CANCELLED, PREEMPTED])
def test_the_weights_are_those_of_an_uninterrupted_training(story, project, run):
    reference = project / "reference" / run
    options = ("--scale", "shapes", "--seed", "0", "--data", "data", "--threads", "1")
    command("rebalance", "train", run, *options, "--out", str(reference), cwd=project)
    results = project / f"results/shapes/runs/{run}/seed0"
    for file in ("model.safetensors", "log.csv"):
        assert (results / file).read_bytes() == (reference / file).read_bytes(), file


def test_each_job_has_a_log_under_its_rule_and_wildcards(story, project):
    for rule, jobs in story.items():
        for job in jobs:
            folder = f"group_{rule}" if rule == EVALUATION else f"rule_{rule}"
            log = project / "logs/slurm" / folder / job.wildcards / f"{job.number}.log"
            for name in ("predict", "evaluate") if rule == EVALUATION else (rule,):
                assert f"rule {name}:" in log.read_text(), log


def test_a_training_hears_of_its_time_limit_two_minutes_before(story, time_limited):
    root, process = time_limited
    assert process.wait(timeout=300) == 0, (root / "snakemake.log").read_text()[-6000:]
    first, second = jobs_in(root)
    # 75 ends the job before SLURM does; at the limit the state would be TIMEOUT.
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert int((root / "checkpoint").read_text()) <= 120
    assert (first.fields["TimeLimit"], second.fields["TimeLimit"]) == ("00:04:00", "00:08:00")
