"""Documentation of all settings, made from their types: a page, and JSON schemas for editors.

``python -m rebalance.config.documentation`` writes them into the checkout; a test compares them.
"""

import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import BaseModel, RootModel, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from rebalance.config.docstrings import option_docs
from rebalance.config.files import FILES
from rebalance.config.part import PARTS, Also, Described, Part
from rebalance.config.run import TrainedRun

PAGE = "docs/options.md"
SCHEMAS = "docs/schemas"

WORDS: dict[Any, str] = {
    float: "number",
    int: "whole number",
    bool: "true or false",
    str: "text",
    Any: "anything",
    type(None): "null",
}

HEAD = """\
# Options

Every setting, made by `python -m rebalance.config.documentation` from the types in
`rebalance.config`. A setting that is not listed is refused. A mapping with a
`name` is a **part**: the name says which options it takes, and where settings are layered (a
detector, the scale's changes, the run's) it replaces the one below as a whole. JSON schemas for
editors are in `schemas/`.
"""


def options_page() -> str:
    """Markdown of every file, section and part: options, types, bounds, defaults, documentation."""
    lines = [HEAD, "## Files\n"]
    for file, model in FILES.items():
        lines.append(f"- `{file}`: {in_words(_annotation(model))}")
    lines.append("\n## Sections\n")
    for section in _sections():
        lines += [
            f"### {section.__name__}\n",
            one_line(section.__doc__) + "\n",
            *options_table(section),
        ]
    lines.append("## Parts\n")
    for kind in _kinds():
        lines += [f"### {kind.__name__}\n", f"A {kind.noun}. {one_line(kind.__doc__)}\n"]
        below = [f"[{one.__name__}](#{one.__name__.lower()})" for one in _kinds_below(kind)]
        if below:
            lines.append(f"One of {' or '.join(below)}.\n")
            continue
        for name, part in kind.parts().items():
            source = f" Code: `{part.makes}`." if part.makes else ""
            lines += [f"**`{name}`** {one_line(part.__doc__)}{source}\n", *options_table(part)]
    return "\n".join(lines).rstrip() + "\n"


def json_schemas() -> dict[str, str]:
    """File name -> JSON schema of one of the files that people write."""
    found = {}
    for file, model in FILES.items():
        if model is TrainedRun:
            continue
        name = Path(file).stem.strip("<>")
        schema = model.model_json_schema()
        found[f"{name}.schema.json"] = json.dumps(schema, indent=1, sort_keys=True) + "\n"
    return found


def in_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type with its bounds: "number in [0, 1]", "list of 4 numbers > 0"."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return in_words(inner, [*more, *metadata])
    described = [entry.forms for entry in metadata if isinstance(entry, Described)]
    if described:
        return " or ".join(in_words(form) for form in described[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(in_words(choice, metadata) for choice in get_args(annotation))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list{_length(metadata)} of {in_words(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return f"mapping of name -> {in_words(get_args(annotation)[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        also = [entry.options for entry in metadata if isinstance(entry, Also)]
        return " and ".join(
            f"[{model.__name__}](#{model.__name__.lower()})" for model in (annotation, *also)
        )
    patterns = [m.pattern for m in metadata if isinstance(m, StringConstraints)]
    return WORDS[annotation] + _bounds(metadata) + "".join(f" `{p}`" for p in patterns)


def _bounds(metadata: Sequence[Any]) -> str:
    low = next((m for m in metadata if isinstance(m, Ge | Gt)), None)
    high = next((m for m in metadata if isinstance(m, Le | Lt)), None)
    if low is not None and high is not None:
        ends = f"{_end(low)}, {_end(high)}"
        return (
            f" in {'[' if isinstance(low, Ge) else '('}{ends}{']' if isinstance(high, Le) else ')'}"
        )
    if low is not None:
        return f" {'≥' if isinstance(low, Ge) else '>'} {_end(low)}"
    if high is not None:
        return f" {'≤' if isinstance(high, Le) else '<'} {_end(high)}"
    return ""


def _end(bound: Ge | Gt | Le | Lt) -> str:
    return f"{getattr(bound, type(bound).__name__.lower()):.4g}"


def _length(metadata: Sequence[Any]) -> str:
    for entry in metadata:
        if isinstance(entry, Len):
            if entry.max_length is None:
                return ""
            if entry.min_length == entry.max_length:
                return f" of {entry.min_length}:"
            return f" of {entry.min_length} to {entry.max_length}:"
    return ""


def _annotation(model: type[BaseModel]) -> Any:
    return model.model_fields["root"].annotation if issubclass(model, RootModel) else model


def options_table(model: type[BaseModel]) -> Iterator[str]:
    """Rows of a model's options, without the name."""
    tag = model.tag if issubclass(model, Part) else None
    fields = {name: field for name, field in model.model_fields.items() if name != tag}
    if not fields:
        return
    docs = option_docs(model)
    yield "| option | type | default | |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        words = in_words(field.annotation, field.metadata)
        yield f"| `{field.alias or name}` | {words} | {_default(field)} | {docs[name]} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.exclude_if is not None and field.default is None:
        return ""
    value = to_jsonable_python(field.get_default(call_default_factory=True))
    return f"`{json.dumps(value)}`".replace('"', "")


def _sections() -> list[type[BaseModel]]:
    """Every mapping without a name that files are made of, outside in."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model for file in FILES.values() for model in _models(_annotation(file))]
    while waiting:
        model = waiting.pop(0)
        if model in found:
            continue
        found[model] = None
        parts = model.parts().values() if issubclass(model, Part) and _is_kind(model) else ()
        fields = [f for m in (model, *parts) for f in m.model_fields.values()]
        for field in fields:
            waiting += _models(field.annotation, field.metadata)
    return [model for model in found if not issubclass(model, Part)]


def _is_kind(model: type[BaseModel]) -> bool:
    return issubclass(model, Part) and model.called is None


def _kinds() -> list[type[Part]]:
    """The nearest kind of every part, in the order of definition, and those that settings name."""
    found: dict[type[Part], None] = {}
    for part in PARTS:
        above = [base for base in part.__mro__[1:] if issubclass(base, Part) and _is_kind(base)]
        for kind in reversed(above[: above.index(Part)]):
            found[kind] = None
    return list(found)


def _kinds_below(kind: type[Part]) -> list[type[Part]]:
    """The kinds that a kind of kinds is made of; none for one that has parts of its own."""
    return [one for one in _kinds() if kind in one.__bases__]


def _models(annotation: Any, metadata: Sequence[Any] = ()) -> Iterator[type[BaseModel]]:
    """Types of settings inside an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        inner, metadata = inner[:1], [*inner[1:], *metadata]
    for each in inner:
        yield from _models(each)
    for entry in metadata:
        if isinstance(entry, Also):
            yield entry.options
        if isinstance(entry, Described):
            yield from (form for form in entry.forms if issubclass(form, BaseModel))


def one_line(text: str | None) -> str:
    """The first paragraph of a docstring."""
    return " ".join((text or "").split("\n\n")[0].split())


def write(root: Path) -> None:
    """Write the page and the schemas into a checkout."""
    (root / PAGE).write_text(options_page())
    (root / SCHEMAS).mkdir(exist_ok=True)
    for name, schema in json_schemas().items():
        (root / SCHEMAS / name).write_text(schema)


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3])
