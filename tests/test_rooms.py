"""The rooms of the library: no import runs back up, and none in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import rebalance

PACKAGE = Path(rebalance.__file__).parent


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


FLOORS = [
    {"errors", "rng", "distributed", "rle", "words"},
    {"inputs", "checks", "locks"},
    {"boxes", "config"},
    {"generators", "metrics", "video"},
    {"data"},
    {"assigners", "losses"},
    {"samplers"},
    {"detectors"},
    {"engine", "figures", "weights"},
    {"planning", "report"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: a room imports rooms below its own floor."""


def test_every_room_has_a_floor(imports):
    assert {room(module) for module in imports} - {""} == set().union(*FLOORS)


def test_no_import_runs_up(imports):
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    assert [
        f"{module} -> {name}"
        for module, names in imports.items()
        for name in names
        if room(module) and room(name) and room(module) != room(name)
        and floor[room(name)] >= floor[room(module)]
    ] == []  # fmt: skip


def test_figures_do_not_read_the_configuration(imports):
    rooms = {
        room(name) for module, names in imports.items() for name in names
        if room(module) == "figures"
    }  # fmt: skip
    assert "metrics" in rooms
    assert "config" not in rooms


def test_nothing_is_imported_in_a_circle(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
