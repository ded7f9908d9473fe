# Shared by the other files: the checked experiments, names of files, input functions.
import atexit
import gc
import json
import os
import shlex
import sys
from functools import cache, wraps
from hashlib import sha256
from pathlib import Path

from rebalance.cli.page_server import start_page_server
from rebalance.config.code import fingerprint, notebook_imports, run_code, training_code
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.memory import Memory
from rebalance.config.run import DEFAULT_VARIANT
from rebalance.data.mask_check import check_masks
from rebalance.errors import InputError
from rebalance.locks import remove_unless_in_use
from snakemake.exceptions import WorkflowError

# A graph of a thousand jobs is a million objects that live until the end: looking them through again and again
# for garbage takes half of the time of a dry run.
gc.set_threshold(1_000_000)

# `--config seeds=[0,1]` arrives as text.
if isinstance(config.get("seeds"), list):
    config["seeds"] = [
        int(seed) if str(seed).isdigit() else seed for seed in config["seeds"]
    ]

MEMORY = Memory()
try:
    EXPERIMENTS = load_experiments(
        settings=config, check_runs=workflow.is_main_process, memory=MEMORY
    )
except InputError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    atexit.register(MEMORY.save)

SCALE = config["scale"]
DATA = config["data"]
RESULTS = f"results/{SCALE}"
TARGETS = EXPERIMENTS.targets


@cache
def results_of(scale):
    """Where a scale's results are."""
    return EXPERIMENTS.results(scale, DATA)


WRITE_INDEX = f"rebalance index --scale {SCALE} --out {RESULTS}/index.html"


wildcard_constraints:
    scale="|".join(EXPERIMENTS.scales),
    run=r"[a-z0-9_.]+",
    seed=r"\d+",
    variant=r"[a-z0-9_]+",
    work="|".join(EXPERIMENTS.works),
    split="train|val",


def remembered(of):
    """A function whose values are kept for other calls of Snakemake, while what they are of stays as it is."""

    def remember(function):
        @wraps(function)
        def recall(*arguments):
            what = (function.__name__, DATA, *arguments)
            return MEMORY.recall(what, lambda: function(*arguments), of)

        return recall

    return remember


@remembered("configuration")
def settings_of(run, scale, seed):
    """Settings of one training; each is asked for by several rules."""
    return resolve_run(EXPERIMENTS, run, scale, seed, DATA)


def resolved(wildcards):
    """Settings of the run that the wildcards name."""
    return settings_of(wildcards.run, wildcards.scale, int(wildcards.seed))


# A change of the maths reruns a rule by its parameter `code`, a digest of the definitions that the rule
# uses, and not by files of the library as inputs: a loss added to a file would train all of it again.
@remembered("library")
def digest(*names):
    """Digest of the library's code behind some modules and names."""
    return fingerprint(names)


def digest_with_parts(compute, settings, *module):
    """Digest of the code behind a step and the parts that settings name; it is the same for equal settings."""
    named = sha256(settings.model_dump_json().encode()).hexdigest()
    what = (compute.__name__, named, *module)
    return MEMORY.recall(what, lambda: compute(settings, *module), "library")


@remembered("everything")
def digest_of_training(run, scale, seed):
    """Digest of the code behind a training, with the parts that the run names."""
    return digest_with_parts(training_code, settings_of(run, scale, seed))


@remembered("everything")
def digest_of_run(module, run, scale, seed, variant=None):
    """Digest of the code behind a module, with the parts that the run, or its variant, names."""
    settings = settings_of(run, scale, seed)
    if variant is not None:
        settings = settings.tested_as(variant)
    return digest_with_parts(run_code, settings, module)


def training_code_of(wildcards):
    """Digest of the code behind a training."""
    return digest_of_training(wildcards.run, wildcards.scale, int(wildcards.seed))


def code_of(module):
    """Digest of the code behind a module, for rules that are the same for every run."""
    return lambda wildcards: digest(module)


def run_code_of(module):
    """Digest of the code behind a module, with the losses and other parts that the run names."""
    return lambda w: digest_of_run(module, w.run, w.scale, int(w.seed))


def variant_code_of(module):
    """Digest of the code behind a module, with the parts that the variant names."""
    return lambda w: digest_of_run(module, w.run, w.scale, int(w.seed), w.variant)


def released_code_of(module):
    """Digest of the code behind a module, with the parts of the run that stands for a released model."""
    return lambda w: digest_of_run(module, origin_of(w).run, SCALE, 0)


@remembered("everything")
def notebook_code(notebook, *more):
    """Digest of the code that a notebook imports, of what runs it, and of more modules."""
    return digest("rebalance.report.notebooks", *notebook_imports(notebook), *more)


def target_code(wildcards):
    """Digest of the code behind a target's notebook, with the family of figures that it names."""
    family = target_parameters(wildcards).get("family")
    more = [f"rebalance.figures.{family}"] if family else []
    return notebook_code(target_notebook(wildcards), *more)


def datasets_of(*kinds):
    """Wildcard constraint for the data sets of some kinds; one that matches nothing if none."""
    names = [
        name for name, entry in EXPERIMENTS.datasets.items() if entry.called in kinds
    ]
    return "|".join(names) or "(?!)"


def resources_of(scale, job):
    """What the first attempt of a job kind asks for."""
    return getattr(EXPERIMENTS.scales[scale].resources, job)


def scale_resources(job, resource):
    """Memory or time of a job kind from its scale file; retries ask for twice as much."""

    def value(wildcards, attempt):
        return getattr(resources_of(wildcards.scale, job), resource) * min(attempt, 2)

    return value


def threads_of(job):
    """CPU cores of a job kind from its scale file."""
    return lambda wildcards: resources_of(wildcards.scale, job).threads


def gres(gpus):
    """The generic resource that SLURM knows GPUs of a node by, of the site's kind; "" asks for none."""
    kind = os.environ.get("REBALANCE_SLURM_GPU_TYPE")
    return ":".join(filter(None, ("gpu", kind, str(gpus)))) if gpus else ""


def gpus_of(job):
    """GPUs of a job kind."""
    return lambda wildcards: gres(resources_of(wildcards.scale, job).gpus)


def training_nodes(wildcards):
    """Nodes of a training."""
    devices = resolved(wildcards).hardware.devices
    return resources_of(wildcards.scale, "train").nodes_for(devices)


def training_gpus(wildcards):
    """GPUs of each node: no more than the run trains on, which a small batch limits."""
    gpus = resources_of(wildcards.scale, "train").gpus
    devices = resolved(wildcards).hardware.devices
    return gres(min(gpus, devices // training_nodes(wildcards)))


# Snakemake calls each function of a resource for each job, which a dry run spends most of its time on.
ON_SEVERAL_NODES = any(
    scale.resources.train.nodes_for(scale.hardware.devices) > 1
    for scale in EXPERIMENTS.scales.values()
)


def over_nodes(value):
    """Resource of a training on several nodes, from these, devices and CPUs of each; else it has none."""
    if not ON_SEVERAL_NODES:
        return None

    def resource(wildcards):
        nodes = training_nodes(wildcards)
        each = resolved(wildcards).hardware.devices // nodes
        cpus = resources_of(wildcards.scale, "train").threads
        return value(nodes, each, cpus) if nodes > 1 else None

    return resource


def dataset_of(wildcards):
    """Entry of a data set in config/datasets.yaml."""
    return EXPERIMENTS.datasets[wildcards.dataset]


def data_archives():
    """Wildcard constraint for the archives that data sets are made from (weights need no unpacking)."""
    names = {
        name
        for entry in EXPERIMENTS.datasets.values()
        for name in getattr(entry, "archives", [])
    }
    names |= {"coco_panoptic2017", "coco_test2017", "coco_image_info_test2017"}
    return "|".join(sorted(names)) or "(?!)"


def drawing_options(wildcards):
    """Options of the synthetic data sets."""
    entry = dataset_of(wildcards)
    names = ("seed", "num_train", "num_val", "image_size")
    return " ".join(
        f"--{name.replace('_', '-')} {getattr(entry, name)}" for name in names
    )


def folder_parts(wildcards):
    """Annotations and images of a data set that the user provides, by option of the command line."""
    entry = dataset_of(wildcards)
    return {
        f"{split}-{part}": f"{DATA}/{getattr(getattr(entry, part), split)}"
        for split in ("train", "val")
        for part in ("annotations", "images")
    }


def image_sets(split, folder):
    """Pascal VOC image sets of a split, as FOLDER:SET below a folder."""

    def value(wildcards):
        below = folder.format(dataset=wildcards.dataset)
        return [f"{below}/{entry}" for entry in getattr(dataset_of(wildcards), split)]

    return value


def if_there(*files):
    """Those that exist: what the user places is asked for by the job, in one sentence, not by the DAG."""
    return [file for file in files if os.path.exists(file)]


def annotations_of(dataset):
    """The two annotation files of a data set, by split."""
    return {
        split: f"{DATA}/{dataset}/annotations/{split}.json"
        for split in ("train", "val")
    }


def variant_of(wildcards):
    """Settings of the run's variant that the wildcards name."""
    variants = resolved(wildcards).variants
    if wildcards.variant not in variants:
        raise WorkflowError(
            f"run {wildcards.run} has variants {sorted(variants)}, got {wildcards.variant!r}"
        )
    return variants[wildcards.variant]


@remembered("configuration")
def tested_so(run, scale, seed, variant):
    """Test settings of a variant, as JSON for the command line."""
    detector = settings_of(run, scale, seed).tested_as(variant).detector
    return json.dumps(detector.model_dump()["test"])


def test_settings(wildcards):
    """Test settings of the variant, as JSON for the command line."""
    variant_of(wildcards)
    return tested_so(
        wildcards.run, wildcards.scale, int(wildcards.seed), wildcards.variant
    )


@remembered("configuration")
def trained_so(run, scale, seed):
    """What a training depends on: all but how the trained detector is tested and evaluated."""
    without = {
        "variants": True,
        "hardware": {"timeout", "num_workers", "channels_last"},
    }
    settings = settings_of(run, scale, seed).model_dump(exclude=without)
    del settings["detector"]["test"]
    # Only where they are kept: what other trainings depend on stays as it was.
    epochs = EXPERIMENTS.epochs(run, scale)
    return {**settings, "epochs": epochs} if epochs else settings


def training_settings(wildcards):
    """What a training depends on."""
    return trained_so(wildcards.run, wildcards.scale, int(wildcards.seed))


def watching_option():
    """Where the scalars of trainings go while they run, if anywhere."""
    folder = config.get("tensorboard")
    return f"--tensorboard {shlex.quote(folder)}" if folder else ""


def evaluation_options(wildcards):
    """How the command line evaluates the variant."""
    options = " ".join(
        f"--{option} {value}" for option, value in variant_of(wildcards).evaluate
    )
    masks = "--with-masks" if resolved(wildcards).detector.needs_masks else ""
    return f"{options} {ious_option(wildcards.run, wildcards.variant)} {masks}"


def card_option(wildcards):
    """The run's folder, whose card shows what the default variant measures."""
    if wildcards.variant != DEFAULT_VARIANT:
        return ""
    folder = f"results/{wildcards.scale}/runs/{wildcards.run}/seed{wildcards.seed}"
    return f"--card {shlex.quote(folder)}"


def detections_of(wildcards):
    """Detections of a variant; those that differ in their evaluation alone share them."""
    variant_of(wildcards)
    shared = resolved(wildcards).predicted_as(wildcards.variant)
    training = f"results/{wildcards.scale}/runs/{wildcards.run}/seed{wildcards.seed}"
    return f"{training}/{shared}/detections.json"


@remembered("configuration")
def ious_option(run, variant):
    """Thresholds whose AP some table or figure shows of the variant."""
    ious = EXPERIMENTS.ious(run, variant)
    return f"--ious {' '.join(map(str, ious))}" if ious else ""


def dataset_files(split):
    """Annotations of a split of the run's data set."""
    return lambda wildcards: getattr(resolved(wildcards).dataset, split).annotations


def annotations_trained_on(wildcards):
    """As ``dataset_files("train")``, of a folder of the user's own after a look at the masks."""
    run = resolved(wildcards)
    if run.detector.needs_masks:
        check_masks_of(run.dataset.name)
    return run.dataset.train.annotations


@cache
def check_masks_of(dataset):
    """Ends with one line, before any job, if a user's folder lacks the masks that a run trains on."""
    entry = EXPERIMENTS.datasets[dataset]
    if entry.called != "coco_folder":
        return
    annotations, images = (
        {split: Path(DATA, getattr(part, split)) for split in ("train", "val")}
        for part in (entry.annotations, entry.images)
    )
    # One that is not there is asked for by the job that takes it.
    if not all(file.is_file() for file in annotations.values()):
        return
    try:
        check_masks(
            annotations, images, entry.first, Path(f".snakemake/masks/{dataset}.json")
        )
    except InputError as error:
        sys.exit(
            f"snakemake: data set {dataset}, for a detector that trains on masks: {error}"
        )


def testdev_annotations(wildcards):
    """COCO's test-dev where the run is of COCO, else the images of val."""
    dataset = resolved(wildcards).dataset
    if dataset.name == "coco2017":
        return f"{DATA}/coco2017/annotations/testdev.json"
    return dataset.val.annotations


def target_of(wildcards):
    """The target that the wildcards name."""
    return TARGETS[f"{wildcards.work}_{wildcards.target}"]


def notebook_memory(wildcards, attempt):
    """Megabytes of a notebook: one that describes a data set reads all of it, as predicting does."""
    if target_of(wildcards).datasets:
        return scale_resources("predict", "mem_mb")(wildcards, attempt)
    return 1500 * attempt


def notebook_minutes(wildcards, attempt):
    """Minutes of a notebook: one that describes a data set goes through all of its images."""
    return (90 if target_of(wildcards).datasets else 20) * attempt


def page_group(wildcards):
    """Pages that wait for nothing are few jobs on a cluster; others are each made when they can be."""
    return None if target_inputs(wildcards) else "analytic"


@cache
def inputs_of(work, target, scale):
    """Files that a target's notebook reads: of trainings, or annotations of a data set."""
    return TARGETS[f"{work}_{target}"].inputs(results_of(scale))


def target_inputs(wildcards):
    """Files that the target's notebook reads."""
    return inputs_of(wildcards.work, wildcards.target, wildcards.scale)


def target_notebook(wildcards):
    """The notebook that makes the target."""
    return f"notebooks/{target_of(wildcards).notebook}.ipynb"


def executed_notebook(wildcards):
    """Where the target's notebook is executed, and stays if a cell fails: beside its log."""
    return f"logs/{wildcards.scale}/{wildcards.work}/{wildcards.target}.ipynb"


@cache
def parameters_of(work, target, scale):
    """Parameters of a target's notebook."""
    return TARGETS[f"{work}_{target}"].parameters(results_of(scale))


def target_parameters(wildcards):
    """Parameters of the target's notebook; a change of them runs it again."""
    return parameters_of(wildcards.work, wildcards.target, wildcards.scale)


def seeds_option(wildcards):
    """Seeds of the runs that the target shows; nothing if it shows none, and depends on no seed."""
    target = target_of(wildcards)
    if not target.shows_results:
        return ""
    return f"--seeds {' '.join(map(str, target.seeds(results_of(wildcards.scale))))}"


def outputs_of(targets):
    """Files of those targets that the suite can make."""
    return [
        file
        for target in targets
        if target.made
        for file in target.outputs(results_of(SCALE)).values()
    ]


def ids_of(shows_table):
    """Wildcard constraint for the targets that show a table, or a figure."""
    ids = {
        target.id
        for target in TARGETS.values()
        if target.made and target.shows_table == shows_table
    }
    return "|".join(sorted(ids)) or "(?!)"


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


# Hundreds of names that few type: without them every other call of Snakemake is quicker.
def asked_for(prefix, names):
    """Those of the names that are needed for what was typed: none if no word begins like that."""
    return names if any(word.startswith(prefix) for word in sys.argv) else []
