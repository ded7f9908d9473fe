"""A progress bar that redraws on a terminal and writes a line now and then into a log file."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Any = None, **options: Any) -> Any:
    """``tqdm`` on stderr: every second on a terminal, every half minute elsewhere."""
    seconds = 1.0 if sys.stderr.isatty() else 30.0
    return tqdm(iterable, file=sys.stderr, mininterval=seconds, maxinterval=seconds, **options)
