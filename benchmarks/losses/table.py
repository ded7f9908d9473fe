"""Print time and memory of the ranking losses beside focal loss, forward and backward.

CPU seconds of one thread, or with ``--device cuda`` seconds until the GPU is done, of losses that
never wait for it; the losses take turns, and the medians are compared. Memory is by how much a
process of its own, or the tensors on the GPU, raise their peak, per logit. The second size takes
3 GB.

python benchmarks/losses/table.py [--device cuda] [--sizes 400000 30000000]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from batches import Batch

NAMES = ("focal", "ap", "alrp", "rank_sort")
SIZES = (400_000, 30_000_000)  # negatives
LARGE = 10_000_000


def cuda_time() -> float:
    """Seconds, once CUDA has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


CLOCKS = {"cpu": time.process_time, "cuda": cuda_time}


def seconds(batch: Batch, device: str, rounds: int) -> dict[str, float]:
    """Median seconds of each loss, after a first turn."""
    passes, clock = batch.passes(check=device == "cpu"), CLOCKS[device]
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds + 1):
        for name in NAMES:
            start = clock()
            passes[name]()
            times[name].append(clock() - start)
    return {name: statistics.median(of_loss[1:]) for name, of_loss in times.items()}


def bytes_per_logit(name: str, batch: Batch, device: str) -> float:
    positives = len(batch.errors)
    negatives = len(batch.logits) - positives
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        batch.passes(check=False)[name]()
        return (torch.cuda.max_memory_allocated() - before) / len(batch.logits)
    script = Path(__file__).with_name("peak_memory.py")
    command = [sys.executable, script, name, str(negatives), str(positives)]
    megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return megabytes * 2**20 / len(batch.logits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=CLOCKS, default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of negatives")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for negatives in arguments.sizes:
        positives, rounds = (2_000, 25) if negatives < LARGE else (5_000, 3)
        print(f"\n{negatives:,} negatives, {positives:,} positives")
        print(f"{'':12}{'ms':>9}{'x focal':>9}{'bytes per logit':>17}")
        batch = Batch(negatives, positives, arguments.device)
        of_loss = seconds(batch, arguments.device, rounds)
        for name in NAMES:
            ratio = of_loss[name] / of_loss["focal"]
            size = bytes_per_logit(name, batch, arguments.device)
            print(f"{name:12}{of_loss[name] * 1e3:9.1f}{ratio:9.2f}{size:17.1f}")


if __name__ == "__main__":
    main()
