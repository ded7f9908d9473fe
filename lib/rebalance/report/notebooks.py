"""Run one parameterised notebook in a fresh kernel: executed ``.ipynb`` and readable ``.html``.

The runner is strict where papermill is lenient: the given parameters must be exactly those that the
notebook declares, and of the declared types, so a misspelt parameter cannot run with a default.
"""

import ast
import itertools
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from rebalance.data.files import write_atomically
from rebalance.errors import InputError, writing
from rebalance.inputs import read_json

if TYPE_CHECKING:
    from rebalance.report.place import Place

#: The system allows 107 characters for a socket's path; the kernel adds up to 20.
LONGEST_SOCKET_FOLDER = 85


class NotebookError(RuntimeError):
    """A cell failed or the kernel died; the message names the cell and the executed notebook."""


def declared_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values that the cell tagged ``parameters`` of a notebook assigns.

    Raises:
        InputError: the file is not a notebook, not exactly one cell has the tag, or that cell
            does anything but assign literals to names.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except FileNotFoundError:
        raise InputError(f"{notebook}: no such notebook") from None
    except nbformat.reader.NotJSONError as error:
        raise InputError(f"{notebook}: not a notebook: {error}") from None
    tagged = [
        (index, cell)
        for index, cell in enumerate(cells)
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", [])
    ]
    if len(tagged) != 1:
        raise InputError(
            f"{notebook}: exactly one code cell must have the tag 'parameters', "
            f"got {len(tagged)} of {len(cells)} cells"
        )
    index, cell = tagged[0]
    where = f"{notebook}, cell {index + 1} (parameters)"
    try:
        statements = ast.parse(cell.source).body
    except SyntaxError as error:
        raise InputError(f"{where}: not Python: {error.msg}, line {error.lineno}") from None
    defaults: dict[str, Any] = {}
    for statement in statements:
        name, value = _literal_assignment(statement, where)
        if name in defaults:
            raise InputError(f"{where}, line {statement.lineno}: {name!r} is assigned twice")
        defaults[name] = value
    return defaults


def _literal_assignment(statement: ast.stmt, where: str) -> tuple[str, Any]:
    """The name and value of ``name = literal``."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name):
            try:
                return target.id, ast.literal_eval(statement.value)
            except ValueError:
                pass  # not a literal: the message below says so
    raise InputError(
        f"{where}, line {statement.lineno}: only 'name = literal' is allowed, "
        f"got {ast.unparse(statement)!r}"
    )


def check_parameters(notebook: Path, declared: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise unless ``given`` has exactly the declared names and types.

    An int may stand for a float. Elements of a list must have the type of the first element of the
    default, dicts are only checked to be dicts: what is inside is for the notebook's functions.

    Raises:
        InputError: naming the notebook, the parameter, what was got and what is declared.
    """
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise InputError(f"{notebook}: unknown parameters {unknown}, declared {list(declared)}")
    missing = sorted(set(declared) - set(given))
    if missing:
        raise InputError(f"{notebook}: missing parameters {missing}, declared {list(declared)}")
    for name, default in declared.items():
        _check_type(f"{notebook}: parameter {name!r}", default, given[name])


def _check_type(where: str, default: Any, value: Any) -> None:
    """Raise unless ``value`` has the type of ``default``, for lists down to the elements."""
    allowed = {float, int} if type(default) is float else {type(default)}
    if type(value) not in allowed:
        raise InputError(
            f"{where} must be a {type(default).__name__} like {default!r}, "
            f"got {value!r} ({type(value).__name__})"
        )
    if isinstance(value, list) and default:
        for index, element in enumerate(value):
            _check_type(f"{where}[{index}]", default[0], element)


def read_parameters(path: Path) -> dict[str, Any]:
    """A JSON file with one object: parameter name -> value.

    Raises:
        InputError: no such file, not JSON, or not an object.
    """
    parameters = read_json(path, "file of parameters")
    if not isinstance(parameters, dict):
        raise InputError(
            f"{path}: must hold one object of parameters, got {type(parameters).__name__}"
        )
    return parameters


def run_notebook(
    notebook: Path,
    parameters: Mapping[str, Any],
    executed: Path,
    html: Path | None = None,
    place: "Place | None" = None,
    show_parameters: bool = True,
) -> None:
    """Execute a notebook with exactly its declared parameters, then render it.

    The kernel is the running Python (no installed kernelspec is looked up), its working directory
    is the current one, and it reads nobody's IPython profile. ``executed`` is written cell by cell
    and is left, traceback included, when a cell fails; ``html`` is written only on success.
    Neither holds times or random ids: the same outputs give the same bytes.

    Args:
        notebook: has one cell tagged ``parameters``.
        parameters: what to put in its place.
        executed: where the notebook with outputs goes.
        html: where the page goes; no page if None.
        place: what stands above and below the page.
        show_parameters: whether the page has them, folded like the code.

    Raises:
        InputError: the parameters are not those declared; nothing is written.
        NotebookError: a cell failed or the kernel died.
    """
    check_parameters(notebook, declared_parameters(notebook), parameters)
    from rebalance.report.page import render_page

    executed.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(executed):
            _execute(notebook, parameters, executed)
    except NotebookError:
        _drop_timing(executed)
        raise
    except OSError:  # a full disk
        executed.unlink(missing_ok=True)
        raise
    _drop_timing(executed)
    if html is not None:
        page = render_page(executed, _page_title(notebook, parameters), place, show_parameters)
        write_atomically(html, page.encode())


def _execute(notebook: Path, parameters: Mapping[str, Any], executed: Path) -> None:
    """Run papermill, turning its failures into NotebookError."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    from rebalance.report.kernel import kernel_manager

    with tempfile.TemporaryDirectory(prefix="rebalance_kernel_") as profile:
        if len(profile) > LONGEST_SOCKET_FOLDER:
            raise InputError(
                f"TMPDIR: {tempfile.gettempdir()} is too long for the sockets of a notebook's "
                f"kernel: {profile} has {len(profile)} characters, allowed {LONGEST_SOCKET_FOLDER}"
            )
        try:
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                progress_bar=False,
                kernel_manager_class=kernel_manager(profile),
                record_timing=False,
            )
        except papermill.PapermillExecutionError as error:
            reason = f"{error.ename}: {error.evalue}".splitlines()[0]
            # The executed notebook has one injected cell, the message counts as Jupyter shows it.
            raise NotebookError(
                f"{notebook} failed at In [{error.exec_count}]: {reason} "
                f"(the executed notebook, with the traceback, is {executed})"
            ) from None
        except DeadKernelError:
            raise NotebookError(
                f"{notebook}: the kernel died (out of memory?) at In [{_last_started(executed)}] "
                f"(the executed notebook up to there is {executed})"
            ) from None


def _last_started(executed: Path) -> int:
    """The number that Jupyter would show for the cell that was running when the kernel died."""
    cells = nbformat.read(executed, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    return sum(1 for cell in code if cell.metadata.papermill["status"] != "pending")


def _drop_timing(executed: Path) -> None:
    """Rewrite an executed notebook without what differs between two equal executions."""
    node = nbformat.read(executed, as_version=4)
    node.metadata.pop("papermill", None)
    for index, cell in enumerate(node.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell["id"] = f"cell-{index + 1}"
        if cell.cell_type == "code":
            cell.outputs = _whole_streams(cell.outputs)
    write_atomically(executed, f"{nbformat.writes(node)}\n".encode())


def _whole_streams(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """The same outputs; what is printed between two others is one text, then one of errors.

    A kernel sends what is printed in parts, as its clock has it. It sends all of it before
    whatever is not printed, so that what is shown in between keeps its place.
    """
    whole: list[NotebookNode] = []
    for printed, some in itertools.groupby(outputs, lambda output: output.output_type == "stream"):
        if not printed:
            whole.extend(some)
            continue
        parts = list(some)
        for name in ("stdout", "stderr"):
            text = "".join(part.text for part in parts if part.name == name)
            if text:
                whole.append(new_output("stream", name=name, text=text))
    return whole


def _page_title(notebook: Path, parameters: Mapping[str, Any]) -> str:
    """What the browser's tab shows: the notebook's ``title`` and ``scale``, where it has them."""
    title = str(parameters.get("title", notebook.stem))
    return f"{title} · {parameters['scale']} scale" if "scale" in parameters else title
