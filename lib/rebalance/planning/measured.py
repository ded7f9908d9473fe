"""What jobs took before, and what networks take: the files that a plan reads.

``logs/<scale>/<rule>/<run>/seed<k>.tsv`` are Snakemake's benchmark files, ``speed.json`` of a run
is what ``rebalance speed`` wrote, and ``results/probe`` holds what ``rebalance probe`` found out::

    networks.json       by network (see ``network_of``): "operations" of a training iteration with
                        one image, "parameters"
    <device>.json       "device", "threads", "seconds_to_start", and "paces" by scale and run:
                        "iteration" (see ``iteration_of``), "seconds_per_iteration",
                        "seconds_per_image"
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rebalance.config.experiments import Experiments
from rebalance.config.run import Run
from rebalance.data.files import write_atomically
from rebalance.errors import InputError
from rebalance.inputs import read_json
from rebalance.planning.jobs import Job, Jobs

FOLDER = Path("results/probe")
NETWORKS = FOLDER / "networks.json"
GONE_ON = "going on after iteration"
NUM_CLASSES = {"coco_download": 80, "voc_download": 20}
"""Of data sets by kind, where they need not be at hand to know it."""
USUAL_CLASSES, USUAL_SIZE, USUAL_START = 80, (480, 640), 5.0


class Pace(NamedTuple):
    """What a device takes for a run, and from where that is known.

    Attributes:
        seconds_per_iteration: of training.
        seconds_per_image: of prediction; None: not known.
        says: "speed.json", "benchmark" or "probe".
    """

    seconds_per_iteration: float
    seconds_per_image: float | None
    says: str


def num_classes(experiments: Experiments, run: Run) -> int:
    """C of a run's data set, or that of COCO where it cannot be known yet."""
    entry = experiments.datasets[run.dataset.name]
    known = NUM_CLASSES.get(str(entry.called))
    annotations = Path(run.dataset.train.annotations)
    if known is None and annotations.is_file():
        return len(read_json(annotations, "annotation file")["categories"])
    return known or USUAL_CLASSES


def image_size(experiments: Experiments, run: Run) -> tuple[int, int]:
    """(height, width) of a typical image of a run's data set, pixels."""
    side = getattr(experiments.datasets[run.dataset.name], "image_size", None)
    return USUAL_SIZE if side is None else (side, side)


def network_of(run: Run) -> str:
    """Digest of what decides how much there is to compute for an image: all but the losses."""
    settings = run.model_dump(include={"scale", "backbone", "detector", "image"})
    settings["backbone"].pop("weights", None)
    settings["detector"].pop("test")
    return _digest(_without_objectives(settings))


def iteration_of(run: Run) -> str:
    """Digest of what decides how long an iteration takes on a device, losses and batch included."""
    settings = run.model_dump(include={"scale", "backbone", "detector", "image"})
    settings["backbone"].pop("weights", None)
    hardware = run.hardware.model_dump(include={"precision", "channels_last"})
    return _digest([settings, part_of_batch(run), hardware])


def part_of_batch(run: Run) -> int:
    """Images of an iteration on each device."""
    return max(1, run.schedule.batch_size // run.hardware.devices)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _without_objectives(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_objectives(v) for k, v in value.items() if k != "objective"}
    if isinstance(value, list | tuple):
        return [_without_objectives(part) for part in value]
    return value


class Networks:
    """Operations and parameters of the networks of runs; counted once, then read.

    Args:
        jobs: of the scale.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.known: dict[str, dict[str, int]] = (
            read_measurements(NETWORKS) if NETWORKS.is_file() else {}
        )
        self._names: dict[str, str] = {}

    def count(self, runs: Iterable[str], kind: Literal["operations", "parameters"]) -> None:
        """Count those that are not known yet: operations in seconds each, more of large images."""
        todo = {self._name(run): run for run in runs}
        todo = {key: run for key, run in todo.items() if kind not in self.known.get(key, {})}
        if not todo:
            return
        from rebalance.detectors import count_parameters
        from rebalance.engine.probe import count_operations
        from rebalance.engine.progress import progress_bar

        experiments = self.jobs.experiments
        for network, name in progress_bar(todo.items(), desc=f"counting {kind}"):
            run = self.jobs.run(name)
            classes, size = num_classes(experiments, run), image_size(experiments, run)
            self.known.setdefault(network, {})[kind] = (
                count_operations(run, classes, size)
                if kind == "operations"
                else count_parameters(run.model_dump(), classes)[0]
            )
        write_measurements(NETWORKS, self.known)

    def operations(self, run: str) -> int:
        """Of a training iteration with one image."""
        return self.known[self._name(run)]["operations"]

    def parameters(self, run: str) -> int:
        """Of a run's network."""
        return self.known[self._name(run)]["parameters"]

    def same(self, run: str, other: str) -> bool:
        """Whether there is as much to compute for an image of one run as for one of the other."""
        return self._name(run) == self._name(other)

    def _name(self, run: str) -> str:
        if run not in self._names:
            self._names[run] = network_of(self.jobs.run(run))
        return self._names[run]


class Measured:
    """What jobs of a scale took before.

    Args:
        jobs: of the scale.
        device: whose times count; None: that of the one probe there is, and of earlier jobs.

    Raises:
        InputError: no probe of this device, or several to choose from.
    """

    def __init__(self, jobs: Jobs, device: str | None = None) -> None:
        self.jobs, self.chosen = jobs, device
        probes = [
            read_measurements(path) for path in sorted(FOLDER.glob("*.json")) if path != NETWORKS
        ]
        names = [probe["device"] for probe in probes]
        if device is not None and device not in names:
            raise InputError(f"--device must be one that was probed ({', '.join(names)})")
        if device is None and len(names) > 1:
            raise InputError(f"{FOLDER}: several devices, name one by --device: {', '.join(names)}")
        matching = [probe for probe in probes if device in (None, probe["device"])]
        self.probe: dict[str, Any] | None = matching[0] if matching else None

    @property
    def seconds_to_start(self) -> float:
        """Of a process that loads the libraries."""
        return self.probe["seconds_to_start"] if self.probe else USUAL_START

    def seconds(self, job: Job) -> float | None:
        """What the same job took at another time, or with another seed; None: not known."""
        log = self.jobs.log(job)
        return None if log is None else self._benchmarks.get(_without_seed(log))

    def mean_seconds(self, rule: str) -> float | None:
        """What jobs of a rule took on the average; None: there were none."""
        found = [s for path, s in self._benchmarks.items() if Path(path).parts[2] == rule]
        return sum(found) / len(found) if found else None

    @cached_property
    def paces(self) -> dict[str, Pace]:
        """Of the runs that were measured: by speed.json, else a benchmark, else the probe."""
        found: dict[str, Pace] = {}
        known = self.jobs.experiments.runs
        probed = {} if self.probe is None else self.probe["paces"].get(self.jobs.scale, {})
        for run, entry in probed.items():
            if run in known and entry["iteration"] == iteration_of(self.jobs.run(run)):
                times = entry["seconds_per_iteration"], entry["seconds_per_image"]
                found[run] = Pace(*times, "probe")
        for path, seconds in self._benchmarks.items():
            rule, run = Path(path).parts[2:4]
            if rule == "train" and run in known:
                iterations = self.jobs.run(run).schedule.iterations
                pace = max(seconds - self.seconds_to_start, 0.0) / iterations
                image = found[run].seconds_per_image if run in found else None
                found[run] = Pace(pace, image, "benchmark")
        device = self.probe["device"] if self.probe else None
        for file in sorted(self.jobs.results.folder.glob("runs/*/seed*/speed.json")):
            speed, run = read_measurements(file), file.parts[-3]
            if run in known and device in (None, speed["device"]):
                times = speed["train_seconds_per_iter"], 1 / speed["images_per_second"]
                found[run] = Pace(*times, "speed.json")
        return found

    @cached_property
    def _benchmarks(self) -> dict[str, float]:
        """Seconds by log, without seed; none of a training in several parts: the last is known."""
        if self.chosen is not None:  # they do not say of which device they are
            return {}
        logs = Path("logs") / self.jobs.scale
        found: dict[str, float] = {}
        for path in sorted(logs.glob("*/*/*.tsv")):
            log = path.with_suffix(".log")
            if log.is_file() and GONE_ON in log.read_text(errors="replace"):
                continue
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            name = _without_seed(path)
            found[name] = max(float(row["s"]) for row in rows)
        return found


def _without_seed(path: Path) -> str:
    """``seed0.log`` and ``seed1.tsv`` -> the same: one job of any seed."""
    return re.sub(r"seed\d+", "", str(path.with_suffix("")))


def read_measurements(path: Path) -> Any:
    """What such a file holds."""
    return read_json(path, "file of measurements")


def write_measurements(path: Path, found: Mapping[str, Any]) -> None:
    """Write such a file."""
    write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())


def probe_file(device: str) -> Path:
    """File of a device, by its name."""
    return FOLDER / f"{re.sub(r'[^A-Za-z0-9]+', '_', device).strip('_')}.json"
