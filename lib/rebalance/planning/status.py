"""``rebalance status``: what is made, running, failed and waiting, from files alone."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rebalance.config.targets import Target
from rebalance.locks import holder_of
from rebalance.planning.jobs import Job, Jobs
from rebalance.planning.plan import aligned

State = Literal["made", "running", "failed", "waiting"]
STATES: tuple[State, ...] = ("made", "running", "failed", "waiting")
SILENT = 120.0  # seconds: progress bars write four times as often
SHOWN_LINES = 3
_PROGRESS = re.compile(r"(\d+)/(\d+) \[.*?([\d.]+)(it/s|s/it)")
_STOPPED = "with a checkpoint; start again to go on"


@dataclass(frozen=True)
class Doing:
    """How far a job is that is not made.

    Attributes:
        state: "running", "failed" or "waiting".
        done: iterations, of a training that has begun.
        total: iterations, of a training.
        seconds_left: of a job that says how fast it is; None: not known.
        says: who is at work, or the last lines of a log.
        log: the file that says more.
    """

    state: State
    done: int | None = None
    total: int | None = None
    seconds_left: float | None = None
    says: str = ""
    log: str | None = None


def find_states(jobs: Jobs, targets: Iterable[Target]) -> dict[str, Doing]:
    """How far all jobs are that some targets still want, by the first file that each makes."""
    return {job.outputs[0]: doing(jobs, job) for job in jobs.missing(targets)}


def doing(jobs: Jobs, job: Job) -> Doing:
    """How far a job is that is not made."""
    log = jobs.log(job)
    if job.rule == "train":
        return _training(job, jobs.run(str(job.run)).schedule.iterations, log)
    if log is None or not log.is_file():
        return Doing("waiting")
    return _by_log(log)


def _training(job: Job, total: int, log: Path | None) -> Doing:
    """By the lock of its folder, and what it has logged."""
    folder = Path(job.outputs[0]).parent
    unfinished = folder / "log.unfinished.csv"
    done = _last_iteration(unfinished) if unfinished.is_file() else None
    text = log.read_text(errors="replace") if log is not None and log.is_file() else ""
    owner = holder_of(folder / ".lock")
    if owner is not None:
        left = _seconds_left(text, None if done is None else total - done)
        return Doing("running", done, total, left, owner, str(log))
    lines = _last_lines(text)
    if lines and _STOPPED not in lines[-1] and not _is_progress(text):
        return Doing("failed", done, total, says="\n".join(lines), log=str(log))
    return Doing("waiting", done, total)


def _by_log(log: Path) -> Doing:
    """Of a job without a lock: one that has just said how far it is runs."""
    text = log.read_text(errors="replace")
    if _is_progress(text):
        if time.time() - log.stat().st_mtime < SILENT:
            return Doing("running", seconds_left=_seconds_left(text, None), log=str(log))
        return Doing("waiting")
    lines = _last_lines(text)
    return Doing("failed", says="\n".join(lines), log=str(log)) if lines else Doing("waiting")


def _last_iteration(csv: Path) -> int | None:
    """Of the rows of a log, the last one that is whole."""
    with csv.open("rb") as file:
        file.seek(max(0, csv.stat().st_size - 4096))
        rows = file.read().split(b"\n")[:-1]
    number = rows[-1].split(b",")[0] if rows else b""
    return int(number) if number.isdigit() else None


def _seconds_left(text: str, iterations: int | None) -> float | None:
    """By the speed that the last progress bar in a log says."""
    found = _PROGRESS.findall(text)
    if not found:
        return None
    done, total, pace, unit = found[-1]
    left = int(total) - int(done) if iterations is None else iterations
    speed = float(pace)
    if unit == "s/it":
        return left * speed
    return left / speed if speed else None


def _is_progress(text: str) -> bool:
    """Whether a log ends with a progress bar."""
    lines = re.split(r"[\r\n]", text.rstrip())
    return bool(lines) and _PROGRESS.search(lines[-1]) is not None


def _last_lines(text: str) -> list[str]:
    """The end of a log, without progress bars."""
    lines = [line.rstrip() for line in re.split(r"[\r\n]", text)]
    return [line for line in lines if line and "it/s" not in line and "s/it" not in line][
        -SHOWN_LINES:
    ]


def table(jobs: Jobs, targets: Sequence[Target], states: Mapping[str, Doing]) -> str:
    """Jobs of each target by state, then what runs and what has failed."""
    lines: list[list[str]] = [["", *STATES]]
    for target in targets:
        counts = _counts(jobs, [target], states)
        lines.append([target.name, *(str(counts[state]) for state in STATES)])
    if len(targets) > 1:
        counts = _counts(jobs, targets, states)
        lines.append(["all", *(str(counts[state]) for state in STATES)])
    parts = [aligned(lines)]
    for job in jobs.missing(targets):
        at = states[job.outputs[0]]
        if at.state == "running":
            parts.append(f"running: {job}{_progress(at)}{f'; {at.says}' if at.says else ''}")
    for job in jobs.missing(targets):
        at = states[job.outputs[0]]
        if at.state == "failed":
            said = "".join(f"\n  {line}" for line in at.says.splitlines())
            parts.append(f"failed: {job}{_progress(at)}, see {at.log}{said}")
    return "\n".join(parts)


def as_json(jobs: Jobs, targets: Sequence[Target], states: Mapping[str, Doing]) -> dict[str, Any]:
    """Counts of each target, and every job that is not made."""
    return {
        "scale": jobs.scale,
        "targets": {target.name: dict(_counts(jobs, [target], states)) for target in targets},
        "all": dict(_counts(jobs, targets, states)),
        "jobs": [{"job": str(job), "rule": job.rule, **asdict(states[job.outputs[0]])}
                 for job in jobs.missing(targets)],
    }  # fmt: skip


def _counts(jobs: Jobs, targets: Iterable[Target], states: Mapping[str, Doing]) -> Counter[State]:
    targets = list(targets)
    counts: Counter[State] = Counter(states[job.outputs[0]].state for job in jobs.missing(targets))
    counts["made"] = sum(job.is_made for job in jobs.all(targets))
    return counts


def _progress(at: Doing) -> str:
    """``, 120 of 240, 35 s left``."""
    done = "" if at.done is None else f", {at.done} of {at.total}"
    return done + ("" if at.seconds_left is None else f", {_duration(at.seconds_left)} left")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
