"""What is shown of a call of Snakemake: a table of jobs, a bar or a line for each, the time left.

Snakemake says ten lines of each job; they stay in ``.snakemake/log``. What it says of no job, its
warnings and its errors with the logs of failed jobs are shown as they are.
"""

import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TextIO

OFTEN = "Select jobs to execute..."
"""Said for each job, but as an event of none."""
BAR = 20  # characters


def show_job_lines(logger: logging.Logger) -> None:
    """Have Snakemake show that and no more.

    Args:
        logger: of ``snakemake.logging``.
    """
    handlers = list(logger.handlers)
    logger.addHandler(JobLines(sys.stderr))
    for handler in handlers:  # behind ours, which takes its bar away before they write
        handler.addFilter(is_of_no_job)
        logger.removeHandler(handler)
        logger.addHandler(handler)


def is_of_no_job(record: logging.LogRecord) -> bool:
    """Whether Snakemake's own words are shown."""
    if record.levelno >= logging.WARNING:
        return True
    return not hasattr(record, "event") and record.getMessage() != OFTEN


@dataclass
class Running:
    """A job that has begun.

    Attributes:
        rule: its name.
        name: with the wildcards.
        since: seconds.
    """

    rule: str
    name: str
    since: float


@dataclass
class TimeLeft:
    """How long the jobs that are left may take, from those that ended.

    Attributes:
        since: when the first began, seconds.
        left: jobs of each rule that have not ended.
        seconds: of the jobs that ended, by rule.
    """

    since: float
    left: Counter[str]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def end(self, rule: str, seconds: float) -> None:
        """A job has ended."""
        self.left[rule] -= 1
        self.seconds.setdefault(rule, []).append(seconds)

    def estimate(self, now: float, running: Iterable[Running] = ()) -> float:
        """Seconds, if jobs take as long as others of their rule and as many run at once as before.

        A rule of which none has ended is taken for the mean of all. What runs has done a part.
        """
        ended = [seconds for of_rule in self.seconds.values() for seconds in of_rule]
        mean = {rule: _mean(self.seconds.get(rule) or ended) for rule in self.left}
        begun = [(now - job.since, mean[job.rule]) for job in running]
        done = sum(min(seconds, takes) for seconds, takes in begun)
        work = sum(number * mean[rule] for rule, number in self.left.items()) - done
        busy = sum(ended) + sum(seconds for seconds, _ in begun)
        return work / max(1.0, busy / max(now - self.since, 1e-9))


class JobLines(logging.Handler):
    """A line for each job that ends: which of how many, and the time left; a bar on a terminal.

    Args:
        stream: where they go.
        clock: seconds, only ever more.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.INFO)
        self._stream, self._clock = stream, clock
        self._on_terminal = stream.isatty()
        self._running: dict[int, Running] = {}
        self._time = TimeLeft(clock(), Counter())
        self._total = self._ended = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take what Snakemake logs, by its event (``snakemake_interface_logger_plugins``)."""
        said: Any = record
        if self._on_terminal and self._ended:
            self._stream.write("\r\033[K")
        match str(getattr(record, "event", "")):
            case "run_info":
                jobs = Counter({rule: n for rule, n in said.stats.items() if rule != "total"})
                self._total, self._time = jobs.total(), TimeLeft(self._clock(), jobs)
                print(record.getMessage(), file=self._stream)
            case "job_info":
                name = " ".join([said.rule_name, *map(str, (said.wildcards or {}).values())])
                self._running[said.jobid] = Running(said.rule_name, name, self._clock())
            case "job_finished":
                self._end(self._running.pop(said.job_id))
            case "job_error":
                self._running.pop(said.jobid, None)
        if self._on_terminal and self._ended and not is_of_no_job(record):
            self._draw()
        self._stream.flush()

    def _end(self, job: Running) -> None:
        self._ended += 1
        self._time.end(job.rule, self._clock() - job.since)
        if not self._on_terminal:
            print(f"[{self._ended} of {self._total}] {job.name}{self._left()}", file=self._stream)

    def _draw(self) -> None:
        full = "#" * (BAR * self._ended // max(self._total, 1))
        running = ": " + ", ".join(job.name for job in self._running.values())
        line = f"[{full:{BAR}}] {self._ended} of {self._total}{self._left()}{running}"
        self._stream.write(line[: shutil.get_terminal_size().columns - 1])

    def _left(self) -> str:
        if self._ended >= self._total:
            return ""
        seconds = self._time.estimate(self._clock(), self._running.values())
        return f" ({spoken(seconds)} left)"


def spoken(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
