"""The kernel of a notebook: a process of its own of the running Python, spawned or forked."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from subprocess import Popen
from typing import Any, cast

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Unicode

_forks = False


def fork_kernels() -> None:
    """From now on kernels are forks of this process, with what it has imported, and not new ones.

    For a process that was started with ``PYTHONHASHSEED=0``, and that has no threads and no figure.
    """
    global _forks
    _forks = True


def kernel_manager(profile: str) -> type[AsyncKernelManager]:
    """A manager of one kernel that reads nobody's IPython profile and looks up no kernelspec.

    To be called before anything of this process starts a thread: a kernel that is a fork is one
    from here on, and waits.

    Args:
        profile: a folder of the kernel's own, for its sockets, settings and history.
    """
    fork = ForkedKernel() if _forks else None

    class OwnPython(AsyncKernelManager):
        """Starts ``sys.executable``; parallel notebooks share no history file and no ports."""

        transport = Unicode("ipc")
        connection_file = Unicode(f"{profile}/kernel.json")

        @property
        def kernel_spec(self) -> KernelSpec:
            environment = {"IPYTHONDIR": profile, "PYTHONHASHSEED": "0"}
            return KernelSpec(**get_kernel_dict(), env=environment)

        async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
            if fork is None:
                await super()._async_launch_kernel(kernel_cmd, **options)
                return
            fork.launch(self.connection_file, options["env"])
            assert isinstance(self.provisioner, LocalProvisioner)
            self.provisioner.process = cast("Popen[bytes]", fork)
            self.provisioner.pid = self.provisioner.pgid = fork.pid

        async def _async_interrupt_kernel(self) -> None:
            # The base class interrupts before it shuts down, too: a kernel that has sent its last
            # reply, but not come back from doing so, would say so in the page's log.
            if not self.shutting_down:
                await super()._async_interrupt_kernel()

    return OwnPython


class ForkedKernel:
    """A fork of this process that becomes a kernel when it is told its connection file.

    It has what jupyter_client uses of ``subprocess.Popen``. It ends with this process.
    """

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        orders, self._orders = os.pipe()
        self.returncode: int | None = None
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            _become_kernel(orders, parent)
        os.close(orders)

    def launch(self, connection_file: str, environment: Mapping[str, str]) -> None:
        """Let it become a kernel."""
        with os.fdopen(self._orders, "w") as orders:
            json.dump([connection_file, dict(environment)], orders)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> int:
        """Wait for its end."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To it alone; nothing once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


def _become_kernel(orders: int, parent: int) -> None:
    """Read the orders, run the kernel, and end the process."""
    code = 1
    try:
        os.setsid()
        with os.fdopen(orders) as file:
            text = file.read()
        if text:  # else the other process has ended before it had any
            connection_file, environment = json.loads(text)
            os.environ.clear()
            os.environ.update(environment)
            IPKernelApp.launch_instance(
                argv=["-f", connection_file, f"--IPKernelApp.parent_handle={parent}"]
            )
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
