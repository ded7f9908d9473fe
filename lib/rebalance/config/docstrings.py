"""The strings below the options of a class, which document them, read from its source."""

import ast
import inspect
import sys
from functools import cache


def option_docs(cls: type) -> dict[str, str]:
    """Name of each option -> the string below it, of a class and those above it."""
    found: dict[str, str] = {}
    for above in reversed(cls.__mro__):
        found |= _of_module(above.__module__).get(above.__qualname__, {})
    return found


@cache
def _of_module(module: str) -> dict[str, dict[str, str]]:
    if not module.startswith("rebalance."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for option, doc in zip(node.body, node.body[1:], strict=False):
        if not (isinstance(option, ast.AnnAssign) and isinstance(option.target, ast.Name)):
            continue
        if "ClassVar" in ast.unparse(option.annotation):
            continue
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            found[option.target.id] = " ".join(str(doc.value.value).split())
    return found
