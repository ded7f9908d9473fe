"""What is read from the syntax trees is what Python would import."""

import importlib
import inspect
import subprocess
import sys

import pytest
from rebalance.sources import LOOKUP_TABLES, parts, source_files


@pytest.mark.parametrize("kind", sorted(LOOKUP_TABLES))
def test_static_reading_finds_the_names_and_parameters_that_python_sees(kind):
    module, table = LOOKUP_TABLES[kind]
    runtime = getattr(importlib.import_module(module), table)
    assert list(parts(kind)) == list(runtime)
    for name, entry in runtime.items():
        function = getattr(entry, "function", entry)
        assert parts(kind)[name].parameters == tuple(inspect.signature(function).parameters)
        assert parts(kind)[name].module == function.__module__


def test_source_files_follow_imports_and_stop_at_lookup_tables():
    names = {"/".join(path.parts[-2:]) for path in source_files(["rebalance.losses.ranking"])}
    assert "losses/ranking.py" in names
    assert "losses/classification.py" not in names
    assert "losses/__init__.py" not in names


def test_reading_the_experiments_imports_no_torch(repository):
    code = (
        "import sys, rebalance.experiments as e; e.load_experiments();"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository)
