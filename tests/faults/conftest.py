"""A run and a checkout that take seconds."""

import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.data.shapes import make_shapes


def small_run(repository, data, num_train, num_val):
    """Settings of a run on images of 32 px, which are drawn."""
    make_shapes(data / "shapes", num_train=num_train, num_val=num_val, image_size=32)
    experiments = load_experiments(repository, check_runs=False)
    return resolve_run(experiments, "retinanet_r50_eiou", "shapes", data=str(data)).model_dump()


@pytest.fixture(scope="module")
def checkout(repository, tmp_path_factory):
    """A checkout whose notebook of figures imports nothing, and so takes seconds."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("config", "notebooks"):
        shutil.copytree(repository / folder, root / folder)
    (root / ".snakemake").mkdir()  # where configuration that was read is kept
    path = root / "notebooks" / "analytic_figure.ipynb"
    notebook = nbformat.read(path, as_version=4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    notebook.cells = [parameters, *(new_code_cell(f"print({k}, title)") for k in range(5))]
    nbformat.write(notebook, path)
    return root
