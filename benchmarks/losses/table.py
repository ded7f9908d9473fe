"""Print time and memory of the ranking losses beside focal loss, forward and backward.

CPU seconds of one thread; the losses take turns, and the medians are compared. Memory is by how
much a process of its own raises its peak, per logit. The second size takes 3 GB.

python benchmarks/losses/table.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from batches import Batch

NAMES = ("focal", "ap", "alrp", "rank_sort")
SIZES = ((400_000, 2_000, 25), (30_000_000, 5_000, 3))  # negatives, positives, rounds


def seconds(batch: Batch, rounds: int) -> dict[str, float]:
    """Median CPU seconds of each loss, after a first turn."""
    passes = batch.passes()
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds + 1):
        for name in NAMES:
            start = time.process_time()
            passes[name]()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(of_loss[1:]) for name, of_loss in times.items()}


def bytes_per_logit(name: str, negatives: int, positives: int) -> float:
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, script, name, str(negatives), str(positives)]
    megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return megabytes * 2**20 / (negatives + positives)


def main() -> None:
    torch.set_num_threads(1)
    for negatives, positives, rounds in SIZES:
        print(f"\n{negatives:,} negatives, {positives:,} positives")
        print(f"{'':12}{'ms':>9}{'x focal':>9}{'bytes per logit':>17}")
        of_loss = seconds(Batch(negatives, positives), rounds)
        for name in NAMES:
            ratio = of_loss[name] / of_loss["focal"]
            size = bytes_per_logit(name, negatives, positives)
            print(f"{name:12}{of_loss[name] * 1e3:9.1f}{ratio:9.2f}{size:17.1f}")


if __name__ == "__main__":
    main()
