"""What the library's source says of itself, read without importing it.

Snakemake parses the workflow once per job, and importing torch each time would cost more than some
jobs. So the names and options that a configuration may use, and the files whose change must rerun a
job, are read from the syntax trees of the package.
"""

import ast
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent

LOOKUP_TABLES = {
    "loss": ("rebalance.losses", "LOSSES"),
    "instance_weights": ("rebalance.losses.balancing", "INSTANCE_WEIGHTS"),
    "objective": ("rebalance.detectors.objectives", "OBJECTIVES"),
    "balance": ("rebalance.detectors.objectives.balance", "BALANCES"),
    "assigner": ("rebalance.assigners", "ASSIGNERS"),
    "sampler": ("rebalance.samplers", "SAMPLERS"),
    "overlap": ("rebalance.assigners.overlaps", "OVERLAPS"),
    "roi_source": ("rebalance.detectors.roi_sources", "ROI_SOURCES"),
    "backbone": ("rebalance.detectors.backbones", "BACKBONES"),
}
"""Kind of part -> the module and the dict in it that maps a configuration's names to callables."""


class Part(NamedTuple):
    """One entry of a lookup table: the module that defines it and its keyword parameters."""

    module: str
    parameters: tuple[str, ...]


@cache
def module_file(module: str) -> Path | None:
    """The file of a module of this package, None for any other module."""
    root, *parts = module.split(".")
    if root != "rebalance":
        return None
    path = PACKAGE.joinpath(*parts)
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


@cache
def _imported_names(module: str) -> dict[str, str]:
    """Name bound by a ``from rebalance... import name`` -> the module it comes from."""
    path = module_file(module)
    assert path is not None, module
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _definition(module: str, name: str) -> tuple[str, ast.FunctionDef | ast.ClassDef]:
    """Follow imports to the module that defines ``name``."""
    path = module_file(module)
    if path is not None:
        for node in _tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return module, node
        if name in _imported_names(module):
            return _definition(_imported_names(module)[name], name)
    raise LookupError(f"{module} does not define or import {name}")


def _parameters(node: ast.FunctionDef | ast.ClassDef) -> tuple[str, ...]:
    """Parameters of a function, of a class's ``__init__`` or its annotated fields."""
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                return _parameters(member)[1:]
        return tuple(
            member.target.id
            for member in node.body
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)
        )
    arguments = node.args
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return tuple(a.arg for a in named + ((arguments.kwarg,) if arguments.kwarg else ()))


def _table_literal(module: str, table: str) -> ast.Dict:
    path = module_file(module)
    assert path is not None, module
    for node in _tree(path).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == table:
            value = getattr(node, "value", None)
            if isinstance(value, ast.Dict):
                return value
    raise LookupError(f"{module} has no dict literal {table}")


@cache
def parts(kind: str) -> dict[str, Part]:
    """Names that a configuration may use for one kind of part, with module and parameters.

    Args:
        kind: a key of ``LOOKUP_TABLES``.
    """
    module, table = LOOKUP_TABLES[kind]
    found = {}
    literal = _table_literal(module, table)
    for key, value in zip(literal.keys, literal.values, strict=True):
        assert isinstance(key, ast.Constant), f"{module}.{table}: keys must be literal strings"
        # ``Loss(eiou_loss, takes="boxes")`` names its function first, other tables directly.
        callee = value.args[0] if isinstance(value, ast.Call) else value
        assert isinstance(callee, ast.Name), f"{module}.{table}[{key.value!r}] must name a function"
        defining_module, node = _definition(module, callee.id)
        found[str(key.value)] = Part(defining_module, _parameters(node))
    return found


def _is_package(module: str) -> bool:
    path = module_file(module)
    return path is not None and path.name == "__init__.py"


def source_files(modules: Iterable[str]) -> list[Path]:
    """Files of ``modules`` and of everything in this package that they import, sorted.

    Packages whose ``__init__`` holds a lookup table are left out, and not followed: adding a loss
    must not rerun the trainings that do not use it. Name the modules of the parts used instead.
    """
    tables = {module for module, _ in LOOKUP_TABLES.values() if _is_package(module)}
    waiting, seen = list(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen or module_file(module) is None:
            continue
        seen.add(module)
        if module in tables:
            continue
        waiting.extend(_imported_modules(module))
    files = {module_file(module) for module in seen - tables}
    return sorted(path for path in files if path is not None)


def notebook_imports(notebook: str | Path) -> list[str]:
    """Modules that the code cells of a notebook import, sorted."""
    cells = json.loads(Path(notebook).read_text())["cells"]
    code = (ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code")
    return sorted(set[str]().union(*map(_imports, code)))


@cache
def _imported_modules(module: str) -> frozenset[str]:
    path = module_file(module)
    assert path is not None, module
    return _imports(_tree(path))


def _imports(tree: ast.Module) -> frozenset[str]:
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)
