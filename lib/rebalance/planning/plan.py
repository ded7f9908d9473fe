"""``rebalance plan``: what targets take, before anything runs.

Times are sums of what the parts took elsewhere: a job like it (its benchmark), or the run's pace
(speed.json, benchmark or probe) times its iterations or images. A run without a pace takes that of
another run of its detector, by the operations of both; else the device's operations a second.
"""

import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rebalance.config.reading import load_yaml
from rebalance.config.run import Run
from rebalance.config.targets import Target
from rebalance.data.sources import SOURCES
from rebalance.errors import InputError
from rebalance.planning.jobs import DOWNLOADS, LOCAL, PAGES, Job, Jobs
from rebalance.planning.measured import Measured, Networks, Pace, part_of_batch

ON_GPU = (
    "train", "predict", "evaluate_epochs", "positives", "speed", "released_predict", "video_frames"
)  # fmt: skip
"""Rules that use the network."""
PAGE_SECONDS, EVALUATION_SECONDS = 5.0, 0.001  # of a page; of an image
UNPACKED_PER_SECOND = 50e6  # bytes
FORWARD = 1 / 3  # of the time of an iteration
DETECTION_BYTES, MASK_BYTES, PAGE_BYTES = 10_000, 40_000, 470_000  # of an image's 100; of a page
SPLITS = {
    "coco2017": (117_266, 5_000), "voc2007": (5_011, 4_952), "voc2012": (5_717, 5_823),
    "voc0712": (16_551, 4_952), "lscd": (6_735, 1_000),
}  # fmt: skip
"""Images to train and to test on, of data sets that need not be at hand."""
USUAL_IMAGES = 5_000
PROFILE = Path("workflow/profiles/slurm/config.yaml")


@dataclass(frozen=True)
class Costs:
    """What some jobs take.

    Attributes:
        trainings: how many.
        gpu_hours: of all jobs that use the network, devices counted; on a CPU, its core hours.
        wall_hours: from begin to end on the given number of devices, waits in queues left out.
        disk_gb: 10^9 bytes, of what is there at the end.
        download_gb: 10^9 bytes.
        downloads: files; some do not say their size.
        jobs: that snakemake runs.
        queue_jobs: that wait in a cluster's queue: groups are one, downloads none.
        unknown: runs whose time nothing tells; hours are without them.
    """

    trainings: int
    gpu_hours: float
    wall_hours: float
    disk_gb: float
    download_gb: float
    downloads: int
    jobs: int
    queue_jobs: int
    unknown: list[str]


class Plan:
    """What targets take at a scale.

    Args:
        jobs: of the scale.
        measured: what jobs took before.
        gpus: devices at a time; None: those of the largest training.
    """

    def __init__(self, jobs: Jobs, measured: Measured, gpus: int | None = None) -> None:
        self.jobs, self.measured, self.gpus = jobs, measured, gpus
        self.networks = Networks(jobs)
        self.components = group_components(jobs.experiments.root / PROFILE)

    def costs(self, targets: Iterable[Target]) -> Costs:
        """Of all that has to run for some targets.

        Raises:
            InputError: a training needs more devices than there are.
        """
        missing = self.jobs.missing(targets)
        runs = list(dict.fromkeys(job.run for job in missing if job.run is not None))
        self.networks.count(runs, "parameters")
        self.networks.count(self._counted(runs), "operations")
        times = [(job, self.seconds(job)) for job in missing]
        known = [(job, seconds) for job, seconds in times if seconds is not None]
        fetched = [job for job in missing if job.rule in DOWNLOADS]
        on_gpu = [(self.devices(job), s) for job, s in known if self._takes_device(job)]
        beside = [s for job, s in known if not self._takes_device(job) and job.rule not in LOCAL]
        devices = self.gpus or max((number for number, _ in on_gpu), default=1)
        return Costs(
            sum(job.rule == "train" for job in missing),
            sum(number * seconds for number, seconds in on_gpu) / 3600,
            (wall_seconds(on_gpu, devices) + max(beside, default=0.0)) / 3600,
            sum(self.bytes(job) for job in missing) / 1e9,
            sum(_size(job) for job in fetched) / 1e9,
            len(fetched),
            len(missing),
            self.queue_jobs(missing),
            sorted({str(job.run) for job, seconds in times if seconds is None}),
        )

    def seconds(self, job: Job) -> float | None:
        """What a job takes; None: nothing tells."""
        before = self.measured.seconds(job)
        if before is not None:
            return before
        if job.rule == "extract":
            return _size(job) / UNPACKED_PER_SECOND
        if job.run is not None and job.rule in ON_GPU:
            return self._seconds_with_network(job, self.jobs.run(job.run))
        mean = self.measured.mean_seconds(job.rule)
        if mean is not None:
            return mean
        if job.rule in PAGES:
            return PAGE_SECONDS
        images = self.images(self.jobs.run(job.run))[1] if job.run else USUAL_IMAGES
        return self.measured.seconds_to_start / 2 + images * EVALUATION_SECONDS

    def _seconds_with_network(self, job: Job, run: Run) -> float | None:
        pace = self.pace(run.name)
        if pace is None:
            return None
        train_images, test_images = self.images(run)
        predict = test_images * (pace.seconds_per_image or 0.0)
        match job.rule:
            case "train":
                takes = run.schedule.iterations * pace.seconds_per_iteration
            case "evaluate_epochs":
                epochs = self.jobs.experiments.epochs(run.name, self.jobs.scale)
                takes = epochs * (predict + test_images * EVALUATION_SECONDS)
            case "positives":
                per_image = pace.seconds_per_iteration / part_of_batch(run)
                takes = train_images * per_image * FORWARD
            case "speed":
                takes = 60 * (pace.seconds_per_iteration + (pace.seconds_per_image or 0.0))
            case _:
                takes = predict
        return takes + self.measured.seconds_to_start

    def pace(self, run: str) -> Pace | None:
        """Of a run: its own, or one of its kin by the operations of both; None: nothing tells."""
        if run in self.measured.paces:
            return self.measured.paces[run]
        kin = self._kin(run)
        if kin is not None:
            factor = part_of_batch(self.jobs.run(run)) / part_of_batch(self.jobs.run(kin))
            if not self.networks.same(run, kin):
                factor *= self.networks.operations(run) / self.networks.operations(kin)
            return _scaled(self.measured.paces[kin], factor)
        if self._throughput is None:
            return None
        takes = self._operations(run) / self._throughput
        image = FORWARD * takes / part_of_batch(self.jobs.run(run))
        return Pace(takes, image, "operations")

    def _kin(self, run: str) -> str | None:
        """A run of the same detector that was measured."""
        return self._representatives.get(self.jobs.experiments.runs[run].base)

    def _counted(self, runs: Iterable[str]) -> set[str]:
        """Runs whose operations have to be known for what some take."""
        found: set[str] = set()
        for run in runs:
            if run in self.measured.paces or not self.measured.paces:
                continue
            kin = self._kin(run)
            if kin is None:
                found |= {run, *self._representatives.values()}
            elif not self.networks.same(run, kin):
                found |= {run, kin}
        return found

    @cached_property
    def _representatives(self) -> dict[str, str]:
        """Of every detector that was measured one run."""
        return {self.jobs.experiments.runs[run].base: run for run in reversed(self.measured.paces)}

    @cached_property
    def _throughput(self) -> float | None:
        """Operations a second: the median of what was measured."""
        found = [
            self._operations(run) / self.measured.paces[run].seconds_per_iteration
            for run in self._representatives.values()
        ]
        return statistics.median(found) if found else None

    def _operations(self, run: str) -> int:
        """Of an iteration on one device."""
        return self.networks.operations(run) * part_of_batch(self.jobs.run(run))

    def images(self, run: Run) -> tuple[int, int]:
        """Images of a run's data set to train and to test on."""
        entry = self.jobs.experiments.datasets[run.dataset.name]
        drawn = getattr(entry, "num_train", None), getattr(entry, "num_val", None)
        if drawn[0] is not None and drawn[1] is not None:
            return drawn[0], drawn[1]
        return SPLITS.get(run.dataset.name, (USUAL_IMAGES, USUAL_IMAGES))

    def devices(self, job: Job) -> int:
        """That a job computes on at the same time."""
        return self.jobs.run(job.run).hardware.devices if job.run and job.rule == "train" else 1

    def _takes_device(self, job: Job) -> bool:
        """Whether it takes one of the devices: without GPUs every job takes a core."""
        if job.rule in LOCAL:
            return False
        return (
            job.rule in ON_GPU
            or not self.jobs.experiments.scale(self.jobs.scale).resources.train.gpus
        )

    def bytes(self, job: Job) -> float:
        """Of what a job leaves on the disk."""
        if job.rule in LOCAL or job.rule == "extract":
            return _size(job)
        if job.rule in PAGES:
            return PAGE_BYTES
        if job.run is None:
            return 0
        run = self.jobs.run(job.run)
        if job.rule == "train":
            kept = 1 + self.jobs.experiments.epochs(job.run, self.jobs.scale)
            return 4 * self.networks.parameters(job.run) * kept
        if job.outputs[0].endswith("detections.json"):
            of_masks = MASK_BYTES if run.detector.needs_masks else 0
            return self.images(run)[1] * (DETECTION_BYTES + of_masks)
        return 0

    def queue_jobs(self, jobs: Sequence[Job]) -> int:
        """Jobs that wait in a cluster's queue: those of a group are one."""
        made = {file for job in jobs for file in job.outputs}
        chained = [
            job for job in jobs if job.rule == "evaluate" and made.intersection(job.inputs[:1])
        ]
        analytic = sum(job.target is not None and not job.inputs for job in jobs)
        alone = sum(job.rule not in LOCAL for job in jobs) - len(chained) - analytic
        return alone + math.ceil(analytic / self.components.get("analytic", 1))


def wall_seconds(tasks: Iterable[tuple[int, float]], devices: int) -> float:
    """Time until all tasks are done, the longest first, each on as many devices as it takes.

    Args:
        tasks: (devices, seconds) of each.
        devices: that there are.

    Raises:
        InputError: a task takes more than there are.
    """
    free = [0.0] * devices
    for number, seconds in sorted(tasks, key=lambda task: -task[1]):
        if number > devices:
            raise InputError(f"--gpus: a training takes {number} devices, got {devices}")
        end = [heapq.heappop(free) for _ in range(number)][-1] + seconds
        for _ in range(number):
            heapq.heappush(free, end)
    return max(free)


def group_components(profile: Path) -> dict[str, int]:
    """How many parts a group of jobs may have, by its name, as a profile of Snakemake says."""
    if not profile.is_file():
        return {}
    entries = load_yaml(profile).get("group-components", [])
    pairs = (entry.split("=") for entry in entries)
    return {name: int(number) for name, number in pairs}


def table(rows: Mapping[str, Costs]) -> str:
    """The costs of each target, and of all, for a terminal."""
    head = (
        "", "trainings", "GPU hours", "wall hours", "disk GB", "download GB", "jobs", "in queue"
    )  # fmt: skip
    lines = [
        head,
        *(
        (
            name, str(costs.trainings), f"{costs.gpu_hours:.2f}", f"{costs.wall_hours:.2f}",
            f"{costs.disk_gb:.2f}", f"{costs.download_gb:.2f}", str(costs.jobs),
            str(costs.queue_jobs),
        )
        for name, costs in rows.items()
        ),
    ]  # fmt: skip
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of a table, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_json(rows: Mapping[str, Costs], plan: Plan) -> dict[str, Any]:
    """The costs of each target, and of all, with what they rest on."""
    return {
        "scale": plan.jobs.scale,
        "device": plan.measured.probe and plan.measured.probe["device"],
        "gpus": plan.gpus,
        "paces": dict(Counter(pace.says for pace in plan.measured.paces.values())),
        "targets": {name: asdict(costs) for name, costs in rows.items() if name != "all"},
        "all": asdict(rows["all"]),
    }


def _scaled(pace: Pace, factor: float) -> Pace:
    image = None if pace.seconds_per_image is None else pace.seconds_per_image * factor
    return Pace(pace.seconds_per_iteration * factor, image, pace.says)


def _size(job: Job) -> int:
    """Bytes of a download; 0 where they are not known."""
    source = SOURCES.get(job.source or "")
    return (source.size or 0) if source else 0
