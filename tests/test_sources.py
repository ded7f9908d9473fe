"""What is read from the syntax trees is what Python would import."""

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rebalance.experiments import load_experiments, resolve_run
from rebalance.sources import LOOKUP_TABLES, notebook_imports, parts, reached


@pytest.mark.parametrize("kind", sorted(LOOKUP_TABLES))
def test_static_reading_finds_the_names_and_parameters_that_python_sees(kind):
    module, table = LOOKUP_TABLES[kind]
    runtime = getattr(importlib.import_module(module), table)
    assert list(parts(kind)) == list(runtime)
    for name, entry in runtime.items():
        function = getattr(entry, "function", entry)
        assert parts(kind)[name].parameters == tuple(inspect.signature(function).parameters)
        assert parts(kind)[name].module == function.__module__


def test_a_function_uses_what_it_calls_and_nothing_beside_it():
    found = reached(["rebalance.losses.regression.eiou_loss"])
    assert "rebalance.boxes.enclosing_sizes" in found
    assert "rebalance.losses.reduction.reduce_loss" in found
    assert "rebalance.losses.regression.l1_loss" not in found


def test_a_default_that_names_a_part_counts_as_used():
    found = reached(["rebalance.assigners.max_iou"], used=[])
    assert "rebalance.assigners.overlaps.OVERLAPS['iou']" in found
    assert "rebalance.assigners.overlaps.OVERLAPS['ggiou']" not in found


def test_code_that_names_no_parts_uses_all_of_a_table():
    found = reached(["rebalance.losses.make_loss"])
    assert {f"rebalance.losses.LOSSES[{name!r}]" for name in parts("loss")} <= set(found)


def test_a_notebook_uses_functions_that_a_package_passes_on(repository):
    found = reached(notebook_imports(repository / "notebooks/loss_curves.ipynb"))
    assert "rebalance.losses.regression.focal_l1_loss" in found


def test_imports_are_absolute_and_name_what_they_take(repository):
    for path in (repository / "lib").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.lstrip().startswith("from ."), f"{path}: {line}"
            assert not line.rstrip().endswith("import *"), f"{path}: {line}"


EVERY_RUN, NO_RUN = "", "no run has this in its settings"
EDITS = {
    "make_loss": ("losses/__init__.py", "if loss.normaliser else None", "if options else None",
                  EVERY_RUN),
    "bind_options": ("lookup.py", "partial(table[name], **options)",
                     "partial(table[name], **dict(options))", EVERY_RUN),
    "a normaliser": ("losses/regression.py",
                     'reduce_loss(weight, "sum"', 'reduce_loss(2 * weight, "sum"',
                     '"name": "focal_eiou"'),
    "a loss's entry": ("losses/__init__.py", ', normaliser=focal_eiou_normaliser),', "),",
                       '"name": "focal_eiou"'),
    "an assigner's entry": ("assigners/__init__.py", '"max_iou": assign_max_iou',
                            '"max_iou": assign_atss', '"name": "max_iou"'),
    "an overlap": ("boxes.py", "return _ggiou(boxes1[:, None]", "return 2 * _ggiou(boxes1[:, None]",
                   '"name": "ggiou"'),
    "a sampler": ("samplers/mining.py", 'negative="random"', 'negative="hard"', '"name": "ohpm"'),
    "an unused entry": ("assigners/__init__.py", '"atss": assign_atss', '"atss": assign_ssd',
                        '"name": "atss"'),
    "a new entry": ("losses/__init__.py", "LOSSES: dict[str, Loss] = {",
                    'LOSSES: dict[str, Loss] = {"new": Loss(iou_loss, takes="boxes"),', NO_RUN),
    "a new backbone": ("detectors/backbones.py", "] = {\n    \"plain\"",
                       '] = {\n    "new": ResNetBackbone,\n    "plain"', NO_RUN),
    "a new function": ("losses/regression.py", "def focal_eiou_normaliser(",
                       "def new() -> None: ...\n\n\ndef focal_eiou_normaliser(", NO_RUN),
    "a docstring": ("losses/__init__.py", "with ``options`` bound", "with options bound", NO_RUN),
}  # fmt: skip
"""What is edited -> file, text, its replacement, what the settings of every run with it have."""


@pytest.fixture(scope="module")
def settings(repository):
    experiments = load_experiments(repository)
    return {run: resolve_run(experiments, run, "shapes") for run in experiments.runs}


@pytest.fixture(scope="module")
def code(tmp_path_factory, settings, repository):
    """A function of an edit: digest of each run's code in a copy of the library that has it."""
    lib = tmp_path_factory.mktemp("lib")
    package = shutil.copytree(repository / "lib/rebalance", lib / "rebalance")
    (lib / "settings.json").write_text(json.dumps(settings))
    program = (
        "import json, sys; from rebalance.settings import run_code;"
        "runs = json.load(open(sys.argv[1]));"
        "print(json.dumps({name: run_code(run, 'rebalance.engine.train')"
        " for name, run in runs.items()}))"
    )

    def of(file: str = "__init__.py", old: str = "", new: str = "") -> dict[str, str]:
        path = Path(package) / file
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, 1))
        try:
            output = subprocess.run(
                [sys.executable, "-c", program, str(lib / "settings.json")],
                env={**os.environ, "PYTHONPATH": str(lib)}, check=True, text=True,
                stdout=subprocess.PIPE,
            ).stdout  # fmt: skip
        finally:
            path.write_text(before)
        return json.loads(output)

    return of


@pytest.fixture(scope="module")
def unedited(code):
    return code()


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_code_of_exactly_the_runs_that_use_it(edit, code, unedited, settings):
    *change, mark = EDITS[edit]
    edited = code(*change)
    changed = {run for run, digest in edited.items() if digest != unedited[run]}
    assert changed == {run for run, of_run in settings.items() if mark in json.dumps(of_run)}


def test_reading_the_experiments_imports_no_torch(repository):
    code = (
        "import sys, rebalance.experiments as e; e.load_experiments();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository)
