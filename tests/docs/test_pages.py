"""What the pages of the site say to type works, and every part has its rule."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from rebalance.config.options.assigners import Assigner
from rebalance.config.options.samplers import Sampler

PAGES = ("index", "start", "faq", "own_paper")
"""Those with code to run; cluster.md has commands only."""

RUNNER = """
import re, sys
from pathlib import Path
from rebalance.cli import main

page = Path(sys.argv[1]).read_text()
for kind, block in re.findall(r"^```(python|sh)\\n(.*?)^```", page, re.M | re.S):
    if kind == "python":
        exec(block, globals())
    for line in block.splitlines() if kind == "sh" else ():
        if line.startswith("rebalance "):
            assert main(line.split()[1:]) in (0, None), line
"""

SETTINGS = """
from rebalance.config.experiments import load_experiments, resolve_run

experiments = load_experiments()
run = resolve_run(experiments, "retinanet_r50_my_iou", "shapes")
assert run.detector.dense.objective.box.gamma == 0.5
experiments.target("mine_table_1")
"""


def run(code, folder, *arguments):
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_code_blocks_and_commands_run(repository, tmp_path, name):
    code = RUNNER
    page = repository / f"docs/{name}.md"
    if name == "own_paper":
        for folder in ("config", "notebooks"):
            shutil.copytree(repository / folder, tmp_path / folder)
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        (tmp_path / "config/papers/mine.yaml").write_text("".join(blocks))
        code += SETTINGS
    run(code, tmp_path, page)


def test_targets_of_make_and_snakemake_are_there(repository):
    makefile = (repository / "Makefile").read_text()
    names = {"mine_table_1"}
    for file in (repository / "config/papers").glob("*.yaml"):
        work = yaml.safe_load(file.read_text())
        names |= {f"{file.stem}_{target}" for target in work["targets"]} | {file.stem}
    pages = [(repository / f"docs/{name}.md").read_text() for name in (*PAGES, "cluster")]
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", "\n".join(pages), re.M | re.S):
        for line in map(str.strip, block.splitlines()):
            if line.startswith("make "):
                assert f"\n{line.split()[1]}:" in makefile, line
            elif line.startswith("snakemake"):
                asked = line.removeprefix("snakemake").replace("--profile slurm", "").split()
                assert set(asked) <= names, line
            else:
                assert line.startswith(("rebalance ", "pip install .")), line


def test_every_part_has_a_rule_and_nothing_else_has(repository):
    rules = yaml.safe_load((repository / "docs/reference/formulas.yaml").read_text())
    assert set(rules["assigner"]) == set(Assigner.parts())
    assert set(rules["sampler"]) == set(Sampler.parts())
