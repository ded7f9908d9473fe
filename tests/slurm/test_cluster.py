"""What a site may have: GPUs of a type, trainings on several nodes, short jobs in groups.

A training of the table fails. Snakemake goes on with all the rest, and when it is started again,
the mistake mended, it makes what is missing.
"""

import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from rebalance.config.experiments import load_experiments, resolve_run
from safetensors.torch import load_file
from test_slurm import (
    ENVIRONMENT,
    EVALUATION,
    QUICK,
    SNAKEMAKE,
    TABLE,
    Job,
    command,
    edit,
    jobs_in,
    make_project,
    pytestmark,  # noqa: F401
)

GOOD, BROKEN = "retinanet_r50_smooth_l1", "retinanet_r50_balanced_l1"
FIGURES = ("focal_eiou_figure_2", "thesis_figure_1_2")
SITE = {"REBALANCE_SLURM_PARTITION": "pair", "REBALANCE_SLURM_GPU_TYPE": "fast"}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Trainings on two devices, where a node has one."""
    root = tmp_path_factory.mktemp("cluster").resolve()

    def shrink(scale: dict) -> None:
        scale["schedules"]["focal_eiou"].update(iterations=4, batch_size=4)
        scale["hardware"].update(devices=2)
        scale["resources"]["train"].update(gpus=1, mem_mb=1000, runtime=10)

    make_project(root, shrink)
    return root


def set_weight(project: Path, weight: float) -> None:
    """Of the box loss of the run that fails."""

    def change(paper: dict) -> None:
        detector = paper["runs"][BROKEN].setdefault("detector", {})
        detector["dense"]["objective"]["box"]["weight"] = weight

    edit(project / "config/papers/focal_eiou.yaml", change)


def snakemake(project: Path) -> tuple[int, dict[str, list[Job]]]:
    """Exit status, and the jobs by rule or group."""
    words = (*SNAKEMAKE, *QUICK, "--retries", "0", "--", TABLE, *FIGURES)
    with (project / "snakemake.log").open("w") as log:
        done = subprocess.run(
            words, cwd=project, env={**ENVIRONMENT, **SITE}, stdout=log, stderr=log, timeout=900
        )
    jobs: dict[str, list[Job]] = {}
    for job in jobs_in(project):
        jobs.setdefault(job.rule, []).append(job)
    return done.returncode, jobs


def page(project: Path, target: str) -> Path:
    work = "thesis" if target.startswith("thesis") else "focal_eiou"
    name = target.removeprefix(f"{work}_")
    return project / f"results/shapes/{work}/{name}/notebook.html"


@pytest.fixture(scope="module")
def story(project: Path) -> tuple[dict[str, list[Job]], dict[str, list[Job]]]:
    """Jobs before and after the mistake is mended."""
    paper = yaml.safe_load((project / "config/papers/focal_eiou.yaml").read_text())
    weight = paper["runs"][BROKEN]["detector"]["dense"]["objective"]["box"]["weight"]
    set_weight(project, 1e38)
    status, before = snakemake(project)
    assert status == 1, (project / "snakemake.log").read_text()[-6000:]
    assert all(page(project, name).exists() for name in FIGURES)
    assert (project / f"results/shapes/runs/{GOOD}/seed0/default/metrics.json").exists()
    assert not page(project, TABLE).exists()
    set_weight(project, weight)
    status, after = snakemake(project)
    assert status == 0, (project / "snakemake.log").read_text()[-6000:]
    assert page(project, TABLE).exists()
    return before, after


def states(jobs: list[Job]) -> dict[str, str]:
    return {job.wildcards.removeprefix("shapes_").removesuffix("_0"): job.state for job in jobs}


def test_after_a_failure_snakemake_goes_on_and_makes_the_rest_the_next_time(story):
    before, after = story
    assert states(before["train"]) == {GOOD: "COMPLETED", BROKEN: "FAILED"}
    assert {rule: len(jobs) for rule, jobs in after.items()} == {
        "train": 1, EVALUATION: 1, "table": 1
    }  # fmt: skip
    assert states(after["train"]) == {BROKEN: "COMPLETED"}


def test_pages_that_wait_for_nothing_are_one_job(story, project):
    before, _ = story
    (job,) = before["analytic_figure"]
    assert job.fields["NumCPUs"] == "2"  # both at once
    assert job.fields["MinMemoryNode"] == "3000M"
    log = project / f"logs/slurm/group_analytic_figure/{job.number}.log"
    assert log.read_text().count("rule figure:") == len(FIGURES)


def test_a_prediction_takes_its_evaluation_along(story):
    before, _ = story
    (job,) = before[EVALUATION]
    assert job.state == "COMPLETED"


def test_trainings_ask_for_gpus_of_the_type_on_each_of_their_nodes(story):
    for jobs in story:
        for job in jobs["train"]:
            assert job.gpus == "gpu:fast:1"
            assert (job.fields["NumNodes"], job.fields["NumTasks"]) == ("2", "2")


def test_two_nodes_and_one_task_with_two_devices_train_the_same(story, project, tmp_path):
    run = resolve_run(load_experiments(project), GOOD, "shapes", 0, "data").model_dump()
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    step = ("srun", "--ntasks=1", "--gres=gpu:2", "--mem=2000", "--time=5")
    training = ("rebalance", "train", "--run-file", str(tmp_path / "run.yaml"))
    command(*step, *training, "--threads", "1", "--out", str(tmp_path), cwd=project)
    weights = []
    for folder in (project / f"results/shapes/runs/{GOOD}/seed0", tmp_path):
        made_with = yaml.safe_load((folder / "run.yaml").read_text())["made_with"]
        assert made_with["processes"] == 2
        weights.append(load_file(folder / "model.safetensors"))
    torch.testing.assert_close(*weights)
