"""No picture of the documentation is older than what it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pictures")]


def old_pictures(checkout: Path) -> set[str]:
    """What `docs/pictures.py --check` names, below docs/."""
    done = subprocess.run(
        [sys.executable, "docs/pictures.py", "--check"],
        cwd=checkout,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(checkout / "lib"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    named = set(re.findall(r"^docs/(\S+) is older than what it shows", done.stdout, re.MULTILINE))
    assert done.returncode == bool(named), done.stdout + done.stderr
    return named


def test_no_picture_is_older_than_what_it_shows(repository):
    assert old_pictures(repository) == set(), "make pictures"


def test_every_picture_has_a_place_in_the_record(repository):
    docs = repository / "docs"
    found = {
        str(path.relative_to(docs))
        for ending in ("png", "svg")
        for path in docs.rglob(f"*.{ending}")
    }
    record = (docs / "pictures.json").read_text()
    assert found == set(re.findall(r'"([^"]+\.(?:png|svg))"', record))


def test_a_change_of_what_pictures_show_makes_them_old(repository, tmp_path):
    for folder in ("benchmarks", "config", "docs", "lib", "notebooks", "workflow"):
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(repository / folder, tmp_path / folder, ignore=left_out)

    def replace(file: str, before: str, after: str) -> None:
        text = (tmp_path / file).read_text()
        assert before in text
        (tmp_path / file).write_text(text.replace(before, after, 1))

    # A loss of another shape, a rule of another name, a picture of which a byte differs.
    replace("lib/rebalance/losses/regression.py", "weight * _eiou(", "weight**2 * _eiou(")
    replace("workflow/rules/evaluate.smk", "rule positives:", "rule positive_rois:")
    with (tmp_path / "docs/figures/losses_on_masks.png").open("ab") as file:
        file.write(b" ")
    assert old_pictures(tmp_path) == {
        "figures/losses_on_boxes.png",
        "figures/losses_on_masks.png",
        "images/compare.png",
        "images/dag.svg",
        "images/page.png",
        "images/scoreboard.png",
        "images/table.png",
    }
