"""Several processes at work on one data folder at once, and killed ones: nothing is lost."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from rebalance.data.files import MADE_FROM, write_atomically

PROCESSES = 4


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finish(processes: list[subprocess.Popen]) -> None:
    found = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    assert [code for _, code in found] == [0] * len(found), found


def test_extractions_at_once_give_every_file(tmp_path):
    files = {f"images/{k:04d}.jpg": os.urandom(50) for k in range(1500)}
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    code = "import sys; from rebalance.data.download import extract; extract(*sys.argv[1:])"
    out = tmp_path / "out"
    finish([start(code, tmp_path / "archive.zip", out) for _ in range(PROCESSES)])
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    del found[MADE_FROM]
    assert found == files
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive.zip", "out"]


def test_downloads_at_once_fetch_once_and_every_byte(server, tmp_path):
    content = os.urandom(3_000_000)
    url = server.add("a.bin", content)
    code = "import sys; from rebalance.data.download import download; download(*sys.argv[1:])"
    finish([start(code, url, tmp_path / "a.bin") for _ in range(PROCESSES)])
    assert (tmp_path / "a.bin").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert len(server.requests) == 1


WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from rebalance.data.files import write_atomically
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), b"new")
"""
WRITE_AND_STAND = WRITE_AND_DIE.replace("SIGKILL", "SIGSTOP")


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(tmp_path):
    path = tmp_path / "metrics [1].json"
    path.write_bytes(b"old")
    killed = start(WRITE_AND_DIE, path)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2, "the test must leave something to clear up"
    write_atomically(path, b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"whole")]


def test_what_a_living_process_is_writing_is_no_leftover(tmp_path):
    path = tmp_path / "metrics.json"
    other = start(WRITE_AND_STAND, path)
    while not (written := list(tmp_path.glob(".metrics.json.*"))):
        assert other.poll() is None
        time.sleep(0.01)
    while written[0].stat().st_size == 0:
        time.sleep(0.01)
    write_atomically(path, b"ours")
    assert written[0].exists()
    other.kill()
    other.communicate()
    assert path.read_bytes() == b"ours"
    assert Path(written[0]).exists()
