"""What a user of the wheel gets, who has no checkout: every file, and a command line that works."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import rebalance as library

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def source(repository, tmp_path_factory) -> Path:
    """A copy: setuptools writes beside its sources, and trusts what it wrote before."""
    folder = tmp_path_factory.mktemp("source")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / file, folder)
    for room in ("lib", "notebooks"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(repository / room, folder / room, symlinks=True, ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    done = command(sys.executable, "-c", code, cwd=source)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("rebalance-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Built from the source distribution, as of a package that has no other."""
    unpacked, folder = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("rebalance-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


@pytest.fixture(scope="module")
def core(repository, tmp_path_factory) -> Path:
    """Links to what `pip install rebalance` brings without extras, and to nothing else."""
    folder = tmp_path_factory.mktemp("core")
    pyproject = tomllib.loads((repository / "pyproject.toml").read_text())
    waiting, found = list(pyproject["project"]["dependencies"]), set[str]()
    while waiting:
        name = re.match(r"[\w.-]+", waiting.pop())[0].lower()
        if name in found:
            continue
        found.add(name)
        distribution = metadata.distribution(name)
        waiting += [one for one in distribution.requires or () if ";" not in one]
        tops = {file.parts[0] for file in distribution.files if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
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


def write_one_object(folder: Path) -> None:
    """gt.json with one cat, and dt.json that finds it."""
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 200,
             "iscrowd": 0}
        ],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.9}]
    (folder / "gt.json").write_text(json.dumps(truth))
    (folder / "dt.json").write_text(json.dumps(found))


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


def test_without_extras_losses_and_comparisons_work_and_pages_name_the_extra(
    installed, core, tmp_path
):
    def python(*arguments: object) -> subprocess.CompletedProcess[str]:
        """With the standard library, the wheel and what it depends on: -S leaves out the rest."""
        path = f"{installed}{os.pathsep}{core}"
        return command(sys.executable, "-S", *arguments, cwd=tmp_path, path=path)

    imports = "rebalance.losses, rebalance.generators, rebalance.samplers, rebalance.detectors, "
    imports += "rebalance.metrics.compare, rebalance.engine.train"
    done = python("-c", f"import {imports}")
    assert done.returncode == 0, done.stderr
    assert python("-c", "import matplotlib").returncode == 1
    write_one_object(tmp_path)
    compare = ("compare", "--gt", "gt.json", "--dt", "dt.json", "dt.json", "--out", "compare.json")
    done = python("-m", "rebalance", *compare, "--html", "compare.html", "--resamples", 10)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "compare.html").is_file()
    page = ("evaluate", "--gt", "gt.json", "--dt", "dt.json", "--html", "report.html")
    done = python("-m", "rebalance", *page)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "rebalance evaluate: needs nbformat: pip install 'rebalance[notebooks]'"
    )


def test_typed_and_of_one_version(wheel, rebalance):
    assert wheel.name.split("-")[1] == library.__version__
    assert "rebalance/py.typed" in zipfile.ZipFile(wheel).namelist()
    assert rebalance("--version").stdout == f"rebalance {library.__version__}\n"


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
    write_one_object(tmp_path)
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
