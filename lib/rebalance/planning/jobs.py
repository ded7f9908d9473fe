"""Which jobs some targets want: what the workflow would run, file by file, without Snakemake.

A file that is there is taken as it is. Snakemake itself also looks whether settings or code behind
it have changed since. ``tests/workflow/test_planned_jobs.py`` holds these jobs against a dry run.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rebalance.config.experiments import Experiments, resolve_run
from rebalance.config.options.dataset import (
    CocoDownload,
    ImagenetVid,
    ShapesVideos,
    ShapesVoc,
    VocDownload,
)
from rebalance.config.options.released import Checkpoint, OnVideo, OwnFile
from rebalance.config.run import Run
from rebalance.config.targets import Target
from rebalance.errors import InputError

PAGES = ("table", "figure")
DOWNLOADS = ("download", "released_download", "released_weights")
LOCAL = (*DOWNLOADS, "released_placed", "coco_person_keypoints")
"""Rules that run where snakemake does, and never wait in a queue."""
TRAINED = ("model.safetensors", "log.csv", "run.yaml")
EVALUATED = ("metrics.json", "matches.npz")


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        rule: its name.
        outputs: files that it makes.
        inputs: files that it reads and other jobs make.
        target: the table or figure, of a page.
        run: the run, of what is done with one.
        seed: of that run.
        variant: of that run's test settings.
        source: what is downloaded or unpacked: a key of ``data.sources.SOURCES``.
    """

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    target: str | None = None
    run: str | None = None
    seed: int = 0
    variant: str | None = None
    source: str | None = None

    @property
    def is_made(self) -> bool:
        """Whether all of its files are there."""
        return all(Path(file).exists() for file in self.outputs)

    def __str__(self) -> str:
        """``evaluate atss seed 0 default``."""
        parts = (self.target, self.run, self.run and f"seed {self.seed}", self.variant, self.source)
        return " ".join((self.rule, *(part for part in parts if part)))


Make = Callable[..., Job]
"""Makes a job of the groups of a pattern."""


class Jobs:
    """The jobs behind the targets of a scale.

    Args:
        experiments: the configuration.
        scale: a file in ``config/scales``.
        data: folder of the data sets; None: that of the settings.

    Raises:
        InputError: no such scale.
    """

    def __init__(self, experiments: Experiments, scale: str, data: str | None = None) -> None:
        self.experiments, self.scale = experiments, scale
        self.results = experiments.results(scale, data)
        self.data = self.results.data
        self._runs: dict[str, Run] = {}
        self._made_by: dict[str, Job] = {}

    def targets(self, names: Iterable[str]) -> list[Target]:
        """Targets by their names, works by theirs, or all published ones if there is no name.

        Raises:
            InputError: no such target or work, or one that cannot be made.
        """
        found: dict[str, Target] = {}
        for name in names:
            if name in self.experiments.works:
                of_name = [t for t in self.experiments.targets.values() if t.label.work == name]
            else:
                of_name = [self.experiments.target(name, list(self.experiments.works))]
            found.update((target.name, target) for target in of_name)
        chosen = found.values() if found else self.experiments.published
        return [target for target in chosen if target.made]

    def run(self, name: str) -> Run:
        """Settings of a run."""
        if name not in self._runs:
            self._runs[name] = resolve_run(
                self.experiments, name, self.scale, self.results.seeds[0], self.data
            )
        return self._runs[name]

    def page(self, target: Target) -> Job:
        """The job that makes a target."""
        return Job(
            "table" if target.shows_table else "figure",
            tuple(target.outputs(self.results).values()),
            tuple(target.inputs(self.results)),
            target=target.name,
        )

    def log(self, job: Job) -> Path | None:
        """Log of a job; None: of jobs that others seldom miss."""
        logs = Path("logs") / self.scale
        if job.target is not None:
            work, page = Path(job.outputs[0]).parts[-3:-1]
            return logs / work / f"{page}.log"
        if job.run is not None and job.outputs[0].startswith(f"{self.results.folder}/runs/"):
            variant = f".{job.variant}" if job.variant else ""
            if job.rule == "evaluate_epochs":
                return logs / "evaluate" / job.run / f"seed{job.seed}{variant}.epochs.log"
            return logs / job.rule / job.run / f"seed{job.seed}{variant}.log"
        if job.source is not None:
            return Path("logs/data") / f"{job.rule}_{job.source}.log"
        if job.variant in self.experiments.datasets:
            return Path("logs/data") / f"{job.variant}.log"
        return None

    def all(self, targets: Iterable[Target]) -> list[Job]:
        """Every job behind some targets, made or not, after those that it needs."""
        return list(self._behind(targets, made=True))

    def missing(self, targets: Iterable[Target]) -> list[Job]:
        """Jobs that have to run for some targets, after those that they need."""
        return list(self._behind(targets, made=False))

    def _behind(self, targets: Iterable[Target], made: bool) -> Iterator[Job]:
        seen: set[str] = set()

        def visit(job: Job) -> Iterator[Job]:
            if job.outputs[0] in seen:
                return
            seen.add(job.outputs[0])
            if not made and job.is_made:
                return
            for file in job.inputs:
                if made or not Path(file).exists():
                    yield from visit(self.maker(file))
            yield job

        for target in targets:
            yield from visit(self.page(target))

    def maker(self, file: str) -> Job:
        """The job that makes a file.

        Raises:
            InputError: none does.
        """
        if file in self._made_by:
            return self._made_by[file]
        for pattern, make in self._makers:
            if (found := pattern.fullmatch(file)) is not None:
                job = make(**found.groupdict())
                self._made_by[file] = job
                return job
        raise InputError(f"{file}: nothing makes it; put it there")

    @cached_property
    def _makers(self) -> list[tuple[re.Pattern[str], Make]]:
        data, results = re.escape(self.data), re.escape(str(self.results.folder))
        run = rf"{results}/runs/(?P<run>\w+)/seed(?P<seed>\d+)"
        model, name = rf"{results}/released/(?P<model>\w+)", r"(?P<name>\w+)"
        patterns: dict[str, Make] = {
            rf"{run}/({'|'.join(map(re.escape, TRAINED))})": self._train,
            rf"{run}/(?P<rule>positives|speed)\.json": self._of_model,
            rf"{run}/(?P<variant>\w+)/detections\.json": self._predict,
            rf"{run}/(?P<variant>\w+)/({'|'.join(map(re.escape, EVALUATED))})": self._evaluate,
            rf"{run}/(?P<variant>\w+)/epochs\.json": self._evaluate_epochs,
            rf"{model}/({'|'.join(map(re.escape, EVALUATED))})": self._released_evaluate,
            rf"{model}/detections\.json": self._released_detections,
            rf"{model}/(model\.safetensors|run\.yaml)": self._released_import,
            rf"{data}/released/(?P<model>\w+)/(?P<file>[\w.]+)": self._released_file,
            rf"{data}/{name}/drawn/(?P<task>\w+)\.json": self._drawn_truth,
            rf"{data}/{name}/annotations/(train|val)\.json": self._dataset,
            rf"{data}/{name}/annotations/panoptic_val\.json": self._panoptic,
            rf"{data}/{name}/annotations/person_keypoints_val\.json": self._keypoints,
            rf"{data}/raw/{name}": self._raw,
            rf"{data}/downloads/{name}": self._download,
            rf"{data}/weights/{name}\.safetensors": self._weights,
        }
        return [(re.compile(pattern), make) for pattern, make in patterns.items()]

    def _folder(self, run: str, seed: str) -> str:
        return f"{self.results.folder}/runs/{run}/seed{seed}"

    def _train(self, run: str, seed: str) -> Job:
        settings, folder = self.run(run), self._folder(run, seed)
        weights = getattr(settings.backbone, "weights", None)
        inputs = (settings.dataset.train.annotations, *([weights] if weights else []))
        outputs = tuple(f"{folder}/{name}" for name in TRAINED)
        return Job("train", outputs, inputs, run=run, seed=int(seed))

    def _of_model(self, run: str, seed: str, rule: str) -> Job:
        """What is found out about a trained model on the images of training."""
        folder, dataset = self._folder(run, seed), self.run(run).dataset
        splits = (dataset.train, dataset.val) if rule == "speed" else (dataset.train,)
        inputs = (f"{folder}/{TRAINED[0]}", *(split.annotations for split in splits))
        return Job(rule, (f"{folder}/{rule}.json",), inputs, run=run, seed=int(seed))

    def _predict(self, run: str, seed: str, variant: str) -> Job:
        folder = self._folder(run, seed)
        inputs = (f"{folder}/{TRAINED[0]}", self.run(run).dataset.val.annotations)
        output = f"{folder}/{variant}/detections.json"
        return Job("predict", (output,), inputs, run=run, seed=int(seed), variant=variant)

    def _evaluate(self, run: str, seed: str, variant: str) -> Job:
        settings, folder = self.run(run), self._folder(run, seed)
        detections = f"{folder}/{settings.predicted_as(variant)}/detections.json"
        outputs = tuple(f"{folder}/{variant}/{name}" for name in EVALUATED)
        inputs = (detections, settings.dataset.val.annotations)
        return Job("evaluate", outputs, inputs, run=run, seed=int(seed), variant=variant)

    def _evaluate_epochs(self, run: str, seed: str, variant: str) -> Job:
        folder = self._folder(run, seed)
        inputs = (f"{folder}/{TRAINED[0]}", self.run(run).dataset.val.annotations)
        output = f"{folder}/{variant}/epochs.json"
        return Job("evaluate_epochs", (output,), inputs, run=run, seed=int(seed), variant=variant)

    def _released_evaluate(self, model: str) -> Job:
        files = self.results.released[model]
        is_panoptic = self.experiments.released[model].task == "panoptic"
        rule = "released_evaluate_panoptic" if is_panoptic else "released_evaluate"
        names = EVALUATED[:1] if is_panoptic else EVALUATED
        outputs = tuple(f"{files.folder}/{name}" for name in names)
        return Job(rule, outputs, (files.detections, files.truth), variant=model)

    def _released_detections(self, model: str) -> Job:
        files = self.results.released[model]
        inputs: tuple[str, ...]
        origin = self.experiments.origin(model, self.scale)
        output, run = (files.detections,), getattr(origin, "run", None)
        if isinstance(origin, Checkpoint):
            inputs = (f"{files.folder}/{TRAINED[0]}", files.truth)
            return Job("released_predict", output, inputs, run=run, variant=model)
        if not isinstance(origin, OnVideo):
            return Job("drawn_results", output, (files.truth,), variant=model)
        if origin.thresholds == "none":
            trained = f"{self.results.seed_folders(origin.run)[0]}/{TRAINED[0]}"
            return Job("video_frames", output, (trained, files.truth), run=run, variant=model)
        still = self.results.released[self._still_images(origin)]
        inputs = (still.detections, still.file("metrics"), files.truth)
        return Job("video_linked", output, inputs, variant=model)

    def _still_images(self, origin: OnVideo) -> str:
        """The model of the same run that takes every frame on its own."""
        for name in self.experiments.released:
            other = self.experiments.origin(name, self.scale)
            if isinstance(other, OnVideo) and (other.run, other.thresholds) == (origin.run, "none"):
                return name
        raise InputError(f"config/released.yaml: no model on video of {origin.run} without links")

    def _released_import(self, model: str) -> Job:
        folder = self.results.released[model].folder
        origin = self.experiments.origin(model, self.scale)
        assert isinstance(origin, Checkpoint)
        weights = f"{self.data}/released/{model}/weights.pth"
        inputs = (weights, self.run(origin.run).dataset.train.annotations)
        outputs = (f"{folder}/model.safetensors", f"{folder}/run.yaml")
        return Job("released_import", outputs, inputs, variant=model)

    def _released_file(self, model: str, file: str) -> Job:
        """Weights or results, downloaded or put there by the user."""
        rule = "released_weights" if file == "weights.pth" else "released_download"
        if isinstance(self.experiments.origin(model, self.scale), OwnFile):
            rule = "released_placed"
        return Job(rule, (f"{self.data}/released/{model}/{file}",), variant=model)

    def _drawn_truth(self, name: str, task: str) -> Job:
        inputs = (f"{self.data}/{name}/annotations/val.json",)
        return Job("drawn_truth", (f"{self.data}/{name}/drawn/{task}.json",), inputs, variant=task)

    def _dataset(self, name: str) -> Job:
        entry, folder = self.experiments.datasets[name], f"{self.data}/{name}/annotations"
        splits = ("val",) if isinstance(entry, ShapesVideos | ImagenetVid) else ("train", "val")
        outputs = tuple(f"{folder}/{split}.json" for split in splits)
        inputs: tuple[str, ...] = ()
        match entry:
            case CocoDownload() | VocDownload():
                inputs = tuple(f"{self.data}/raw/{archive}" for archive in entry.archives)
            case ShapesVoc():
                inputs = (f"{self.data}/raw/{name}",)
            case ImagenetVid():
                inputs = (f"{self.data}/{entry.categories}/annotations/val.json",)
        return Job(str(entry.called), outputs, inputs, variant=name)

    def _panoptic(self, name: str) -> Job:
        inputs = (f"{self.data}/raw/coco_panoptic2017", f"{self.data}/{name}/annotations/val.json")
        return Job("coco_panoptic", (f"{self.data}/{name}/annotations/panoptic_val.json",), inputs)

    def _keypoints(self, name: str) -> Job:
        output = f"{self.data}/{name}/annotations/person_keypoints_val.json"
        inputs = (f"{self.data}/raw/coco_annotations_trainval2017",)
        return Job("coco_person_keypoints", (output,), inputs)

    def _raw(self, name: str) -> Job:
        output = (f"{self.data}/raw/{name}",)
        if name in self.experiments.datasets:
            return Job("shapes_voc_layout", output, variant=name)
        return Job("extract", output, (f"{self.data}/downloads/{name}",), source=name)

    def _download(self, name: str) -> Job:
        return Job("download", (f"{self.data}/downloads/{name}",), source=name)

    def _weights(self, name: str) -> Job:
        output = (f"{self.data}/weights/{name}.safetensors",)
        return Job("weights", output, (f"{self.data}/downloads/{name}",), source=name)
