"""What the suite itself costs, beside trainings: CPU seconds of a command and all that it starts.

    python benchmarks/workflow/cpu_seconds.py [CHECKOUT ...]

Each checkout of the repository (this one by default) is copied to a scratch folder; several stand
side by side, and take turns, so that a busy machine is as busy for all of them.
"""

import argparse
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = (
    "bbgen_figure_2", "focal_eiou_figure_2", "thesis_figure_1_2", "thesis_figure_3_2",
    "thesis_figure_5_2", "thesis_figure_8_1", "thesis_table_3_1", "thesis_table_5_1",
)  # fmt: skip
"""Of which two are tables; none needs data or a training."""

COMMANDS = {
    "rebalance --help": ("rebalance", "--help"),
    "rebalance runs": ("rebalance", "runs"),
    "dry run of everything, the first": ("snakemake", "-n"),
    "dry run of everything, again": ("snakemake", "-n"),
    f"{len(PAGES)} pages": ("snakemake", "--cores", "1", "--", *PAGES),
}
BECOME_PARENT_OF_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


def cpu_seconds(command: tuple[str, ...], checkout: Path) -> float:
    """User and system time of a command and of every process that it leaves behind."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "lib"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} in {checkout}: {done.stderr[-2000:]}")
    try:
        while True:
            os.wait()
    except ChildProcessError:  # none left
        pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print one row per command, one column per checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    given = parser.parse_args().checkouts or [Path(__file__).resolve().parents[2]]
    ctypes.CDLL(None).prctl(BECOME_PARENT_OF_ORPHANS, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as scratch:
        copies = [Path(scratch, str(index)) for index in range(len(given))]
        for checkout, copy in zip(given, copies, strict=True):
            for folder in ("config", "workflow", "notebooks", "lib"):
                shutil.copytree(checkout / folder, copy / folder)
        print(f"| CPU seconds | {' | '.join(map(str, given))} |\n|---|{'---|' * len(given)}")
        for name, command in COMMANDS.items():
            seconds = [f"{cpu_seconds(command, copy):.2f}" for copy in copies]
            print(f"| {name} | {' | '.join(seconds)} |", flush=True)


if __name__ == "__main__":
    main()
