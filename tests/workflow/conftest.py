"""A copy of the project, small enough to run through Snakemake in a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


class Project:
    """A copy of configuration, workflow, notebooks and library that a test may change."""

    def __init__(self, root: Path, repository: Path) -> None:
        self.root = root
        for folder in ("config", "workflow", "notebooks", "lib"):
            shutil.copytree(
                repository / folder,
                root / folder,
                ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
            )
        # What a user of the Makefile has, with this copy of the library in front.
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root / "lib"),
            "OMP_NUM_THREADS": "1",
        }

    def edit(self, file: str, change) -> None:
        path = self.root / file
        contents = yaml.safe_load(path.read_text())
        change(contents)
        path.write_text(yaml.safe_dump(contents, sort_keys=False))

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--cores", "2", *arguments, check=check)

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs per rule that a dry run of some targets announces."""
        return self.jobs_of(self.snakemake("--dry-run", *arguments).stdout)

    @staticmethod
    def jobs_of(output: str) -> dict[str, int]:
        """Jobs per rule that the output of a dry run announces."""
        if "Job stats:" not in output:
            return {}
        lines = output.split("Job stats:", 1)[1].split("total", 1)[0].splitlines()[3:]
        return {line.split()[0]: int(line.split()[1]) for line in lines if line.strip()}


@pytest.fixture(scope="session")
def make_project(tmp_path_factory, repository):
    """Projects whose shapes scale takes seconds: 12 images, 4 iterations."""

    def make(name: str = "project") -> Project:
        project = Project(tmp_path_factory.mktemp("checkout") / name, repository)

        def fewer_images(datasets):
            datasets["shapes"].update(num_train=12, num_val=6)

        def fewer_iterations(scale):
            for schedule in scale["schedules"].values():
                schedule.update(iterations=4, batch_size=4, checkpoint_every=2)
                schedule["warmup"]["iterations"] = 1
                schedule["decay"] = {"name": "step", "at": [3], "factor": 0.1}

        project.edit("config/datasets.yaml", fewer_images)
        project.edit("config/scales/shapes.yaml", fewer_iterations)
        return project

    return make
