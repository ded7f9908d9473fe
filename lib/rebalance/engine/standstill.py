"""The end of a training of several processes of which one stands still.

The others wait for it in an exchange, where gloo's own timeout ends in a traceback and NCCL's in an
abort. Here each process watches whether all still meet.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lightning_fabric import Fabric

from rebalance import distributed

_TICKS = 20
_GRACE = 5.0  # seconds that the main process has for ending the others


@contextmanager
def ended_at_standstill(fabric: Fabric, minutes: float) -> Iterator[Callable[[], None]]:
    """End all processes on this machine, with a message, once they have not met for some minutes.

    The main process, and if it is the one that stands still any other, then exits with 75
    (EX_TEMPFAIL: start again) and kills those that do not answer. Time in which all were stopped
    (a suspended job, a closed laptop) does not count.

    Args:
        fabric: of the training, launched.
        minutes: from one meeting to the next.

    Yields:
        A function to be called whenever all processes have met.
    """
    if fabric.world_size == 1:
        yield lambda: None
        return
    others = _others_here(fabric)
    met, over = threading.Event(), threading.Event()

    def watch() -> None:
        missed = 0
        while missed < _TICKS:
            if over.wait(60 * minutes / _TICKS):
                return
            missed = 0 if met.is_set() else missed + 1
            met.clear()
        if not fabric.is_global_zero:
            time.sleep(_GRACE)
        print(
            f"rebalance train: one of {fabric.world_size} processes stands still: they have not "
            f"met for {minutes:g} minutes (hardware.timeout); start again to go on from the last "
            "checkpoint",
            file=sys.stderr,
            flush=True,
        )
        for process in others:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        os._exit(os.EX_TEMPFAIL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield met.set
    finally:
        over.set()


def _others_here(fabric: Fabric) -> list[int]:
    """Process numbers of the training's other processes on this machine."""
    own = f"{socket.gethostname()} {os.getpid()} {fabric.global_rank}"
    found = [name.split() for name in distributed.world_messages(own)]
    return [
        int(process)
        for host, process, rank in found
        if host == socket.gethostname() and int(rank) != fabric.global_rank
    ]
