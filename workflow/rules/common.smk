# Shared by the other files: the checked experiments, names of files, input functions.
import os
import sys
from functools import cache
from pathlib import Path

from rebalance.errors import InputError
from rebalance.experiments import (
    DEFAULT_VARIANT,
    load_experiments,
    resolve_run,
)
from rebalance.settings import needs_masks, run_code
from rebalance.sources import fingerprint, notebook_imports
from rebalance.targets import (
    annotation_files,
    notebook_file,
    notebook_parameters,
    result_files,
    seed_folders,
    target_files,
)
from snakemake.exceptions import WorkflowError

try:
    EXPERIMENTS = load_experiments(
        Path("."), settings=config, check_runs=workflow.is_main_process
    )
except InputError as error:
    raise WorkflowError(str(error)) from None

SCALE = config["scale"]
DATA = config["data"]
RESULTS = f"results/{SCALE}"
TARGETS = EXPERIMENTS.targets
WRITE_INDEX = f"rebalance index --scale {SCALE} --out {RESULTS}/index.html"


wildcard_constraints:
    scale="|".join(EXPERIMENTS.scales),
    run="|".join(EXPERIMENTS.runs),
    seed=r"\d+",
    variant=r"[a-z0-9_]+",
    work="|".join(EXPERIMENTS.works),
    split="train|val",


@cache
def settings_of(run, scale, seed):
    """Settings of one training; each is asked for by several rules."""
    return resolve_run(EXPERIMENTS, run, scale, seed, DATA)


def resolved(wildcards):
    """Settings of the run that the wildcards name."""
    return settings_of(wildcards.run, wildcards.scale, int(wildcards.seed))


# A change of the maths reruns a rule by its parameter `code`, a digest of the definitions that the rule
# uses, and not by files of the library as inputs: a loss added to a file would train all of it again.
@cache
def digest(*names):
    """Digest of the library's code behind some modules and names."""
    return fingerprint(names)


def code_of(module):
    """Digest of the code behind a module, for rules that are the same for every run."""
    return lambda wildcards: digest(module)


def run_code_of(module):
    """Digest of the code behind a module, with the losses and other parts that the run names."""
    return lambda wildcards: run_code(resolved(wildcards), module)


def notebook_code(notebook):
    """Digest of the code that a notebook imports, and of what runs it."""
    return digest("rebalance.report.notebooks", *notebook_imports(notebook))


def datasets_of(*kinds):
    """Wildcard constraint for the data sets of some kinds; one that matches nothing if none."""
    names = [
        name for name, entry in EXPERIMENTS.datasets.items() if entry["kind"] in kinds
    ]
    return "|".join(names) or "(?!)"


def scale_resources(job, resource):
    """Memory or time of a job kind from its scale file; retries ask for twice as much."""

    def value(wildcards, attempt):
        amount = EXPERIMENTS.scales[wildcards.scale]["resources"][job][resource]
        return amount * min(attempt, 2)

    return value


def gpus_of(job):
    """The generic resource that SLURM knows GPUs by; "" asks for none."""

    def value(wildcards):
        gpus = EXPERIMENTS.scales[wildcards.scale]["resources"][job]["gpus"]
        return f"gpu:{gpus}" if gpus else ""

    return value


def dataset_of(wildcards):
    """Entry of a data set in config/datasets.yaml."""
    return EXPERIMENTS.datasets[wildcards.dataset]


def data_archives():
    """Wildcard constraint for the archives that data sets are made from (weights need no unpacking)."""
    names = {
        name
        for entry in EXPERIMENTS.datasets.values()
        for name in entry.get("archives", [])
    }
    return "|".join(sorted(names)) or "(?!)"


def drawing_options(wildcards):
    """Options of the synthetic data sets."""
    entry = dataset_of(wildcards)
    names = ("seed", "num_train", "num_val", "image_size")
    return " ".join(f"--{name.replace('_', '-')} {entry[name]}" for name in names)


def image_sets(split, folder):
    """Pascal VOC image sets of a split, as FOLDER:SET below a folder."""

    def value(wildcards):
        below = folder.format(dataset=wildcards.dataset)
        return [f"{below}/{entry}" for entry in dataset_of(wildcards)[split]]

    return value


def annotations_of(dataset):
    """The two annotation files of a data set, by split."""
    return {
        split: f"{DATA}/{dataset}/annotations/{split}.json"
        for split in ("train", "val")
    }


def variant_settings(wildcards):
    """Test-time settings of the run's variant that the wildcards name."""
    variants = resolved(wildcards)["variants"]
    if wildcards.variant not in variants:
        raise WorkflowError(
            f"run {wildcards.run} has variants {sorted(variants)}, got {wildcards.variant!r}"
        )
    return variants[wildcards.variant]


def target_of(wildcards):
    """The target that the wildcards name."""
    return TARGETS[f"{wildcards.work}_{wildcards.target}"]


def notebook_memory(wildcards, attempt):
    """Megabytes of a notebook: one that describes a data set reads all of it, as predicting does."""
    if "dataset" in target_of(wildcards).settings:
        return scale_resources("predict", "mem_mb")(wildcards, attempt)
    return 1500 * attempt


def target_inputs(wildcards):
    """Files that a target's notebook reads: of trainings, or annotations of a data set."""
    target = target_of(wildcards)
    return result_files(EXPERIMENTS, target, wildcards.scale) + annotation_files(
        EXPERIMENTS, target, wildcards.scale, DATA
    )


def target_notebook(wildcards):
    """The notebook that makes the target."""
    return notebook_file(EXPERIMENTS, target_of(wildcards))


def target_parameters(wildcards):
    """Parameters of the target's notebook; a change of them runs it again."""
    return notebook_parameters(EXPERIMENTS, target_of(wildcards), wildcards.scale, DATA)


def seeds_option(wildcards):
    """Seeds of the runs that the target shows; nothing if it shows none, and depends on no seed."""
    if not target_of(wildcards).is_trained:
        return ""
    return f"--seeds {' '.join(map(str, EXPERIMENTS.seeds(wildcards.scale)))}"


def outputs_of(targets):
    """Files of those targets that the suite can make."""
    return [
        file
        for target in targets
        if target.is_made
        for file in target_files(target, SCALE).values()
    ]


def unknown_target(wildcards):
    """Ends with one line: the name that was meant, or the reason why a target cannot be made."""
    if os.path.exists(wildcards.name):
        return []
    others = [rule.name for rule in workflow.rules]
    try:
        EXPERIMENTS.target(wildcards.name, others)
    except InputError as error:
        sys.exit(
            f"snakemake: {error}"
        )  # an exception would come with seven lines of context
