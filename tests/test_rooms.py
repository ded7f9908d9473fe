"""The rooms of the library: no import runs back up, and none in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import rebalance

PACKAGE = Path(rebalance.__file__).parent
ENTRANCES = {"cli", "__main__"}
"""The command line, which may import any room."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("rebalance", *parts)).removesuffix(".__init__")


def named(path: Path) -> Iterator[str]:
    """Everything that a file's imports name, also those within functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Module -> the modules of the library that it imports."""
    files = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    return {module: set(named(path)) & set(files) - {module} for module, path in files.items()}


def room(module: str) -> str:
    return f"{module}.".split(".")[1]


def importers(imports: dict[str, set[str]], of: str) -> Iterator[tuple[str, str]]:
    """(module, what it imports) across the border of a room."""
    for module, names in imports.items():
        if room(module) in {of, *ENTRANCES}:
            continue
        yield from ((module, name) for name in names if room(name) == of)


def test_nothing_below_imports_pages(imports):
    assert list(importers(imports, "report")) == []


def test_only_pages_import_figures(imports):
    assert {room(module) for module, _ in importers(imports, "figures")} == {"report"}


def test_figures_do_not_train(imports):
    rooms = {
        room(name) for module, names in imports.items() for name in names
        if room(module) == "figures"
    }  # fmt: skip
    assert "figures" in rooms
    assert not rooms & {"engine", "report", "config", "cli"}


def test_nothing_is_imported_in_a_circle(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
