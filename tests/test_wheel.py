"""What a user of the wheel gets, who has no checkout: every file, and a command line that works."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory) -> Path:
    """Built from a copy: setuptools writes beside its sources, and trusts what it wrote before."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / file, source)
    for room in ("lib", "notebooks"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(repository / room, source / room, symlinks=True, ignore=left_out)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("rebalance-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


@pytest.fixture
def rebalance(installed, tmp_path):
    """Run a sub-command of the installed wheel in an empty folder."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return command(
            sys.executable, "-m", "rebalance", *arguments, cwd=tmp_path, path=str(installed)
        )

    return run


def pip(step: str, *arguments: object) -> None:
    done = command(sys.executable, "-m", "pip", step, "--quiet", "--no-index", "--no-deps",
                   *arguments)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def command(
    *words: object, cwd: Path | None = None, path: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_the_wheel_has_every_file_of_the_package(repository, wheel):
    package = repository / "lib" / "rebalance"
    files = {
        f"rebalance/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "rebalance/report/index.js" in files
    assert files <= set(zipfile.ZipFile(wheel).namelist())


def test_it_is_the_wheel_that_runs(installed, tmp_path):
    code = "import rebalance; print(rebalance.__file__)"
    done = command(sys.executable, "-c", code, cwd=tmp_path, path=str(installed))
    assert Path(done.stdout.strip()) == installed / "rebalance" / "__init__.py"


def test_help(rebalance):
    done = rebalance("--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rebalance ")


def test_index_of_a_manifest(rebalance, tmp_path):
    card = {"name": "work_table_1", "title": "Table 1", "kind": "trained", "status": "waiting"}
    work = {"key": "work", "title": "A work", "targets": [card]}
    (tmp_path / "manifest.json").write_text(json.dumps({"scale": "shapes", "works": [work]}))
    done = rebalance("index", "--manifest", "manifest.json", "--out", "index.html")
    assert done.returncode == 0, done.stderr
    assert "Table 1" in (tmp_path / "index.html").read_text()


def test_evaluation_with_a_page(rebalance, tmp_path):
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200,
             "iscrowd": 0}
        ],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.9}]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(found))
    done = rebalance("evaluate", "--gt", "gt.json", "--dt", "dt.json", "--out", "metrics.json",
                     "--html", "report.html")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == pytest.approx(1)
    assert "Detections of dt.json" in (tmp_path / "report.html").read_text()


def test_drawn_data(rebalance, tmp_path):
    done = rebalance("data", "shapes", "--out", "shapes", "--num-train", 2, "--num-val", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shapes" / "annotations" / "train.json").is_file()


def test_what_needs_a_checkout_says_so_in_one_line(rebalance):
    done = rebalance("runs")
    assert done.returncode == 2
    assert done.stderr.startswith("rebalance runs: config/config.yaml: no such file")
    assert len(done.stderr.splitlines()) == 1
