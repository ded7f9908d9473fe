"""What the terminal shows of a run of Snakemake; the events are those that Snakemake logs."""

import io
import logging
from collections import Counter

import pytest
from rebalance.cli.job_lines import JobLines, Running, TimeLeft, spoken


@pytest.mark.parametrize(
    ("running", "left"),
    [
        # 10 jobs of 2 s and one of 30 s in 25 s are two at a time; left are 4 * 2 s and 2 * 30 s.
        pytest.param([], (4 * 2 + 2 * 30) / 2, id="(8 + 60) / 2"),
        # 25 s of another one of 30 s are done: 75 s of work in 25 s are three at a time.
        pytest.param([Running("train", "train a", 0.0)], (68 - 25) / 3, id="(68 - 25) / 3"),
    ],
)
def test_jobs_that_are_left_take_as_long_as_others_of_their_rule(running, left):
    time = TimeLeft(0.0, Counter(page=14, train=3))
    for _ in range(10):
        time.end("page", 2.0)
    time.end("train", 30.0)
    assert time.estimate(25.0, running) == pytest.approx(left)


def test_a_rule_that_has_not_ended_yet_takes_the_mean_of_all():
    time = TimeLeft(0.0, Counter(page=2, train=1))
    time.end("page", 4.0)
    assert time.estimate(4.0) == pytest.approx(4.0 + 4.0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def say(handler, event, **fields):
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, fields.pop("msg", ""), (), None)
    handler.handle(logging.makeLogRecord({**record.__dict__, **fields, "event": event}))


def run(stream):
    seconds = iter(range(0, 1000, 30))
    handler = JobLines(stream, lambda: float(next(seconds)))
    say(handler, "run_info", msg="Job stats: 2", stats={"page": 2, "total": 2})
    for job, target in enumerate(("table_1", "table_2")):
        say(handler, "job_info", jobid=job, rule_name="page", wildcards={"target": target})
        say(handler, "progress", done=job, total=2)
        say(handler, "job_finished", job_id=job)
    return stream.getvalue()


def test_elsewhere_there_is_a_line_for_each_job_that_ended():
    assert run(io.StringIO()).splitlines() == [
        "Job stats: 2", "[1 of 2] page table_1 (30 s left)", "[2 of 2] page table_2"
    ]  # fmt: skip


def test_a_terminal_has_one_bar_that_is_drawn_over():
    shown = run(Terminal())
    assert shown.count("\n") == 1, "that of the table"
    assert shown.rsplit("\r\033[K", 1)[1].startswith("[####################] 2 of 2")


@pytest.mark.parametrize(
    ("seconds", "words"), [(40.2, "40 s"), (170, "3 min"), (7800, "2 h 10 min")]
)
def test_times_are_said_in_words(seconds, words):
    assert spoken(seconds) == words
