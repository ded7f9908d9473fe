"""README's "How to add", executed literally in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rebalance.data.shapes import make_shapes

pytestmark = pytest.mark.xdist_group("new")

FOLDERS = ("lib", "config", "notebooks", "docs", "tests")
FILES = ("README.md", "pyproject.toml")
TESTS_OF_ALL = (
    "tests/losses/test_docs.py",
    "tests/losses/test_lookup.py",
    "tests/config/test_documentation.py",
    "tests/config/test_parts.py",
    "tests/docs/test_parts.py",
    "tests/config/test_shipped.py::test_every_detector_has_a_row_of_its_own_and_none_is_a_table_of_a_work",
    "tests/config/test_shipped.py::test_figures_bring_no_training_curves_and_stand_in_the_index",
    "tests/test_inventory.py",
)
"""What a new loss, detector or table must satisfy beside its own test."""


@pytest.fixture(scope="module")
def blocks(repository) -> dict[str, list[str]]:
    """The section's blocks of code by language, commands under ""."""
    readme = (repository / "README.md").read_text()
    section = readme.split("\n## How to add\n", 1)[1].split("\n## ", 1)[0]
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


@pytest.fixture(scope="module")
def copy(repository, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(repository / folder, root / folder, ignore=left_out)
    for file in FILES:
        shutil.copy(repository / file, root)
    return root


@pytest.fixture(scope="module")
def added(copy, blocks) -> Path:
    """The copy after the commands of the section."""
    (commands,) = blocks[""]
    assert len(commands.splitlines()) == 3
    for line in commands.splitlines():
        program, *words = line.split()
        assert program == "rebalance"
        done = run(copy, "-m", "rebalance", *words)
        assert done.returncode == 0, done.stderr
    return copy


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(root / "lib"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_what_the_section_shows_is_what_is_written(added, blocks):
    (entry,), (detector, of_loss) = blocks["python"], map(yaml.safe_load, blocks["yaml"])
    assert entry in (added / "lib/rebalance/config/options/losses.py").read_text()
    assert detector.items() <= yaml.safe_load((added / "config/detectors.yaml").read_text()).items()
    mine = yaml.safe_load((added / "config/papers/mine.yaml").read_text())
    assert of_loss.items() <= mine["runs"].items()
    assert {"table_my_iou", "table_my_detector", "table_my_table"} <= set(mine["targets"])


@pytest.mark.slow
def test_what_is_written_passes_the_tests(added):
    own = ("tests/losses/test_my_iou.py", "tests/detectors/test_my_detector.py")
    done = run(added, "-m", "pytest", "-q", "-p", "no:cacheprovider", *own, *TESTS_OF_ALL)
    assert done.returncode == 0, done.stdout[-3000:]
    every = run(added, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "my_detector",
                "tests/engine/test_every_detector.py")  # fmt: skip
    assert every.returncode == 0, every.stdout[-3000:]
    linted = run(added, "-m", "ruff", "check", "lib", "tests/losses", "tests/detectors")
    assert linted.returncode == 0, linted.stdout
    formatted = run(added, "-m", "ruff", "format", "--check", "lib/rebalance/losses/my_iou.py",
                    "lib/rebalance/config/options", *own)  # fmt: skip
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my_iou", "my_detector", "my_table"])
def test_what_is_written_trains(added, name, tmp_path):
    make_shapes(added / "data" / "shapes", num_train=8, num_val=2, image_size=64, seed=0)
    shown = run(added, "-m", "rebalance", "show", f"retinanet_r50_{name}", "--scale", "shapes")
    settings = yaml.safe_load(shown.stdout)
    settings["schedule"] |= {"iterations": 20, "batch_size": 2}
    settings["image"]["train"]["resize"] |= {"min_size": 64, "max_size": 64}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    done = run(added, "-m", "rebalance", "train", "--run-file", str(tmp_path / "run.yaml"),
               "--out", str(tmp_path / "run"), "--threads", "1")  # fmt: skip
    shutil.rmtree(added / "data")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "run" / "log.csv")) == 20


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("loss", "giou", "there is a loss 'giou' already"),
        ("loss", "ranking", "lib/rebalance/losses/ranking.py is there already"),
        ("detector", "atss", "config/detectors.yaml has 'atss' already"),
        ("table", "giou", "there is a run 'retinanet_r50_giou' already"),
        ("table", "My-Table", "NAME must be small letters"),
        ("loss", "class", "no word of Python"),
        ("loss", "2d", "NAME must be small letters"),
    ],
)
def test_what_exists_and_what_is_no_name_are_refused(copy, kind, name, said):
    before = {path: path.read_bytes() for path in (copy / "config").rglob("*.yaml")}
    done = run(copy, "-m", "rebalance", "new", kind, name)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert before == {path: path.read_bytes() for path in (copy / "config").rglob("*.yaml")}


def test_outside_a_checkout_it_says_so(copy, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rebalance", "new", "loss", "my_iou"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(copy / "lib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "works in a checkout" in done.stderr
    assert list(tmp_path.iterdir()) == []
