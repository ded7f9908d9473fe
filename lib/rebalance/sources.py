"""What the library's source says of itself, read without importing it.

Snakemake parses the workflow once per job, and importing torch each time would cost more than some
jobs. So the names and options that a configuration may use, and the code whose change must rerun a
job, are read from the syntax trees of the package.

What a job depends on is found definition by definition, from the module that its command calls
along the names that each definition uses. A function added beside those that a training uses does
not train it again, nor does an entry added to a lookup table; comments and docstrings do not count.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent

LOOKUP_TABLES = {
    "loss": ("rebalance.losses", "LOSSES"),
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


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_string = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_string else node


@cache
def _tree(path: Path) -> ast.Module:
    tree: ast.Module = _WithoutDocstrings().visit(ast.parse(path.read_text(), filename=str(path)))
    return tree


def _definition(module: str, name: str) -> tuple[str, ast.FunctionDef | ast.ClassDef]:
    """Follow imports to the module that defines ``name``."""
    path = module_file(module)
    if path is not None:
        for node in _tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                return module, node
        for imported in _imported_names(_tree(path)).get(name, ()):
            return _definition(*imported.rsplit(".", 1))
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
    return tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


@cache
def _table(kind: str) -> dict[str, ast.expr]:
    """Entries of a lookup table: name -> the expression it stands for."""
    module, table = LOOKUP_TABLES[kind]
    path = module_file(module)
    assert path is not None, module
    for node in _tree(path).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == table:
            value = getattr(node, "value", None)
            if isinstance(value, ast.Dict):
                return {ast.literal_eval(key): entry  # type: ignore[arg-type]
                        for key, entry in zip(value.keys, value.values, strict=True)}  # fmt: skip
    raise LookupError(f"{module} has no dict literal {table}")


@cache
def parts(kind: str) -> dict[str, Part]:
    """Names that a configuration may use for one kind of part, with module and parameters.

    Args:
        kind: a key of ``LOOKUP_TABLES``.
    """
    module, table = LOOKUP_TABLES[kind]
    found = {}
    for name, entry in _table(kind).items():
        # ``Loss(eiou_loss, takes="boxes")`` names its function first, other tables directly.
        callee = entry.args[0] if isinstance(entry, ast.Call) else entry
        assert isinstance(callee, ast.Name), f"{module}.{table}[{name!r}] must name a function"
        defining_module, node = _definition(module, callee.id)
        found[name] = Part(defining_module, _parameters(node))
    return found


def fingerprint(roots: Iterable[str], used: Iterable[tuple[str, str]] | None = None) -> str:
    """Digest of the code that ``reached`` finds for the same arguments."""
    digest = hashlib.sha256()
    for symbol in sorted(_reached(roots, used)):
        digest.update(f"{symbol} {_digest(*symbol)}\n".encode())
    return digest.hexdigest()


def reached(roots: Iterable[str], used: Iterable[tuple[str, str]] | None = None) -> list[str]:
    """Definitions of this package that some code uses, directly or not, sorted.

    Args:
        roots: modules (all they define), or names in modules: ``rebalance.losses.iou_loss``.
        used: the parts that the code looks up by name, as kind (a key of ``LOOKUP_TABLES``) and
            name; None where that is not known: code that uses a table uses all of it then.

    Returns:
        ``module.name``; ``module.TABLE['name']`` for an entry of a lookup table.
    """
    return sorted(f"{module}.{name}" for module, name in _reached(roots, used) if name)


_Symbol = tuple[str, str]
"""Module and name of a definition; the name is "" for what the module runs when imported."""


def _reached(roots: Iterable[str], used: Iterable[tuple[str, str]] | None) -> set[_Symbol]:
    waiting = [symbol for root in roots for symbol in _symbols(root)]
    waiting += [_entry(kind, name) for kind, name in used or ()]
    found = set[_Symbol]()
    while waiting:
        symbol = waiting.pop()
        if symbol in found:
            continue
        found.add(symbol)
        waiting += [(symbol[0], ""), *_references(*symbol)]
        if used is None:
            waiting += _entries(*symbol)
    return found


def _entry(kind: str, name: str) -> _Symbol:
    module, table = LOOKUP_TABLES[kind]
    return module, f"{table}[{name!r}]"


def _entries(module: str, table: str) -> list[_Symbol]:
    """All entries of a lookup table; none of what is no lookup table."""
    if (module, table) not in LOOKUP_TABLES.values():
        return []
    return [(module, name) for name in _definitions(module) if name.startswith(f"{table}[")]


@cache
def _definitions(module: str) -> dict[str, list[ast.AST]]:
    """Name -> the statements that bind it; "" -> those that bind none. No imports.

    Entries of a lookup table are definitions of their own, and the table has none beside them.
    """
    path = module_file(module)
    if path is None:
        return {}
    found: dict[str, list[ast.AST]] = {"": []}
    for statement in _tree(path).body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for name in _bound_names(statement) or [""]:
                found.setdefault(name, []).append(statement)
    for kind, (place, table) in LOOKUP_TABLES.items():
        if place == module:
            found[table] = []
            found |= {_entry(kind, key)[1]: [value] for key, value in _table(kind).items()}
    return found


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    names = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
    return [name.id for name in names if isinstance(name.ctx, ast.Store)]


def _symbols(dotted: str) -> list[_Symbol]:
    """The definitions that a module, or a name in a module, stands for."""
    if module_file(dotted) is not None:
        return [(dotted, name) for name in _definitions(dotted)]
    module, _, name = dotted.rpartition(".")
    if module_file(module) is None:  # of another package: its name is all that counts
        return [(dotted, "")]
    if name in _definitions(module):
        return [(module, name)]
    return [(module, ""), *_imported_symbols(module, name)]


@cache
def _references(module: str, name: str) -> frozenset[_Symbol]:
    """What a definition uses: names of its module, imported ones, parts that are defaults.

    One that takes a lookup table from another module uses all of it. The functions beside a table
    (``make_loss``) take from it what their caller names.
    """
    found = set[_Symbol]()
    for statement in _definitions(module).get(name, ()):
        for node in ast.walk(statement):
            if isinstance(node, ast.arguments):
                found.update(_default_parts(node))
            elif isinstance(node, ast.Name) and node.id in _definitions(module):
                found.add((module, node.id))
            elif isinstance(node, ast.Name):
                for symbol in _imported_symbols(module, node.id):
                    found.update([symbol, *_entries(*symbol)])
    return frozenset(found)


def _imported_symbols(module: str, name: str) -> list[_Symbol]:
    path = module_file(module)
    origins = _imported_names(_tree(path)).get(name, ()) if path else ()
    return [symbol for origin in origins for symbol in _symbols(origin)]


def _default_parts(arguments: ast.arguments) -> Iterator[_Symbol]:
    """Parts that defaults name, such as ``overlap="iou"``."""
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    pairs = [
        *zip(positional[first:], arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        if argument.arg in LOOKUP_TABLES and isinstance(default, ast.Constant) and default.value:
            yield _entry(argument.arg, str(default.value))


@cache
def _digest(module: str, name: str) -> str:
    text = "".join(ast.dump(statement) for statement in _definitions(module).get(name, ()))
    return hashlib.sha256(text.encode()).hexdigest()


def notebook_imports(notebook: str | Path) -> list[str]:
    """What the code cells of a notebook import, ``module.name`` or ``module``, sorted."""
    cells = json.loads(Path(notebook).read_text())["cells"]
    code = (ast.parse("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code")
    names = (origins for tree in code for origins in _imported_names(tree).values())
    return sorted(set[str]().union(*names))


@cache
def _imported_names(tree: ast.Module) -> dict[str, set[str]]:
    """Name that an import binds, anywhere in the tree -> what it may stand for."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.setdefault(alias.asname or alias.name.split(".")[0], set()).add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origin = f"{node.module}.{alias.name}"
                found.setdefault(alias.asname or alias.name, set()).add(origin)
    return found
