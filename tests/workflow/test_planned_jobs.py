"""The jobs that `rebalance plan` counts are those that Snakemake would run."""

from collections import Counter

import pytest
from rebalance.config.experiments import load_experiments
from rebalance.planning.jobs import Jobs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scale", ["shapes", "paper"])
def test_they_are_those_of_a_dry_run(make_project, scale, monkeypatch):
    project = make_project()
    monkeypatch.chdir(project.root)
    jobs = Jobs(load_experiments(project.root, check_runs=False), scale)
    counted = Counter(job.rule for job in jobs.missing(jobs.targets([])))
    planned = project.planned("--config", f"scale={scale}")
    assert counted == {rule: count for rule, count in planned.items() if rule != "all"}
