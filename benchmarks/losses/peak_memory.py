"""Print by how many MB one forward and backward pass of a ranking loss raises the peak memory.

python benchmarks/losses/peak_memory.py rank_sort 1000000 10000
"""

import re
import sys
from pathlib import Path

from batches import Batch


def peak_megabytes() -> float:
    # getrusage would include what the parent process had at the time of its fork.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    name, negatives, positives = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Batch(1000, 10).passes()[name]()  # what libraries allocate once
    batch = Batch(negatives, positives)
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # the peak starts anew: making the batch took more
    before = peak_megabytes()
    batch.passes()[name]()
    print(peak_megabytes() - before)
