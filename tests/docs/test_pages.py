"""What the pages of the site say to type works."""

import re
import shutil
import subprocess
import sys

import yaml

PAGES = ("index", "start", "faq", "own_paper")
"""Those with code to run; cluster.md has commands only."""

RUNNER = """
import re, sys
from pathlib import Path
from rebalance.cli import main
from rebalance.config.experiments import load_experiments, resolve_run

for page in map(Path, sys.argv[1:]):
    print(page.name)
    names = {}
    blocks = re.findall(r"^```(python|sh)\\n(.*?)^```", page.read_text(), re.M | re.S)
    assert blocks
    for kind, block in blocks:
        if kind == "python":
            exec(block, names)
        for line in block.splitlines() if kind == "sh" else ():
            if line.startswith("rebalance "):
                assert main(line.split()[1:]) in (0, None), line

experiments = load_experiments()  # with mine.yaml, of own_paper.md
run = resolve_run(experiments, "retinanet_r50_my_iou", "shapes")
assert run.detector.dense.objective.box.gamma == 0.5
experiments.target("mine_table_1")
"""


def test_code_blocks_commands_and_settings_work(repository, tmp_path):
    """In one process of its own: a block defines a loss, which no other test should meet."""
    for folder in ("config", "notebooks"):
        shutil.copytree(repository / folder, tmp_path / folder)
    pages = [repository / f"docs/{name}.md" for name in PAGES]
    blocks = re.findall(r"^```yaml\n(.*?)^```", pages[-1].read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "config/papers/mine.yaml").write_text("".join(blocks))
    script = tmp_path / "script.py"
    script.write_text(RUNNER)
    done = subprocess.run(
        [sys.executable, script, *pages], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
