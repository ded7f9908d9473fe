"""What the processes of one training decide together."""

import sys
import time
from collections.abc import Callable

from lightning_fabric import Fabric
from tqdm import tqdm

from rebalance import distributed

_GO, _STOP, _FAILED = 0, 1, 2


class Agreement:
    """All processes go on, or all stop.

    Args:
        fabric: of the training.
        met: told of each exchange.
    """

    def __init__(self, fabric: Fabric, met: Callable[[], None] = lambda: None) -> None:
        self.fabric, self.met = fabric, met

    def to_go_on(self, failure: str | None, stop: bool) -> bool:
        """Whether no process has failed or was asked to stop; costs one exchange."""
        state = _FAILED if failure else _STOP if stop else _GO
        all_go = distributed.world_max(state, self.fabric.device) == _GO
        self.met()
        return all_go

    def messages(self, *own: str | None) -> list[str]:
        """The messages of all processes, each once."""
        found = [text for message in own for text in distributed.world_messages(message)]
        return list(dict.fromkeys(found))

    def fail(self, error: Callable[[], Exception]) -> None:
        """End the other processes quietly, because all know of the error; the main one raises.

        Raises:
            Exception: what ``error`` makes, in the main process.
        """
        if not self.fabric.is_global_zero:
            raise SystemExit(0)
        raise error()


def say(message: str) -> None:
    """Tell the user, once."""
    if distributed.is_main_process():
        tqdm.write(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr)
