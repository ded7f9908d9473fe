"""Pages that forks of one process make: the same as others, and each on its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from rebalance.cli.page_server import VARIABLE, run_on_server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("page_server")]

FAILS, WORKS, SLEEPS = "thesis_figure_1_2", "thesis_table_3_1", "thesis_figure_3_3"
SERVE = (
    "import os, sys; from rebalance.cli.page_server import VARIABLE, start_page_server\n"
    "start_page_server(); print(os.environ[VARIABLE], flush=True); sys.stdin.read()"
)


@pytest.fixture(scope="module")
def project(repository, tmp_path_factory):
    """A checkout of whose three notebooks one fails and one never ends."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("config", "notebooks"):
        shutil.copytree(repository / folder, root / folder)
    for notebook, source in (
        ("analytic_figure", "raise RuntimeError('the cell that fails')"),
        ("papers_per_year", "import os, time\nopen('kernel', 'w').write(str(os.getpid()))\n"
         "time.sleep(600)"),
    ):  # fmt: skip
        path = root / "notebooks" / f"{notebook}.ipynb"
        cells = json.loads(path.read_text())
        cells["cells"][-1]["source"] = source
        path.write_text(json.dumps(cells))
    return root


@pytest.fixture(scope="module")
def server(project):
    """Address of a server, which ends with the process that started it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=project, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    address = process.stdout.readline().strip()
    yield address
    process.stdin.close()
    process.wait()
    wait_until(lambda: not Path(address).exists())


def wait_until(happened):
    deadline = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def render(project, target, out, address):
    """Start the command."""
    command = ["render", target, "--scale", "shapes", "--executed", out / "executed.ipynb"]
    return subprocess.Popen(
        [sys.executable, "-m", "rebalance", *command, "--html", out / "page.html"], cwd=project,
        env={**os.environ, VARIABLE: address}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def test_of_two_at_once_one_fails_and_the_other_is_as_without_a_server(project, server, tmp_path):
    folders = [tmp_path / name for name in ("fails", "works", "alone")]
    for folder in folders:
        folder.mkdir()
    fails = render(project, FAILS, folders[0], server)
    works = render(project, WORKS, folders[1], server)
    said, _ = fails.communicate()
    assert fails.returncode == 1
    assert "RuntimeError: the cell that fails" in said
    assert "the cell that fails" in (folders[0] / "executed.ipynb").read_text()
    assert not (folders[0] / "page.html").exists()
    said, _ = works.communicate()
    assert (works.returncode, said) == (0, "")
    alone = render(project, WORKS, folders[2], "/nowhere")
    said, _ = alone.communicate()
    assert alone.returncode == 0
    assert said == "rebalance render: no page server (No such file or directory): alone\n"
    for name in ("executed.ipynb", "page.html"):
        assert (folders[1] / name).read_bytes() == (folders[2] / name).read_bytes()


def test_a_page_ends_with_its_command(project, server, tmp_path):
    page = render(project, SLEEPS, tmp_path, server)
    kernel = project / "kernel"
    wait_until(lambda: kernel.exists() and kernel.read_text())
    page.kill()
    page.communicate()
    wait_until(lambda: not Path(f"/proc/{kernel.read_text()}").exists())
    assert not (tmp_path / "page.html").exists()
    cells = nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells
    assert cells[-1].metadata.papermill["status"] == "running"


def test_a_mistake_has_its_exit_code(project, server, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(project)
    monkeypatch.setenv(VARIABLE, server)
    assert run_on_server(server, ["show", "nothing"]) == 2
    assert "no run named 'nothing'" in capfd.readouterr().err
