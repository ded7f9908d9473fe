"""The code that a job depends on, read from the syntax trees of the library.

A change of the code must rerun the jobs that use it, and no others. What a job uses is found
definition by definition, from the module that its command calls along the names that each
definition uses. A function added beside those that a training uses does not train it again;
comments and docstrings do not count.

Parts that settings name are loaded by name, which no syntax tree shows: of a run they are the parts
that it names (``Part.code``). Elsewhere, code that binds parts of a kind uses all of that kind.
Adding a part therefore plans no training again.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import rebalance.config.options  # noqa: F401  (defines all parts)
from rebalance.config.part import PARTS, Options, Part
from rebalance.config.run import Run

PACKAGE = Path(__file__).resolve().parents[1]

_Symbol = tuple[str, str]
"""Module and name of a definition; the name is "" for what the module runs when imported."""


def training_code(run: Run) -> str:
    """Digest of the library's code that the training of a run depends on: not how it is tested."""
    used = parts_in([run.backbone, run.image.train, run.schedule])
    for section in type(run.detector).model_fields.keys() - {"test"}:
        used |= parts_in(getattr(run.detector, section))
    return fingerprint(("rebalance.engine.train",), frozenset(used))


def run_code(run: Run, module: str) -> str:
    """Digest of the library's code that a step of a trained run depends on.

    Args:
        run: its settings.
        module: what makes the step, for example ``rebalance.engine.predict``.
    """
    return fingerprint((module,), frozenset(parts_in(run)))


def parts_in(settings: Any) -> set[type[Part]]:
    """Every part that some settings name, at any depth."""
    if isinstance(settings, Options):
        own = {type(settings)} if isinstance(settings, Part) else set()
        values: Iterable[Any] = (getattr(settings, name) for name in type(settings).model_fields)
        return own.union(*map(parts_in, values))
    if isinstance(settings, dict):
        return set[type[Part]]().union(*map(parts_in, settings.values()))
    if isinstance(settings, list):
        return set[type[Part]]().union(*map(parts_in, settings))
    return set()


@cache  # most runs share their parts with others
def fingerprint(roots: tuple[str, ...], used: frozenset[type[Part]] | None = None) -> str:
    """Digest of the code that ``reached`` finds for the same arguments."""
    digest = hashlib.sha256()
    for symbol in sorted(_reached(roots, used)):
        digest.update(f"{symbol} {_digest(*symbol)}\n".encode())
    return digest.hexdigest()


def reached(roots: Iterable[str], used: Iterable[type[Part]] | None = None) -> list[str]:
    """Definitions of this package that some code uses, directly or not, sorted as ``module.name``.

    Args:
        roots: modules (all they define), or names in modules: ``rebalance.losses.iou_loss``.
        used: the parts that the code binds; None where that is not known: all of the kinds that
            the code names.
    """
    return sorted(f"{module}.{name}" for module, name in _reached(roots, used) if name)


def _reached(roots: Iterable[str], used: Iterable[type[Part]] | None) -> set[_Symbol]:
    waiting = [symbol for root in roots for symbol in _symbols(root)]
    for part in used or ():
        waiting += _part_symbols(part)
    # Settings name parts to check each other (isinstance); in other runs those do nothing.
    used_classes = {above for part in (PARTS if used is None else used) for above in part.__mro__}
    unused = {_class_symbol(part) for part in PARTS if part not in used_classes}
    found = set[_Symbol]()
    while waiting:
        symbol = waiting.pop()
        if symbol in found or symbol in unused:
            continue
        found.add(symbol)
        waiting += [(symbol[0], ""), *_references(*symbol)]
        if used is None:
            for part in _parts_of_kinds().get(symbol, ()):
                waiting += _part_symbols(part)
    return found


def _part_symbols(part: type[Part]) -> list[_Symbol]:
    return [symbol for code in part.code() for symbol in _symbols(code.replace(":", "."))]


def _class_symbol(part: type[Part]) -> _Symbol:
    return part.__module__, part.__name__


@cache
def _parts_of_kinds() -> dict[_Symbol, list[type[Part]]]:
    """Definition of a kind of parts -> its parts."""
    found: dict[_Symbol, list[type[Part]]] = {}
    for part in PARTS:
        for above in part.__mro__:
            if issubclass(above, Part) and above is not Part and above.called is None:
                found.setdefault(_class_symbol(above), []).append(part)
    return found


@cache
def _module_file(module: str) -> Path | None:
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


@cache
def _definitions(module: str) -> dict[str, list[ast.AST]]:
    """Name -> the statements that bind it; "" -> those that bind none. No imports."""
    path = _module_file(module)
    if path is None:
        return {}
    found: dict[str, list[ast.AST]] = {"": []}
    for statement in _tree(path).body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for name in _bound_names(statement) or [""]:
                found.setdefault(name, []).append(statement)
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
    if _module_file(dotted) is not None:
        return [(dotted, name) for name in _definitions(dotted)]
    module, _, name = dotted.rpartition(".")
    if _module_file(module) is None:  # of another package: its name is all that counts
        return [(dotted, "")]
    if name in _definitions(module):
        return [(module, name)]
    return [(module, ""), *_imported_symbols(module, name)]


@cache
def _references(module: str, name: str) -> frozenset[_Symbol]:
    """What a definition uses: names of its module and imported ones, attributes of modules."""
    found = set[_Symbol]()
    resolved = set[ast.AST]()
    for statement in _definitions(module).get(name, ()):
        for node in ast.walk(statement):  # an attribute comes before the name that it is of
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                origins = [o for o in _origins(module, node.value.id) if _module_file(o)]
                for origin in origins:
                    found.update([(origin, ""), *_symbols(f"{origin}.{node.attr}")])
                resolved |= {node.value} if origins else set()
            elif isinstance(node, ast.Name) and node.id in _definitions(module):
                found.add((module, node.id))
            elif isinstance(node, ast.Name) and node not in resolved:
                found.update(_imported_symbols(module, node.id))
    return frozenset(found)


def _imported_symbols(module: str, name: str) -> list[_Symbol]:
    return [symbol for origin in _origins(module, name) for symbol in _symbols(origin)]


def _origins(module: str, name: str) -> set[str]:
    path = _module_file(module)
    return _imported_names(_tree(path)).get(name, set()) if path else set()


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
