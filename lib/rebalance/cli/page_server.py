"""Pages made by forks of one process, which has imported once what all of them need.

A page takes a second or two of its own; importing torch, matplotlib, papermill and nbconvert takes
several more. Snakemake starts a server that lives as long as itself, ``rebalance render`` finds it
by the variable ``REBALANCE_PAGES`` and has the command run there, by a fork of its own with the
same folder, environment, standard output and error. Two pages share nothing but what was imported:
one that fails takes no other with it. One whose command is killed is killed, too.
"""

import gc
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from runpy import run_module
from typing import NoReturn

VARIABLE = "REBALANCE_PAGES"
"""Of the environment: the server's socket."""

IMPORTED = (
    "fontTools.subset",  # matplotlib's PDF
    "matplotlib.pyplot",
    "papermill",
    "seaborn",
    "torchvision",
    "rebalance.config.experiments",
    "rebalance.report.compare",
    "rebalance.report.notebooks",
    "rebalance.report.place",
    "rebalance.report.table",
)
"""What pages need besides the figures. Importing it starts no thread of Python's, and chooses no
backend of matplotlib: kernels do."""

_LENGTH = struct.Struct("!I")


def start_page_server() -> None:
    """Start a server that lives as long as this process, for what this process starts."""
    folder = tempfile.mkdtemp(prefix="rebalance_pages_")
    lifeline, _open_while_we_live = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        inherited = (listener.fileno(), lifeline)
        subprocess.Popen(
            [sys.executable, "-m", __name__, folder, *map(str, inherited)],
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # that of every kernel
            start_new_session=True,  # Ctrl-C is for Snakemake to handle
        )
    os.close(lifeline)
    os.environ[VARIABLE] = f"{folder}/socket"


def run_on_server(address: str, arguments: list[str]) -> int:
    """Exit code of a command that a fork of the server ran.

    Args:
        address: of the server's socket.
        arguments: of ``rebalance``.

    Raises:
        OSError: there is no server, or it ended before the command did.
    """
    request = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)
        socket.send_fds(connection, [_LENGTH.pack(len(request))], [1, 2])
        connection.sendall(request)
        answer = connection.recv(1)
    if not answer:
        raise ConnectionError("the process that makes pages has ended")
    return answer[0]


def serve(listener: socket.socket, lifeline: int) -> None:
    """Fork for every request, until the other end of the lifeline is closed."""
    while lifeline not in _readable(listener.fileno(), lifeline):
        connection, _ = listener.accept()
        _import_all()
        with connection:
            if os.fork() == 0:
                listener.close()
                _guard(connection, lifeline)
        with suppress(ChildProcessError):  # none left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # this guard is done
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _readable(*handles: int) -> list[int]:
    """Wait until there is something to read, or an end, on some of them: those."""
    return select.select(handles, [], [])[0]


@cache
def _import_all() -> None:
    from nbformat.v4 import new_notebook

    from rebalance.figures.family import families
    from rebalance.report.kernel import fork_kernels
    from rebalance.report.page import page_exporter

    for name in (*IMPORTED, *(f"rebalance.figures.{family}" for family in families())):
        import_module(name)
    page_exporter().from_notebook_node(new_notebook())  # compiles the template
    fork_kernels()
    gc.collect()
    gc.freeze()  # so that forks need not copy what they only read


def _guard(connection: socket.socket, lifeline: int) -> NoReturn:
    """Run what a request asks for in another fork, kill it if nobody waits for it any more."""
    header, outputs, _, _ = socket.recv_fds(connection, _LENGTH.size, 2)
    (length,) = _LENGTH.unpack(header)
    arguments, folder, environment = json.loads(connection.recv(length, socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        connection.close()
        os.close(lifeline)
        for output, standard in zip(outputs, (1, 2), strict=True):
            os.dup2(output, standard)
            os.close(output)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        del os.environ[VARIABLE]  # it is to do it itself
        _run(arguments)
    handle = os.pidfd_open(process)
    if handle not in _readable(handle, connection.fileno(), lifeline):
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(BrokenPipeError):
        connection.send(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def _run(arguments: list[str]) -> NoReturn:
    """``python -m rebalance`` in this process, and its end."""
    sys.argv = ["rebalance", *arguments]
    code: int | str | None = 1
    try:
        run_module("rebalance", run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    folder, *handles = sys.argv[1:]
    listener_handle, lifeline_handle = map(int, handles)
    try:
        serve(socket.socket(fileno=listener_handle), lifeline_handle)
    finally:
        shutil.rmtree(folder)
        os._exit(0)  # some of what was imported complains at an orderly end
