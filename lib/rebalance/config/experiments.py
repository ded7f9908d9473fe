"""Everything under ``config/``, read, checked, and resolved: one run for one scale.

A run starts from a detector of ``detectors.yaml``, takes what the scale says of that detector,
and then what the run itself says. The scale also says what a data set, a backbone and a schedule
of that name are. Nothing here imports torch: Snakemake calls it each time it parses the workflow.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from rebalance.config.departures import NamedDeparture, sentences
from rebalance.config.entries import (
    NotMade,
    OfNotebook,
    OfNotebookFigure,
    OfReleasedFigure,
    OfRunsFigure,
    ReleasedRow,
    RunRow,
    parse_entry,
)
from rebalance.config.files import (
    Datasets,
    Detectors,
    NamedDetector,
    Released,
    Scale,
    Settings,
    Work,
)
from rebalance.config.memory import Memory
from rebalance.config.options.backbones import Backbone
from rebalance.config.options.dataset import Dataset
from rebalance.config.options.detector import Detector
from rebalance.config.options.released import (
    Checkpoint,
    Drawn,
    OfRun,
    OnVideo,
    Origin,
    OwnFile,
    ReleasedModel,
    ResultsFile,
)
from rebalance.config.options.steps import step_head
from rebalance.config.parse import Layer, Layers, Place, parse
from rebalance.config.part import nearest
from rebalance.config.reading import load_yaml, merged
from rebalance.config.run import DEFAULT_VARIANT, Run, RunEntry, Variant
from rebalance.config.targets import (
    FigureWithRuns,
    Label,
    ReleasedFiles,
    Results,
    Target,
    targets_of,
)
from rebalance.errors import InputError

Value = TypeVar("Value")
RELEASED_ON, VIDEOS = "coco2017", "imagenet_vid"
"""The data sets that released models are evaluated on, by their names in runs."""


@dataclass(frozen=True)
class Experiments:
    """Everything under ``config/``, checked.

    Attributes:
        root: the folder that holds ``config``.
        settings: of ``config.yaml``.
        datasets: by name.
        bases: the detectors that runs start from, as they are written; see ``kin``.
        scales: by name.
        works: by key.
        released: models that others released, by name.
        targets: tables and figures by name; those that an entry brings stand behind its own.
    """

    root: Path
    settings: Settings
    datasets: dict[str, Dataset]
    bases: dict[str, NamedDetector]
    scales: dict[str, Scale]
    works: dict[str, Work]
    released: dict[str, ReleasedModel] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)

    def place(self, *file: str) -> Place:
        """A file below ``config``."""
        return Place(str(self.root.joinpath("config", *file)))

    def work_place(self, work: str) -> Place:
        """File that holds a work's runs and targets."""
        return self.place("papers", f"{work}.yaml")

    @property
    def runs(self) -> dict[str, RunEntry]:
        """Entries of all runs by name, in the order of their files."""
        return {name: run for work in self.works.values() for name, run in work.runs.items()}

    @property
    def published(self) -> list[Target]:
        """Targets of the published works; those of the suite's own are made by their names only."""
        return [target for target in self.targets.values() if not self.works[target.label.work].own]

    def reported_on(self, images: str) -> dict[str, list[str]]:
        """Runs, with their variants, of tables whose printed numbers are of these images."""
        found: dict[str, list[str]] = {}
        for target in self.targets.values():
            if getattr(target.entry, "reported_on", None) == images:
                for row in target.runs:
                    variants = found.setdefault(row.run, [])
                    if row.variant not in variants:
                        variants.append(row.variant)
        return found

    def work_of(self, run: str) -> str:
        """Key of the work that defines a run.

        Raises:
            InputError: no work does.
        """
        for key, work in self.works.items():
            if run in work.runs:
                return key
        raise InputError(f"no run named {run!r}{nearest(run, self.runs)}; see `rebalance runs`")

    def kin(self, base: str) -> list[str]:
        """A detector and those that it is ``like``, the first of them first.

        Raises:
            InputError: it is like one that there is not, or that is like it in turn.
        """
        chain, file = [base], self.place("detectors.yaml")
        while (like := self.bases[chain[0]].like) is not None:
            place = file.at(chain[0], "like")
            _named(self.bases, like, place, file)
            if like in chain:
                raise InputError(f"{place}: {like!r} is like it in turn")
            chain.insert(0, like)
        return chain

    def detector_layers(self, base: str, scale: str | None = None) -> list[Layer]:
        """What the files say of a detector, the lowest first: of its kin, then at a scale."""
        kin = self.kin(base)
        file = self.place("detectors.yaml")
        layers = [Layer(file.at(name), self.bases[name].settings) for name in kin]
        if scale is not None:
            file = self.place("scales", f"{scale}.yaml")
            changes = self.scales[scale].detectors
            layers += [
                Layer(file.at("detectors", name), changes[name]) for name in kin if name in changes
            ]
        return layers

    def detector_settings(self, base: str, scale: str | None = None) -> dict[str, Any]:
        """A detector as the files say it, for runs to change."""
        return _merged(self.detector_layers(base, scale))

    def target(self, name: str, others: Sequence[str] = ()) -> Target:
        """A target by its name.

        Args:
            name: for example ``focal_eiou_table_2``.
            others: names that may have been meant besides those of the targets.

        Raises:
            InputError: there is none, or the suite does not make it.
        """
        if name not in self.targets:
            known = list(dict.fromkeys([*self.targets, *others]))
            raise InputError(f"no target named {name!r}{nearest(name, known)}")
        target = self.targets[name]
        if isinstance(target.entry, NotMade):
            raise InputError(f"target {name!r} cannot be made: {target.entry.waits}")
        return target

    def seeds(self, scale: str) -> list[int]:
        """Seeds that every run of a scale is trained with."""
        return self.settings.seeds or self.scales[scale].seeds

    def scale(self, name: str) -> Scale:
        """A scale by its name.

        Raises:
            InputError: there is none.
        """
        if name not in self.scales:
            raise InputError(
                f"scale must be one of {', '.join(self.scales)}, got {name!r}"
                f"{nearest(name, self.scales)}"
            )
        return self.scales[name]

    def results(
        self, scale: str, data: str | None = None, seeds: Sequence[int] | None = None
    ) -> Results:
        """Where a scale's results are; data folder and seeds are those of the settings by default.

        Raises:
            InputError: no such scale.
        """
        at = self.scale(scale)
        chosen = seeds or self.settings.seeds
        return Results(
            scale,
            at.title,
            tuple(chosen or at.seeds),
            at.datasets,
            data or self.settings.data,
            {} if chosen else at.seeds_of,
            {run: sentences(self.departures(run, scale)) for run in self.runs},
            {run for run in self.runs if self.epochs(run, scale)},
            {
                name: self.released_files(
                    name, scale, data or self.settings.data, (chosen or at.seeds)[0]
                )
                for name in self.released
            },
            at.classes,
        )

    def origin(self, model: str, scale: str) -> Origin:
        """Where the detections of a released model come from at a scale."""
        return self.released[model].origin_at(self.scale(scale).released)

    def released_files(self, model: str, scale: str, data: str, seed: int) -> ReleasedFiles:
        """Files of a released model at a scale, or of what stands in for it.

        Args:
            model: of ``config/released.yaml``.
            scale: a file in ``config/scales``.
            data: folder of the data sets.
            seed: of a run whose detections are shown.
        """
        at, entry, origin = self.scale(scale), self.released[model], self.origin(model, scale)
        folder = f"results/{scale}/released"
        coco = f"{data}/{at.datasets[RELEASED_ON]}"
        drawn = f"{coco}/drawn/{entry.task}.json"
        detections, run = f"{folder}/{model}/detections.json", None
        says = ""
        match origin:
            case ResultsFile():
                detections = f"{data}/released/{model}/results.json"
                says = "published results file"
            case OwnFile():
                detections = f"{data}/released/{model}/results.json"
                says = f"results file placed by the user: {data}/released/{model}.json"
            case Checkpoint():
                says = f"published weights, imported as {origin.run} and predicted with here"
            case OfRun():
                run = origin.run
                detections = (
                    f"results/{scale}/runs/{run}/seed{seed}/{origin.variant}/detections.json"
                )
                says = f"run {run} of this suite"
            case Drawn():
                says = (
                    f"drawn from the ground truth: {origin.missed:.0%} missed, "
                    f"{origin.invented:.0%} invented, {origin.shift:g} px beside"
                )
            case OnVideo():
                says = f"run {origin.run} on video, thresholds: {origin.thresholds}"
        truths = {
            "boxes": f"{coco}/annotations/val.json",
            "masks": f"{coco}/annotations/val.json",
            "keypoints": f"{coco}/annotations/person_keypoints_val.json",
            "panoptic": f"{coco}/annotations/panoptic_val.json",
            "video": f"{data}/{at.datasets.get(VIDEOS, VIDEOS)}/annotations/val.json",
        }
        truth = drawn if isinstance(origin, Drawn) else truths[entry.task]
        stands_in = origin is entry.stand_in
        return ReleasedFiles(
            detections, truth, f"{folder}/{model}", run, f"stand-in: {says}" if stands_in else says
        )

    def departures(self, run: str, scale: str) -> list[str | NamedDeparture]:
        """Where a run differs from its work at a scale, as its schedule, detector and entry say."""
        entry = self.runs[run]
        schedule, base = self.scale(scale).schedules[entry.schedule], self.bases[entry.base]
        return [*schedule.departures, *base.departures, *entry.departures]

    def epochs(self, run: str, scale: str) -> int:
        """Epochs of a run's training whose weights are kept at a scale; 0: those of the last only.

        They are no part of the run's settings: what is trained does not depend on them.
        """
        return self.scale(scale).schedules[self.runs[run].schedule].epochs or 0

    def ious(self, run: str, variant: str = DEFAULT_VARIANT) -> list[float]:
        """Thresholds whose AP some table or figure shows of a run, beyond COCO's own."""
        asked = {
            metric.iou(row.setting)
            for target in self.targets.values()
            for row, metrics in target.asks()
            if (row.run, row.variant) == (run, variant)
            for metric in metrics
        }
        return sorted(iou for iou in asked if iou is not None)


def load_experiments(
    root: Path = Path("."),
    settings: Mapping[str, Any] | None = None,
    check_runs: bool = True,
    memory: Memory | None = None,
) -> Experiments:
    """Read and check ``root/config``.

    Args:
        root: the folder that holds ``config`` and ``notebooks``.
        settings: what to take for the contents of ``config.yaml`` (Snakemake's own reading of it,
            with ``--config`` on top).
        check_runs: resolve every run at every scale, too; the jobs of a workflow that has checked
            them need not.
        memory: of ``root``; what it has is not read and checked again.

    Raises:
        InputError: file, key, what was got, what is allowed.
    """
    if settings is None:
        settings = load_yaml(root / "config" / "config.yaml")
    checked = parse(Settings, settings, str(root / "config" / "config.yaml"))
    recall = memory.recall if memory else lambda what, compute, of: compute()
    read = recall("experiments", lambda: _read(root, checked), of="configuration")
    experiments = replace(read, settings=checked)
    _check_scale(experiments)
    if check_runs:
        recall("every run", lambda: _check_runs(experiments), of="configuration")
    return experiments


def _read(root: Path, settings: Settings) -> Experiments:
    """All files but ``config.yaml``, checked; no runs resolved."""
    config = root / "config"
    bases = load_yaml(config / "detectors.yaml")
    bases = parse(Detectors, bases, str(config / "detectors.yaml")).root
    works = {path.stem: load_yaml(path) for path in sorted(config.glob("papers/*.yaml"))}
    experiments = Experiments(
        root,
        settings,
        _parsed(Datasets, config / "datasets.yaml").root,
        bases,
        {path.stem: _parsed(Scale, path) for path in sorted(config.glob("scales/*.yaml"))},
        {
            key: parse(Work, work, str(config / "papers" / f"{key}.yaml"))
            for key, work in works.items()
        },
        _parsed(Released, config / "released.yaml").root
        if (config / "released.yaml").is_file()
        else {},
    )
    _check_scales(experiments)
    _check_released(experiments)
    _check_owners(experiments)
    for key, work in experiments.works.items():
        for target_id, entry in work.targets.items():
            place = experiments.work_place(key).at("targets", target_id)
            for target in _targets(key, work.title, target_id, entry, place):
                _check_target(experiments, target, place)
                experiments.targets[target.name] = target
    _check_seeds(experiments)
    _check_classes(experiments)
    return experiments


def _check_runs(experiments: Experiments) -> None:
    """Every run makes sense at every scale."""
    for scale in experiments.scales:
        for run in experiments.runs:
            resolve_run(experiments, run, scale)


def resolve_run(
    experiments: Experiments, name: str, scale: str, seed: int = 0, data: str = "data"
) -> Run:
    """All settings of one run at one scale.

    Args:
        experiments: what ``load_experiments`` returned.
        name: a run of any work.
        scale: a file in ``config/scales``.
        seed: of this training.
        data: folder of the data sets.

    Raises:
        InputError: no such run or scale, or settings that do not go together.
    """
    work = experiments.work_of(name)
    entry, at = experiments.works[work].runs[name], experiments.scale(scale)
    place = experiments.work_place(work).at("runs", name)
    scale_file = experiments.place("scales", f"{scale}.yaml")
    dataset = _named(at.datasets, entry.dataset, place.at("dataset"), scale_file.at("datasets"))
    backbone = _named(
        at.backbones, entry.backbone, place.at("backbone"), scale_file.at("backbones")
    )
    schedule = _named(
        at.schedules, entry.schedule, place.at("schedule"), scale_file.at("schedules")
    )
    _named(experiments.bases, entry.base, place.at("base"), experiments.place("detectors.yaml"))
    below = [
        *experiments.detector_layers(entry.base, scale),
        Layer(place.at("detector"), entry.detector),
    ]
    images = [
        Layer(scale_file.at("image"), at.image.model_dump()),
        Layer(scale_file.at("image_of", entry.dataset), at.image_of.get(entry.dataset, {})),
        Layer(place.at("image"), entry.image),
    ]
    # What is wrong in one of the lower layers here was right before others were laid over it.
    remark = f"; in run {name} at scale {scale}"
    below[:-1], images[:-1] = (
        [layer._replace(place=layer.place._replace(remark=remark)) for layer in layers[:-1]]
        for layers in (below, images)
    )
    detector = _merged(below)
    # Every device has the same number of images, and at least one.
    devices = math.gcd(at.hardware.devices, schedule.batch_size)
    variants = {DEFAULT_VARIANT: Variant(), **entry.variants}
    for variant, changes in variants.items():
        if changes.test:
            on_top = Layer(place.at("variants", variant, "test"), changes.test, ("test",))
            parse(Detector, merged(detector, {"test": changes.test}), Layers([*below, on_top]))
    run = parse(
        Run,
        {
            "name": name,
            "scale": scale,
            "seed": seed,
            "dataset": {
                "name": dataset,
                **{
                    split: {
                        "annotations": f"{data}/{dataset}/annotations/{split}.json",
                        "images": f"{data}/{dataset}/images",
                    }
                    for split in ("train", "val")
                },
            },
            "image": _merged(images),
            "backbone": _with_weights(backbone, data),
            "detector": detector,
            "schedule": schedule.model_dump(exclude={"departures", "epochs"}),
            "may_diverge": entry.may_diverge,
            "variants": {name: variant.model_dump() for name, variant in variants.items()},
            "hardware": {**at.hardware.model_dump(), "devices": devices},
        },
        Layers([
            Layer(place, {}),
            *(layer._replace(at=("image",)) for layer in images),
            *(layer._replace(at=("detector",)) for layer in below),
        ]),
    )  # fmt: skip
    _check_heads(run.detector, below[-1])
    kind = experiments.datasets[dataset]
    if run.detector.needs_masks and not kind.has_masks:
        raise InputError(
            f"{place.at('dataset')}: the detector trains on masks, {dataset} ({kind.called}) has "
            "boxes only"
        )
    return run


def _check_detector(layers: list[Layer]) -> None:
    _check_heads(parse(Detector, _merged(layers), Layers(layers)), layers[-1])


def _check_heads(detector: Detector, layer: Layer) -> None:
    """Heads that a layer speaks of are those of steps; what lies below it may have had others."""
    used = sorted({step_head(step) for step in detector.steps})
    for head in layer.settings.get("heads", {}):
        if head not in used:
            raise InputError(
                f"{layer.place.at('heads', head)}: no step names this head; steps name "
                f"{', '.join(used)}{nearest(head, used)}"
            )


def _merged(layers: Iterable[Layer]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for layer in layers:
        settings = merged(settings, layer.settings)
    return settings


def _parsed(model: type[Any], path: Path) -> Any:
    return parse(model, load_yaml(path), str(path))


def _with_weights(backbone: Backbone, data: str) -> dict[str, Any]:
    """Settings of a backbone; its weights by file instead of name."""
    settings = backbone.model_dump()
    if settings.get("weights"):
        settings["weights"] = f"{data}/weights/{settings['weights']}.safetensors"
    return settings


def _named(table: Mapping[str, Value], name: str, place: Place, file: Place) -> Value:
    if name not in table:
        raise InputError(
            f"{place}: must be in {file} ({', '.join(table)}), got {name!r}{nearest(name, table)}"
        )
    return table[name]


def _check_scale(experiments: Experiments) -> None:
    """The scale of ``config.yaml`` exists."""
    settings = experiments.settings
    if settings.scale not in experiments.scales:
        raise InputError(
            f"{experiments.place('config.yaml').at('scale')}: must be one of "
            f"{', '.join(experiments.scales)}, got {settings.scale!r}"
            f"{nearest(settings.scale, experiments.scales)}"
        )


def _check_scales(experiments: Experiments) -> None:
    """Detectors are whole, names that a scale uses exist, what it says of a detector fits it."""
    for base in experiments.bases:
        _check_detector(experiments.detector_layers(base))
    for name, scale in experiments.scales.items():
        file = experiments.place("scales", f"{name}.yaml")
        for key, dataset in scale.datasets.items():
            _named(
                experiments.datasets,
                dataset,
                file.at("datasets", key),
                experiments.place("datasets.yaml"),
            )
        for key in scale.image_of:
            _named(scale.datasets, key, file.at("image_of", key), file.at("datasets"))
        for base in scale.detectors:
            place = file.at("detectors", base)
            _named(experiments.bases, base, place, experiments.place("detectors.yaml"))
        # Before those that are like it: what is wrong in one is said where it stands.
        for base in sorted(scale.detectors, key=lambda base: len(experiments.kin(base))):
            _check_detector(experiments.detector_layers(base, name))


def _check_released(experiments: Experiments) -> None:
    """Runs that released models are predicted with, or that stand in for them, exist."""
    file = experiments.place("released.yaml")
    for name, model in experiments.released.items():
        for key, origin in (("origin", model.origin), ("stand_in", model.stand_in)):
            if isinstance(origin, Checkpoint | OfRun | OnVideo):
                _check_run_named(
                    experiments,
                    origin.run,
                    getattr(origin, "variant", DEFAULT_VARIANT),
                    file.at(name, key),
                )


def _check_owners(experiments: Experiments) -> None:
    """No run is defined twice."""
    owners: dict[str, str] = {}
    for key, work in experiments.works.items():
        for run in work.runs:
            if run in owners:
                raise InputError(
                    f"{experiments.work_place(key).at('runs', run)}: "
                    f"{experiments.work_place(owners[run])} already defines it; "
                    "a row of any work may name it"
                )
            owners[run] = key


def _targets(
    work: str, paper: str, target_id: str, entry: Mapping[str, Any], place: Place
) -> list[Target]:
    sort, _, number = target_id.partition("_")
    if sort == "table":
        label = Label(work, paper, "table", number)
    elif sort == "figure":
        label = Label(work, paper, "figure", number)
    else:
        raise InputError(f"{place}: must start with table_ or figure_, got {target_id!r}")
    return targets_of(label, parse_entry(sort, entry, place))


def _check_target(experiments: Experiments, target: Target, place: Place) -> None:
    """What a target names exists: its notebook, runs and their variants, its data set."""
    if target.name in experiments.targets:
        raise InputError(f"{place}: another entry makes {target.name}, too")
    if isinstance(target.entry, OfNotebookFigure) and target.entry.trained is not None:
        _check_notebook(experiments, target.entry.trained.notebook, place.at("trained"))
    if isinstance(target.entry, OfReleasedFigure):
        _check_notebook(experiments, target.entry.notebook, place)
    if isinstance(target.entry, OfNotebook | OfRunsFigure):
        _check_notebook(experiments, target.entry.notebook, place)
        for dataset in target.entry.datasets:
            key = "dataset" if dataset == target.entry.dataset else "beside"
            for name, scale in experiments.scales.items():
                scale_file = experiments.place("scales", f"{name}.yaml")
                _named(scale.datasets, dataset, place.at(key), scale_file.at("datasets"))
    keys = ("trained", "rows") if isinstance(target, FigureWithRuns) else ("rows",)
    for index, row in enumerate(target.rows):
        if isinstance(row, RunRow):
            _check_run_named(experiments, row.run, row.variant, place.at(*keys, index))
        if isinstance(row, ReleasedRow) and row.released not in experiments.released:
            raise InputError(
                f"{place.at(*keys, index, 'released')}: must be in "
                f"{experiments.place('released.yaml')}, got {row.released!r}"
                f"{nearest(row.released, experiments.released)}"
            )


def _check_seeds(experiments: Experiments) -> None:
    """Targets that have seeds of their own exist."""
    for name, scale in experiments.scales.items():
        for target in scale.seeds_of:
            if target not in experiments.targets:
                raise InputError(
                    f"{experiments.place('scales', f'{name}.yaml').at('seeds_of')}: "
                    f"no target named {target!r}{nearest(target, experiments.targets)}"
                )


def _check_classes(experiments: Experiments) -> None:
    """Classes that others stand in for are those that some row or figure is about."""
    about = {
        *(row.of for target in experiments.targets.values() for row in target.rows
          if isinstance(row, ReleasedRow) and row.of is not None),
        *(name for target in experiments.targets.values()
          if isinstance(target.entry, OfReleasedFigure) for name in target.entry.classes),
    }  # fmt: skip
    for name, scale in experiments.scales.items():
        place = experiments.place("scales", f"{name}.yaml").at("classes")
        for key in scale.classes:
            if key not in about:
                raise InputError(
                    f"{place.at(key)}: no row or figure is about this class{nearest(key, about)}"
                )


def _check_run_named(experiments: Experiments, run: str, variant: str, place: Place) -> None:
    runs = experiments.runs
    if run not in runs:
        raise InputError(f"{place.at('run')}: no run named {run!r}{nearest(run, runs)}")
    variants = [DEFAULT_VARIANT, *runs[run].variants]
    if variant not in variants:
        raise InputError(
            f"{place.at('variant')}: must be one of {', '.join(variants)}, got {variant!r}"
            f"{nearest(variant, variants)}"
        )


def _check_notebook(experiments: Experiments, name: str, place: Place) -> None:
    folder = experiments.root / "notebooks"
    if not (folder / f"{name}.ipynb").is_file():
        known = [path.stem for path in folder.glob("*.ipynb")]
        raise InputError(
            f"{place.at('notebook')}: there is no {folder / name}.ipynb{nearest(name, known)}"
        )
