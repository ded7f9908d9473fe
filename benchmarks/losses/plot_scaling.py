"""Time of the losses against the number of negatives and of positives, as a picture of the docs.

CPU seconds of one thread, forward and backward, the shortest of three: other programs on the
machine hardly change them.

python benchmarks/losses/plot_scaling.py PICTURE
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from batches import Batch
from rebalance.figures.style import colours, figure, legend_below, save_bitmap

NAMES = ("rank_sort", "alrp", "ap", "focal")
SWEEPS = {
    "negatives (1,000 positives)": [(n, 1_000) for n in (10_000, 30_000, 100_000, 300_000, 10**6)],
    "positives (100,000 negatives)": [(100_000, p) for p in (100, 300, 1_000, 3_000, 10_000)],
}


def shortest(call: Callable[[], object], rounds: int = 3) -> float:
    """CPU seconds of the quickest of several calls, after a first one."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def main(picture: Path) -> None:
    """Measure, print and draw."""
    torch.set_num_threads(1)
    drawing, axes = figure(columns=2, grid=(1, 2), aspect=0.72, sharey=True)
    colour = colours(NAMES)
    for axis, (label, sizes) in zip(axes, SWEEPS.items(), strict=True):
        varied = 0 if sizes[0][0] != sizes[1][0] else 1
        milliseconds: dict[str, list[float]] = {name: [] for name in NAMES}
        for size in sizes:
            passes = Batch(*size).passes()
            for name in NAMES:
                milliseconds[name].append(shortest(passes[name]) * 1e3)
            print(*size, *(f"{name} {milliseconds[name][-1]:.1f} ms" for name in NAMES))
        x = [size[varied] for size in sizes]
        for name in NAMES:
            axis.loglog(x, milliseconds[name], "o-", color=colour[name], label=name)
        first = milliseconds["rank_sort"][0]
        axis.loglog([x[0], x[-1]], [first, first * x[-1] / x[0]], ":", color="0.5", label="linear")
        axis.set(xlabel=label)
    axes[0].set(ylabel="ms, forward and backward")
    legend_below(drawing, axes[0], columns=5)
    save_bitmap(drawing, picture, dpi=160)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
