# What every rule file uses: the checked experiments, and names of files.
import os
from pathlib import Path

from rebalance.errors import InputError
from rebalance.experiments import load_experiments, resolve_run, run_sources
from rebalance.sources import notebook_imports, source_files
from rebalance.targets import (
    annotation_files,
    notebook_file,
    notebook_parameters,
    result_files,
    target_files,
)
from snakemake.exceptions import WorkflowError

try:
    EXPERIMENTS = load_experiments(Path("."), settings=config)
except InputError as error:
    raise WorkflowError(str(error)) from None

SCALE = config["scale"]
DATA = config["data"]
RESULTS = f"results/{SCALE}"
TARGETS = EXPERIMENTS.targets


wildcard_constraints:
    scale="|".join(EXPERIMENTS.scales),
    run="|".join(EXPERIMENTS.runs),
    seed=r"\d+",
    variant=r"[a-z0-9_]+",
    work="|".join(EXPERIMENTS.works),
    split="train|val",


def resolved(wildcards):
    """Settings of the run that the wildcards name."""
    return resolve_run(
        EXPERIMENTS, wildcards.run, wildcards.scale, int(wildcards.seed), DATA
    )


def lib_sources(*modules):
    """Library files behind some modules, as inputs: a change of the maths reruns the rule."""
    return [os.path.relpath(path) for path in source_files(modules)]


def datasets_of(*kinds):
    """Wildcard constraint for the data sets of some kinds; one that matches nothing if none."""
    names = [
        name for name, entry in EXPERIMENTS.datasets.items() if entry["kind"] in kinds
    ]
    return "|".join(names) or "(?!)"


def scale_resources(job, resource):
    """A resource of a job kind from its scale file; retries ask for more memory and time."""

    def value(wildcards, attempt):
        amount = EXPERIMENTS.scales[wildcards.scale]["resources"][job][resource]
        return amount * attempt if resource in ("mem_mb", "runtime") else amount

    return value
