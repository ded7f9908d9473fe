"""Experiments as data: reads ``config/``, checks all of it, resolves one run for one scale.

A run starts from a detector of ``detectors.yaml``, takes what the scale says of that detector,
and then what the run itself says. The scale also says what a data set, a backbone and a schedule
of that name are. Nothing here imports torch: Snakemake calls it each time it parses the workflow.
"""

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import fastjsonschema
import yaml

from rebalance.errors import InputError
from rebalance.rows import row_names
from rebalance.settings import merged, named_parts, needs_masks
from rebalance.sources import parts

DEFAULT_VARIANT = "default"
CURVES = "_curves"
"""Ending of the targets that show the training curves of a table's runs."""
TRAINED = "_trained"
"""Ending of the targets that show an analytic figure with the series of trained runs in it."""
WITHOUT_MASKS = ("shapes_voc", "voc_download")
"""Kinds of data sets whose annotations are boxes only."""
RESERVED_PARAMETERS = {
    # What the detector passes itself, so that a configuration must not.
    "loss": {"logits", "targets", "labels", "pred_deltas", "target_deltas", "pred_boxes",
             "target_boxes", "mask_logits", "mask_targets", "reduction", "localisation_errors"},
    "assigner": {"boxes", "gt_boxes", "gt_labels", "ignored_boxes", "level_sizes", "costs",
                 "image_size", "image", "validate"},
    "sampler": {"assignment", "rng", "boxes", "losses"},
    "overlap": {"boxes", "gt_boxes", "boxes1", "boxes2"},
    "roi_source": {"proposals", "target", "rng", "iou"},
}  # fmt: skip


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML that refuses a key given twice, which plain YAML lets pass with the last one winning."""


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
            )
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # merge keys (<<), which may repeat what is merged
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _strict_mapping)


def load_yaml(path: Path) -> Any:
    """Contents of a YAML file.

    Raises:
        InputError: no such file, not YAML, or a key given twice; the message has file and line.
    """
    try:
        with path.open() as file:
            return yaml.load(file, _StrictLoader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


class Target(NamedTuple):
    """A table or figure: what ``snakemake <name>`` makes.

    Attributes:
        name: ``<work>_<id>``, for example ``focal_eiou_table_2``.
        work: key of the work.
        id: ``table_2``, ``figure_4``, ``table_2_curves``.
        settings: its entry in the work's file.
    """

    name: str
    work: str
    id: str
    settings: Mapping[str, Any]

    @property
    def is_table(self) -> bool:
        """Whether it is a table (``table.csv``) or a figure (``figure.svg``)."""
        return _is_table(self.id)

    @property
    def is_curves(self) -> bool:
        """Whether it shows the training curves of a table."""
        return self.id.endswith(CURVES)

    @property
    def is_trained(self) -> bool:
        """Whether it shows trained runs."""
        return _names_runs(self.settings)

    @property
    def is_made(self) -> bool:
        """Whether the suite can make it; if not, ``settings["waits"]`` says why."""
        return "waits" not in self.settings


class Experiments(NamedTuple):
    """Everything under ``config/``, checked."""

    root: Path
    settings: dict[str, Any]
    datasets: dict[str, Any]
    detectors: dict[str, Any]
    scales: dict[str, Any]
    works: dict[str, Any]

    def work_file(self, work: str) -> Path:
        """File that holds a work's runs and targets."""
        return self.root / "config" / "papers" / f"{work}.yaml"

    def work_of(self, run: str) -> str:
        """Key of the work that defines a run.

        Raises:
            InputError: no work does.
        """
        for key, work in self.works.items():
            if run in work["runs"]:
                return key
        raise InputError(f"no run named {run!r}{_suggestion(run, self.runs)}; see `rebalance runs`")

    @property
    def runs(self) -> list[str]:
        """Names of all runs, in the order of their files."""
        return [run for work in self.works.values() for run in work["runs"]]

    @property
    def targets(self) -> dict[str, Target]:
        """All targets by name, with those derived from an entry behind the entry's own.

        A table of trained runs brings its training curves. An analytic figure with ``trained``
        brings the same figure with the series of those runs in it.
        """
        found = {}
        for key, work in self.works.items():
            for target_id, settings in work["targets"].items():
                entries = {target_id: settings, **_derived(target_id, settings)}
                for entry_id, entry in entries.items():
                    found[f"{key}_{entry_id}"] = Target(f"{key}_{entry_id}", key, entry_id, entry)
        return found

    def target(self, name: str, others: Sequence[str] = ()) -> Target:
        """A target by its name.

        Args:
            name: for example ``focal_eiou_table_2``.
            others: names that may have been meant besides those of the targets.

        Raises:
            InputError: there is none, or the suite does not make it.
        """
        targets = self.targets
        if name not in targets:
            known = list(dict.fromkeys([*targets, *others]))
            raise InputError(f"no target named {name!r}{_suggestion(name, known)}")
        if not targets[name].is_made:
            raise InputError(f"target {name!r} cannot be made: {targets[name].settings['waits']}")
        return targets[name]

    def seeds(self, scale: str) -> list[int]:
        """Seeds that every run of a scale is trained with."""
        return self.settings["seeds"] or self.scales[scale]["seeds"]


def _is_table(target_id: str) -> bool:
    return target_id.startswith("table_") and not target_id.endswith(CURVES)


def _names_runs(settings: Mapping[str, Any]) -> bool:
    return any("run" in row for row in settings.get("rows", []))


def _derived(target_id: str, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Targets that an entry brings besides its own, by id; see ``Experiments.targets``."""
    found: dict[str, dict[str, Any]] = {}
    if _is_table(target_id) and _names_runs(settings):
        found[target_id + CURVES] = {
            "title": settings["title"],
            "kind": "curves",
            "notebook": "training_curves",
            "reads": "log",
            "rows": settings["rows"],
        }
    if "trained" in settings:
        kept = {key: settings[key] for key in ("title", "numbers") if key in settings}
        doubts = [*settings.get("doubts", []), *settings["trained"].get("doubts", [])]
        found[target_id + TRAINED] = {
            "kind": "trained", **kept, **settings["trained"], "doubts": doubts
        }  # fmt: skip
    return found


def load_experiments(
    root: Path = Path("."),
    settings: Mapping[str, Any] | None = None,
    check_runs: bool = True,
) -> Experiments:
    """Read and check ``root/config`` against ``root/workflow/schemas``.

    Args:
        root: the folder that holds ``config`` and ``workflow``.
        settings: what to take for the contents of ``config.yaml`` (Snakemake's own reading of it,
            with ``--config`` on top).
        check_runs: resolve every run at every scale, too; the jobs of a workflow that has checked
            them need not.

    Raises:
        InputError: unknown or missing key, unknown part or option, a row that names no run, a run
            that two works define; the message names file and key.
    """
    config = root / "config"
    if settings is None:
        settings = load_yaml(config / "config.yaml")
    _check_schema(root, settings, "config", str(config / "config.yaml"))
    datasets = _checked(root, config / "datasets.yaml", "datasets")
    detectors = _checked(root, config / "detectors.yaml", "detectors")
    scales = {
        path.stem: _checked(root, path, "scale") for path in sorted(config.glob("scales/*.yaml"))
    }
    works = {
        path.stem: _checked(root, path, "work") for path in sorted(config.glob("papers/*.yaml"))
    }
    experiments = Experiments(root, dict(settings), datasets, detectors, scales, works)
    _check_names(experiments)
    for scale in scales if check_runs else ():
        for run in experiments.runs:
            resolve_run(experiments, run, scale)
    return experiments


def resolve_run(
    experiments: Experiments, name: str, scale: str, seed: int = 0, data: str = "data"
) -> dict[str, Any]:
    """All settings of one run at one scale.

    Args:
        experiments: what ``load_experiments`` returned.
        name: a run of any work.
        scale: a file in ``config/scales``.
        seed: of this training.
        data: folder of the data sets.

    Returns:
        name, scale, seed, dataset, image, backbone, detector, schedule, variants, hardware.

    Raises:
        InputError: no such run or scale, or settings that fit no schema.
    """
    work = experiments.work_of(name)
    if scale not in experiments.scales:
        raise InputError(f"scale must be one of {sorted(experiments.scales)}, got {scale!r}")
    run, at = experiments.works[work]["runs"][name], experiments.scales[scale]
    where = f"{experiments.work_file(work)}: runs.{name}"
    at_file = experiments.root / "config" / "scales" / f"{scale}.yaml"
    dataset = _taken(at["datasets"], run["dataset"], where, "dataset", at_file)
    base = _taken(experiments.detectors, run["base"], where, "base", "config/detectors.yaml")
    layers = [base, at["detectors"].get(run["base"], {}), run.get("detector", {})]
    detector: dict[str, Any] = {}
    for layer in layers:
        detector = merged(detector, layer)
    backbone = copy.deepcopy(_taken(at["backbones"], run["backbone"], where, "backbone", at_file))
    if backbone.get("weights"):
        backbone["weights"] = f"{data}/weights/{backbone['weights']}.safetensors"
    resolved = {
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
        "image": merged(
            merged(at["image"], at.get("image_of", {}).get(run["dataset"], {})),
            run.get("image", {}),
        ),
        "backbone": backbone,
        "detector": detector,
        "schedule": copy.deepcopy(
            _taken(at["schedules"], run["schedule"], where, "schedule", at_file)
        ),
        "variants": {DEFAULT_VARIANT: {}, **run.get("variants", {})},
        "hardware": at["hardware"],
    }
    _check_schema(experiments.root, resolved, "run", where)
    _check_images(resolved["image"], where)
    _check_masks(resolved["detector"], dataset, experiments.datasets[dataset]["kind"], where)
    _check_parts(resolved["backbone"], "backbone", f"{where}.backbone")
    _check_detector_parts(resolved["detector"], f"{where}.detector")
    return resolved


def _check_images(image: Mapping[str, Any], where: str) -> None:
    """A range to draw the shorter side from rises."""
    side = image["train"]["resize"].get("min_size")
    if isinstance(side, list) and side[0] > side[1]:
        raise InputError(f"{where}.image.train.resize.min_size: must be [low, high], got {side}")


def _check_masks(detector: Mapping[str, Any], dataset: str, kind: str, where: str) -> None:
    """A detector that trains on masks gets a kind of data set that has them."""
    if needs_masks(detector) and kind in WITHOUT_MASKS:
        raise InputError(
            f"{where}.dataset: the detector trains on masks, {dataset} ({kind}) has boxes only"
        )


def _checked(root: Path, path: Path, schema: str) -> dict[str, Any]:
    contents = load_yaml(path)
    _check_schema(root, contents, schema, str(path))
    return contents


def _check_schema(root: Path, contents: Any, schema: str, where: str) -> None:
    validate = _validator(root / "workflow" / "schemas" / f"{schema}.schema.yaml")
    try:
        validate(contents)
    except fastjsonschema.JsonSchemaValueException as error:
        place = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in error.path[1:])
        if ": " not in where and place:
            place = ": " + place.removeprefix(".")
        raise InputError(f"{where}{place}: {_explained(error)}") from None


@cache
def _validator(path: Path) -> Callable[[Any], Any]:
    return fastjsonschema.compile(load_yaml(path), use_default=False)


def _explained(error: fastjsonschema.JsonSchemaValueException) -> str:
    """What was got and what is allowed, with the nearest allowed key."""
    if error.rule == "additionalProperties":
        known = list(error.definition.get("properties", {}))
        unknown = [key for key in error.value if key not in known]
        hints = "".join(_suggestion(key, known) for key in unknown)
        return f"unknown key {', '.join(map(repr, unknown))}{hints}; allowed: {', '.join(known)}"
    if error.rule == "required":
        missing = [key for key in error.rule_definition if key not in error.value]
        return f"missing key {', '.join(map(repr, missing))}"
    return f"{str(error.message).removeprefix(str(error.name)).strip()}, got {error.value!r}"


def _suggestion(name: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def _taken(table: Mapping[str, Any], key: str, where: str, field: str, file: Path | str) -> Any:
    if key not in table:
        raise InputError(
            f"{where}.{field}: {file} has no {field} {key!r}{_suggestion(key, list(table))}; "
            f"it has {sorted(table)}"
        )
    return table[key]


def _check_names(experiments: Experiments) -> None:
    """Every name that one file uses of another exists, and no run is defined twice."""
    if experiments.settings["scale"] not in experiments.scales:
        raise InputError(
            f"{experiments.root / 'config/config.yaml'}: scale: must be one of "
            f"{sorted(experiments.scales)}, got {experiments.settings['scale']!r}"
        )
    for scale, settings in experiments.scales.items():
        file = experiments.root / "config" / "scales" / f"{scale}.yaml"
        for name, dataset in settings["datasets"].items():
            _taken(experiments.datasets, dataset, f"{file}: datasets.{name}", "dataset",
                   "config/datasets.yaml")  # fmt: skip
        for base in settings["detectors"]:
            _taken(experiments.detectors, base, f"{file}: detectors", "base",
                   "config/detectors.yaml")  # fmt: skip
    owners: dict[str, str] = {}
    for key, work in experiments.works.items():
        file = experiments.work_file(key)
        for run in work["runs"]:
            if run in owners:
                raise InputError(
                    f"{file}: runs.{run}: {experiments.work_file(owners[run])} already defines it; "
                    "a row of any work may name it"
                )
            owners[run] = key
    for key, work in experiments.works.items():
        for target, settings in work["targets"].items():
            where = f"{experiments.work_file(key)}: targets.{target}"
            _check_target(experiments, target, settings, owners, where)


def _check_target(
    experiments: Experiments,
    target_id: str,
    settings: Mapping[str, Any],
    owners: Mapping[str, str],
    where: str,
) -> None:
    """A target is made of runs or by a notebook of its own, or says why it is not made.

    A figure of runs has both, since no two figures show their runs alike.
    """
    rows = settings.get("rows", [])
    has_runs = _names_runs(settings)
    of_runs = has_runs and not _is_table(target_id)
    if of_runs:
        _check_figure_of_runs(experiments, settings, owners, where)
    else:
        ways = [has_runs, "notebook" in settings, "waits" in settings]
        if sum(ways) != 1:
            raise InputError(f"{where}: needs exactly one of rows with a run, notebook, waits")
        if "reads" in settings:
            raise InputError(
                f"{where}.reads: is for a figure with rows that name runs, "
                + ("a table reads their metrics" if has_runs else "there are none")
            )
        _check_notebook(experiments, settings, where)
        metrics = [metric["name"] for metric in settings.get("metrics", [])]
        for index, row in enumerate(rows):
            _check_row(experiments, row, metrics, owners, f"{where}.rows[{index}]", has_runs)
        if has_runs:
            _check_row_names(rows, where)
    if "trained" in settings:
        if has_runs or _is_table(target_id) or "notebook" not in settings:
            raise InputError(f"{where}.trained: is for an analytic figure, which has a notebook")
        _check_figure_of_runs(experiments, settings["trained"], owners, f"{where}.trained")


def _check_figure_of_runs(
    experiments: Experiments, settings: Mapping[str, Any], owners: Mapping[str, str], where: str
) -> None:
    """Rows that each name a run and are told apart, the files to read of it, and a notebook."""
    for key in ("reads", "notebook"):
        if key not in settings:
            raise InputError(f"{where}: missing key {key!r}, which a figure of runs needs")
    if "waits" in settings:
        raise InputError(f"{where}.waits: a figure of runs is made")
    _check_notebook(experiments, settings, where)
    metrics = [metric["name"] for metric in settings.get("metrics", [])]
    for index, row in enumerate(settings["rows"]):
        place = f"{where}.rows[{index}]"
        if "run" not in row:
            raise InputError(f"{place}: missing key 'run'; every row of a figure shows one")
        _check_row(experiments, row, metrics, owners, place, has_runs=True)
    _check_row_names(settings["rows"], where)


def _check_row_names(rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Rows are told apart by their settings; of two of one name a figure would show one."""
    names = row_names(rows)
    for index, name in enumerate(names):
        first = names.index(name)
        if first != index:
            raise InputError(
                f"{where}.rows[{index}].setting: rows[{first}] is called {name!r}, too"
            )


def _check_notebook(experiments: Experiments, settings: Mapping[str, Any], where: str) -> None:
    if "notebook" in settings:
        notebook = experiments.root / "notebooks" / f"{settings['notebook']}.ipynb"
        if not notebook.is_file():
            raise InputError(f"{where}.notebook: there is no {notebook}")


def _check_row(
    experiments: Experiments,
    row: Mapping[str, Any],
    metrics: Sequence[str],
    owners: Mapping[str, str],
    where: str,
    has_runs: bool,
) -> None:
    for metric in row["reported"]:
        if metric not in metrics:
            raise InputError(f"{where}.reported: {metric!r} is not one of metrics {metrics}")
    if "run" not in row:
        if has_runs and "waits" not in row:
            raise InputError(f"{where}: needs a run, or waits with the reason why it has none")
        return
    run, variant = row["run"], row.get("variant", DEFAULT_VARIANT)
    if run not in owners:
        raise InputError(f"{where}.run: no run named {run!r}{_suggestion(run, list(owners))}")
    variants = experiments.works[owners[run]]["runs"][run].get("variants", {})
    if variant not in (DEFAULT_VARIANT, *variants):
        raise InputError(f"{where}.variant: run {run!r} has {sorted(variants)}, got {variant!r}")


def _check_detector_parts(detector: Mapping[str, Any], where: str) -> None:
    for kind, settings, place in named_parts(detector, where):
        _check_parts(settings, kind, place)


def _check_parts(settings: Mapping[str, Any], kind: str, place: str) -> None:
    known = parts(kind)
    name = settings["name"]
    if name not in known:
        raise InputError(
            f"{place}.name: {kind} must be one of {sorted(known)}, got {name!r}"
            f"{_suggestion(name, list(known))}"
        )
    reserved = RESERVED_PARAMETERS.get(kind, set())
    allowed = [parameter for parameter in known[name].parameters if parameter not in reserved]
    common = {"name"} | ({"weight", "per", "weigh"} if kind == "loss" else set())
    for option in settings:
        if option not in allowed and option not in common:
            raise InputError(
                f"{place}: {kind} {name!r} has no option {option!r}"
                f"{_suggestion(option, allowed)}; it has {allowed}"
            )
