"""What a user of the Makefile reads last."""

import os
import re
import shutil
import subprocess

import pytest

PAGES = ("focal_eiou/table_1", "thesis/figure_3_2", "thesis/table_3_1")


@pytest.fixture
def checkout(tmp_path, repository):
    """Installed already, with a workflow that makes three pages of two trainings, or fails."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(repository / name, tmp_path)
    snakemake = tmp_path / ".venv/bin/snakemake"
    snakemake.parent.mkdir(parents=True)
    files = [f"{page}/notebook.html" for page in PAGES]
    files += [f"runs/{run}/seed0/model.safetensors" for run in ("retinanet", "faster_rcnn")]
    made = "".join(f"install -D /dev/null results/shapes/{file}\n" for file in files)
    snakemake.write_text(f'#!/bin/sh\n{made}echo "$@"\nexit $STATUS\n')
    snakemake.chmod(0o755)
    (tmp_path / ".venv/installed").touch()
    return tmp_path


def demo(checkout, status):
    command = ("make", "--no-print-directory", "demo", "CORES=2")
    environment = {**os.environ, "STATUS": str(status)}
    return subprocess.run(command, cwd=checkout, text=True, capture_output=True, env=environment)


def test_the_demo_ends_in_what_was_made_how_long_it_took_and_what_to_open(checkout):
    done = demo(checkout, 0)
    assert done.returncode == 0, done.stderr
    called, *lines = done.stdout.splitlines()
    assert called == "--cores 3 demo"
    made, took, opens = lines
    assert made == "Made 3 pages of tables and figures, from 2 trainings"
    assert re.fullmatch(r"in \d+ min \d+ s", took)
    assert opens == "Open results/shapes/index.html"


def test_threads_of_a_job_do_not_bound_the_cores(checkout):
    done = subprocess.run(
        ("make", "--dry-run", "test"),
        cwd=checkout,
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert f"pytest -n {len(os.sched_getaffinity(0))} " in done.stdout


def test_a_demo_that_failed_does_not_say_that_it_made_anything(checkout):
    done = demo(checkout, 1)
    assert done.returncode != 0
    assert done.stdout.splitlines() == ["--cores 3 demo"]
