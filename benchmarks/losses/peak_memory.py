"""Print by how many MB one forward and backward pass of a ranking loss raises the peak memory.

python benchmarks/losses/peak_memory.py rank_sort 1000000 10000
"""

import resource
import sys

from batches import Batch


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    name, negatives, positives = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Batch(1000, 10).passes()[name]()  # what libraries allocate once
    batch = Batch(negatives, positives)
    before = peak_megabytes()
    batch.passes()[name]()
    print(peak_megabytes() - before)
