"""A working folder where nothing is made yet, with the repository's configuration."""

import pytest
from rebalance.config.experiments import load_experiments
from rebalance.planning.jobs import Jobs


@pytest.fixture(scope="session")
def experiments(repository):
    return load_experiments(repository, check_runs=False)


@pytest.fixture
def jobs(experiments, tmp_path, monkeypatch):
    """Those of the scale `shapes`."""
    monkeypatch.chdir(tmp_path)
    return Jobs(experiments, "shapes")


@pytest.fixture
def make():
    """Lets all files of jobs exist."""
    from pathlib import Path

    def make(*made):
        for job in made:
            for file in job.outputs:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                Path(file).touch()

    return make
