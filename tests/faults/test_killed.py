"""Commands killed at random moments, alone and beside another: nothing half-made, nothing lost.

``REBALANCE_MOMENTS`` says how many moments of each; ``make fuzz`` takes 20.
"""

import multiprocessing
import os
import random
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest
import yaml

from .commands import command
from .conftest import small_run
from .test_bad_input import GROUND_TRUTH, RESULTS, write_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MOMENTS = int(os.environ.get("REBALANCE_MOMENTS", "2"))
FILES = {f"images/{k:03d}.bin": os.urandom(200) for k in range(400)}

# Processes of their own that have imported what takes longest, so that the moments fall into work.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([
    "__main__", "rebalance.cli", "rebalance.engine.train", "rebalance.metrics", "rebalance.report",
    "rebalance.data.download", "rebalance.report.notebooks", "rebalance.report.place", "papermill",
])  # fmt: skip


class Job:
    """A command line whose results are in a folder, and what they are if nothing stops it."""

    def __init__(self, argv: list[str], results: list[str], cwd: Path) -> None:
        self.argv, self.results, self.cwd = argv, results, cwd

    def start(self, out: Path) -> multiprocessing.Process:
        argv = [part.format(out=out) for part in self.argv]
        process = PROCESSES.Process(target=command, args=(argv, str(self.cwd), f"{out}.messages"))
        process.start()
        return process

    def found(self, out: Path) -> dict[str, bytes]:
        """What stands under the names of the results."""
        found = {}
        for name in self.results:
            for path in [out / name] if (out / name).is_file() else (out / name).rglob("*.*"):
                content = path.read_bytes()
                found[str(path.relative_to(out))] = content
        return found

    def whole(self, out: Path) -> tuple[dict[str, bytes], float]:
        """The results of the job undisturbed, and how many seconds it takes."""
        start = time.monotonic()
        process = self.start(out)
        process.join()
        assert process.exitcode == 0, Path(f"{out}.messages").read_text()
        return self.found(out), time.monotonic() - start


@pytest.fixture(scope="module")
def jobs(repository, checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    run = small_run(repository, folder / "data", num_train=8, num_val=2)
    run["schedule"].update(iterations=30, batch_size=2, checkpoint_every=4)
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    many = [{**result, "score": k / 3000} for k in range(2500) for result in RESULTS[:1]]
    write_json(folder / "gt.json", GROUND_TRUTH)
    write_json(folder / "dt.json", many)
    cards = [
        {"name": f"w_table_{k}", "title": "T", "kind": "own", "status": "waiting"}
        for k in range(3000)
    ]
    work = {"key": "w", "title": "W", "targets": cards}
    write_json(folder / "manifest.json", {"scale": "shapes", "works": [work]})
    with zipfile.ZipFile(folder / "files.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    here = partial(Job, cwd=folder)
    return {
        "train": here(
            ["train", "--run-file", "run.yaml", "--threads", "1", "--out", "{out}"],
            ["model.safetensors", "log.csv"],
        ),
        "extract": here(
            ["data", "extract", "--archive", "files.zip", "--out", "{out}/set"], ["set"]
        ),
        "evaluate": here(
            ["evaluate", "--gt", "gt.json", "--dt", "dt.json", "--out", "{out}/metrics.json",
             "--per-class", "{out}/classes.csv", "--matches", "{out}/matches.npz"],
            ["metrics.json", "classes.csv", "matches.npz"],
        ),
        "index": here(
            ["index", "--manifest", "manifest.json", "--out", "{out}/index.html"], ["index.html"]
        ),
        "render": Job(
            ["render", "thesis_figure_1_2", "--scale", "shapes", "--executed",
             "{out}/page.ipynb", "--html", "{out}/page.html"],
            ["page.html"],
            checkout,
        ),
    }  # fmt: skip


@pytest.fixture
def job(request, jobs, tmp_path):
    """A job by name; that of a download fetches from a server of the test's own."""
    if request.param != "download":
        return jobs[request.param]
    server = request.getfixturevalue("server")
    url = server.add("a.bin", os.urandom(30_000_000))
    return Job(["data", "download", "--url", url, "--out", "{out}/a.bin"], ["a.bin"], tmp_path)


def check_nothing_else(out: Path) -> None:
    names = [path.name for path in (*out.parent.iterdir(), *out.rglob("*"))]
    assert [name for name in names if name.endswith((".unfinished", ".part", ".lock"))] == []


ALL = ["train", "extract", "download", "evaluate", "render", "index"]


@pytest.mark.parametrize("job", ALL, indirect=True)
def test_killed_at_any_moment_and_started_again(job, tmp_path):
    whole, seconds = job.whole(tmp_path / "whole")
    assert whole
    moments = random.Random(0 if MOMENTS < 20 else None)
    for k in range(MOMENTS):
        out = tmp_path / str(k)
        process = job.start(out)
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.join()
        assert job.found(out).items() <= whole.items(), "a result is whole or not there"
        again, _ = job.whole(out)
        assert again == whole
        check_nothing_else(out)


@pytest.mark.parametrize("job", ALL, indirect=True)
def test_two_at_once_of_which_one_is_killed(job, tmp_path):
    whole, seconds = job.whole(tmp_path / "whole")
    moments = random.Random(1 if MOMENTS < 20 else None)
    for k in range(MOMENTS):
        out = tmp_path / str(k)
        pair = []
        for _ in range(2):
            pair.append(job.start(out))
            time.sleep(moments.uniform(0, seconds / 2))
        killed, survivor = moments.sample(pair, 2)
        killed.kill()
        killed.join()
        survivor.join()
        assert survivor.exitcode == 0, Path(f"{out}.messages").read_text()
        assert job.found(out) == whole
        again, _ = job.whole(out)  # clears up what the other left, if it was the last
        assert again == whole
        check_nothing_else(out)
