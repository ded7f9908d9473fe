"""The code that a job depends on: what it uses, by name or not, and nothing beside it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rebalance.config.code import notebook_imports, parts_in, reached
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.options.losses import Loss
from rebalance.config.options.overlaps import Overlap

pytestmark = pytest.mark.xdist_group("code")  # one process reads every run as it is shipped


def test_a_function_uses_what_it_calls_and_nothing_beside_it():
    found = reached(["rebalance.losses.regression.eiou_loss"])
    assert "rebalance.boxes.enclosing_sizes" in found
    assert "rebalance.losses.reduction.reduce_loss" in found
    assert "rebalance.losses.regression.l1_loss" not in found


def test_attributes_of_an_imported_module_count_and_its_other_names_do_not():
    found = reached(["rebalance.engine.train"], used=[])
    assert "rebalance.distributed.world_max" in found
    assert "rebalance.config.options.select.Test" in found  # options_of.Test
    assert "rebalance.config.options.select.FastNms" not in found


def test_a_part_counts_where_it_is_used():
    ggiou = Overlap.parts()["ggiou"]
    assert "rebalance.boxes.pairwise_ggiou" in reached(["rebalance.engine.train"], [ggiou])
    assert "rebalance.boxes.pairwise_ggiou" not in reached(["rebalance.engine.train"], [])


def test_a_normaliser_counts_with_its_loss():
    found = reached([], [Loss.parts()["focal_eiou"]])
    assert "rebalance.losses.regression.focal_eiou_normaliser" in found


def test_code_that_names_no_parts_uses_all_of_a_kind():
    found = reached(["rebalance.losses.make_loss"])
    made = {part.makes.replace(":", ".") for part in Loss.parts().values()}
    assert made <= set(found)


def test_a_run_depends_on_its_own_parts_only(repository):
    run = resolve_run(load_experiments(repository), "retinanet_r50_eiou", "shapes")
    code = reached(["rebalance.engine.train"], parts_in(run))
    assert "rebalance.losses.regression.eiou_loss" in code
    assert "rebalance.losses.regression.giou_loss" not in code
    assert "rebalance.engine.batches.training_batches" in code
    # Tables and figures train nothing again.
    assert not [name for name in code if name.startswith("rebalance.config.experiments")]
    assert not [name for name in code if name.startswith("rebalance.config.targets")]


def test_a_notebook_uses_functions_that_a_package_passes_on(repository):
    found = reached(notebook_imports(repository / "notebooks/table.ipynb"))
    assert "rebalance.config.rows.row_names" in found


def test_a_family_of_figures_uses_what_its_table_of_figures_names():
    found = reached(["rebalance.figures.loss_curves"])
    assert "rebalance.losses.regression.focal_l1_loss" in found
    assert "rebalance.losses.ranking.rank_sort_loss" not in found


def test_imports_are_absolute_and_name_what_they_take(repository):
    for path in (repository / "lib").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.lstrip().startswith("from ."), f"{path}: {line}"
            assert not line.rstrip().endswith("import *"), f"{path}: {line}"


EVERY_RUN, NO_RUN = "", "no run has this in its settings"
EDITS = {
    "make_loss": ("losses/__init__.py", "if normaliser is not None else None",
                  "if options else None", EVERY_RUN),
    "what binds options": ("config/part.py", "partial(self.load(), **self.arguments())",
                           "partial(self.load(), **dict(self.arguments()))", EVERY_RUN),
    "a normaliser": ("losses/regression.py",
                     'reduce_loss(weight, "sum"', 'reduce_loss(2 * weight, "sum"',
                     "name: focal_eiou\n"),
    "which normaliser": ("config/options/losses.py",
                         '"rebalance.losses.regression:focal_eiou_normaliser"', "None",
                         "name: focal_eiou\n"),
    "what a name stands for": ("config/options/assigners.py",
                               "rebalance.assigners.atss:assign_atss",
                               "rebalance.assigners.ssd:assign_ssd",
                               "name: atss\n      top_k: 9"),  # a head is called atss, too
    "a part that settings check for": ("config/options/assigners.py",
                                       "if self.positive_iou < self.negative_iou",
                                       "if not self.positive_iou >= self.negative_iou",
                                       "name: max_iou\n"),
    "an overlap": ("boxes.py", "return _ggiou(boxes1[:, None]", "return 2 * _ggiou(boxes1[:, None]",
                   "name: ggiou\n"),
    "a sampler": ("samplers/mining.py", 'negative="random"', 'negative="hard"', "name: ohpm\n"),
    "a part that no run names": ("config/options/samplers.py",
                                 "rebalance.samplers.combined:sample_iou_balanced_negatives",
                                 "rebalance.samplers.combined:sample_random",
                                 "name: iou_balanced_negatives\n"),
    "a new part": ("config/options/losses.py", "class SmoothL1(BoxLoss",
                   'class New(BoxLoss, name="new", makes="rebalance.losses.regression:iou_loss"):\n'
                   '    """New."""\n\n\nclass SmoothL1(BoxLoss', NO_RUN),
    "a new backbone": ("config/options/backbones.py", "class Vgg(Backbone",
                       'class New(Backbone, name="new", makes="rebalance.boxes:box_area"):\n'
                       '    """New."""\n\n\nclass Vgg(Backbone', NO_RUN),
    "a new function": ("losses/regression.py", "def focal_eiou_normaliser(",
                       "def new() -> None: ...\n\n\ndef focal_eiou_normaliser(", NO_RUN),
    "a docstring": ("losses/__init__.py", "with ``options`` bound", "with options bound", NO_RUN),
}  # fmt: skip
"""What is edited -> file, text, its replacement, what the settings of every run with it have."""


@pytest.fixture(scope="module")
def settings(repository):
    """Of every run, as it is written."""
    experiments = load_experiments(repository)
    return {
        run: yaml.safe_dump(resolve_run(experiments, run, "shapes").model_dump())
        for run in experiments.runs
    }


@pytest.fixture(scope="module")
def code(tmp_path_factory, repository):
    """A function of an edit: digest of each run's code in a copy of the library that has it."""
    lib = tmp_path_factory.mktemp("lib")
    package = shutil.copytree(repository / "lib/rebalance", lib / "rebalance")
    program = (
        "import json; from pathlib import Path;"
        "from rebalance.config.code import training_code;"
        "from rebalance.config.experiments import load_experiments, resolve_run;"
        f"experiments = load_experiments(Path({str(repository)!r}), check_runs=False);"
        "print(json.dumps({name: training_code(resolve_run(experiments, name, 'shapes'))"
        " for name in experiments.runs}))"
    )

    def of(file: str = "__init__.py", old: str = "", new: str = "") -> dict[str, str]:
        path = Path(package) / file
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, 1))
        try:
            output = subprocess.run(
                [sys.executable, "-c", program],
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
    assert changed == {run for run, said in settings.items() if mark in said}


def test_reading_the_experiments_imports_no_torch(repository):
    code = (
        "import sys, rebalance.config.experiments as e; e.load_experiments();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository)
