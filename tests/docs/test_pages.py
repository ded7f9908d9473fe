"""What the pages of the site say to type works."""

import os
import re
import shutil
import subprocess
import sys

import yaml
from rebalance.cli import build_parser
from rebalance.config.options import select
from rebalance.config.options.objectives import Objective
from rebalance.config.parse import parse

PAGES = ("index", "start", "losses", "faq", "own_paper")
"""Those with code to run; cluster.md has commands only."""

ACTIVATE = ". .venv/bin/activate"

RUNNER = r"""
import io, re, runpy, sys
from contextlib import redirect_stdout
from pathlib import Path
from rebalance.cli import main


def run(line):
    program, *words = line.split()
    if program == "rebalance":
        assert main(words) in (0, None), line
    elif program == "python":
        runpy.run_path(words[0], run_name="__main__")


def lines(text):
    # How long it took is not the same twice.
    return [re.sub(r", \d+\.\d s$", "", line.rstrip()) for line in text.strip().splitlines()]


for page in map(Path, sys.argv[1:]):
    print(page.name)
    names, printed = {}, ""
    block = r'^```(python|sh|text)(?: title="(\w+\.py)")?\n(.*?)^```'
    blocks = re.findall(block, page.read_text(), re.M | re.S)
    assert blocks
    for kind, file, block in blocks:
        if kind == "text":
            assert lines(printed) == lines(block), printed
            continue
        output = io.StringIO()
        with redirect_stdout(output):
            if file:
                Path(file).write_text(block)
            elif kind == "python":
                exec(block, names)
            else:
                for line in block.splitlines():
                    run(line)
        printed = output.getvalue()
"""

SETTINGS = r"""
import re, sys, yaml
from pathlib import Path
from rebalance.config.experiments import load_experiments, resolve_run

page = Path(sys.argv[-1])
written, changed = (yaml.safe_load(block) for block in re.findall(
    r'^```yaml title="[^"]+"\n(.*?)^```', page.read_text(), re.M | re.S))  # of own_paper.md
mine = Path("config/papers/mine.yaml")
settings = yaml.safe_load(mine.read_text())
assert written["runs"].items() <= settings["runs"].items()
assert set(changed["targets"]) <= set(settings["targets"])
settings["targets"] |= changed["targets"]
mine.write_text(yaml.safe_dump(settings))
experiments = load_experiments()
run = resolve_run(experiments, "retinanet_r50_my_iou", "shapes")
assert run.detector.dense.objective.box.gamma == 0.5
experiments.target("mine_table_my_iou")
"""


def test_code_blocks_print_what_the_pages_say_and_settings_work(repository, tmp_path):
    """In a checkout of its own, as `rebalance new` writes into it."""
    for folder in ("config", "docs", "lib", "notebooks", "tests"):
        left_out = shutil.ignore_patterns("__pycache__", "node_modules", "images", "golden")
        shutil.copytree(repository / folder, tmp_path / folder, ignore=left_out)
    pages = [tmp_path / f"docs/{name}.md" for name in PAGES]
    for code in (RUNNER, SETTINGS):  # the second knows the loss that `rebalance new` wrote
        done = subprocess.run(
            [sys.executable, "-c", code, *pages],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "lib")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_targets_of_make_and_snakemake_are_there(repository):
    makefile = (repository / "Makefile").read_text()
    names = {"mine_table_my_iou"}
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
                program, *words = line.partition("#")[0].split()
                if program == "rebalance":
                    build_parser().parse_args(words)  # those of cluster.md do not run here
                else:
                    assert program in ("python", "mkdir", "cd") or line == ACTIVATE, line


def test_no_page_has_code_that_no_test_looks_at(repository):
    code = {
        path.stem
        for path in (repository / "docs").glob("*.md")
        if re.search(r"^ *```(python|sh)", path.read_text(), re.MULTILINE)
    }
    assert code == {*PAGES, "cluster"}


def test_settings_that_pages_show_are_allowed(repository):
    def blocks(page):
        text = (repository / f"docs/{page}.md").read_text()
        return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    (block,) = blocks("losses")
    objectives = re.split(r"^(?=objective:)", block, flags=re.MULTILINE)[1:]
    assert len(objectives) == 3
    for text in objectives:
        parse(Objective, yaml.safe_load(text)["objective"], "docs/losses.md")
    (block,) = blocks("detectors")
    (variant,) = yaml.safe_load(block)["variants"].values()
    parse(select.Test, variant["test"], "docs/detectors.md")
