"""Everything that is measured on a GPU, in one go: ``make bench-gpu``.

Without a GPU it says so and ends well; ``--tiny`` tries the same scripts on whatever there is, with
sizes that say nothing about speed.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
FULL = {
    "training beside torchvision, 800 x 1333": ["training/throughput.py"],
    "the same in bf16, channels last": [
        "training/throughput.py", "--precision", "bf16", "--channels-last"],
    "the same compiled": [
        "training/throughput.py", "--precision", "bf16", "--channels-last", "--compile"],
    "ranking losses beside focal loss": ["losses/table.py", "--device", "cuda"],
    "what must not wait for the GPU": ["training/waits.py"],
    "trainings that learn": ["training/learning.py"],
}  # fmt: skip
SMALL = ["--size", "64", "96", "--images", "1", "--rounds", "1"]
TINY = {
    "training beside torchvision": ["training/throughput.py", *SMALL],
    "the same in bf16, channels last": [
        "training/throughput.py", *SMALL, "--precision", "bf16", "--channels-last"],
    "ranking losses beside focal loss": ["losses/table.py", "--sizes", "20000"],
    "what must not wait for the GPU": [
        "training/waits.py", "--device", "cpu", "--negatives", "20000"],
    "trainings that learn": [
        "training/learning.py", "--iterations", "20", "--images", "16", "--share", "1",
        "--precisions", "32-true", "bf16-mixed"],
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="try the scripts, also on a CPU")
    arguments = parser.parse_args()
    if not arguments.tiny and not torch.cuda.is_available():
        print("bench-gpu skipped: there is no CUDA device (--tiny tries the scripts on a CPU)")
        return 0
    failed = []
    for title, (script, *options) in (TINY if arguments.tiny else FULL).items():
        print(f"\n{title}", flush=True)
        if subprocess.run([sys.executable, HERE / script, *options]).returncode:
            failed.append(title)
    for title in failed:
        print(f"failed: {title}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
