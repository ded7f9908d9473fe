"""Seconds of CPU that an import takes in a fresh process, ``rebalance.losses`` beside torch alone.

python benchmarks/losses/import_time.py [ROUNDS]
"""

import resource
import statistics
import subprocess
import sys

MODULES = ("torch", "torchvision", "rebalance.losses", "rebalance.metrics")


def cpu_seconds(module: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int) -> None:
    seconds = {module: list[float]() for module in MODULES}
    for _ in range(rounds):  # in turn, so that other work on the machine meets all alike
        for module in MODULES:
            seconds[module].append(cpu_seconds(module))
    medians = {module: statistics.median(found) for module, found in seconds.items()}
    for module, median in medians.items():
        print(f"{module:<18}{median:5.2f} s  {median / medians['torch']:.2f}x torch")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
