"""What must not wait for a GPU does not: ``python benchmarks/training/waits.py [--device cpu]``.

Generators, assigners and ranking losses, told that their input is valid, under torch's error mode
for synchronisations. On a CPU there is nothing to wait for: that only tries the calls.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from iterations import random_batch
from rebalance.assigners import assign_atss, assign_max_iou
from rebalance.generators import IOU_PRESETS, generate_boxes, generate_positive_rois

sys.path.append(str(Path(__file__).resolve().parents[1] / "losses"))
from batches import Batch

SIZE = (800, 1333)


def calls(device: str, negatives: int, positives: int) -> dict[str, Callable[[], object]]:
    """By name; each takes its input from the device and leaves its output there."""
    (target,) = random_batch(1, SIZE, device)[1]
    truth = target["boxes"], target["labels"]
    corners = torch.rand(20_000, 2, device=device) * torch.tensor(SIZE[::-1], device=device)
    anchors = torch.cat([corners, corners + 64], dim=1)
    uniform = IOU_PRESETS["uniform"]
    rois = partial(generate_positive_rois, *truth, 128, uniform.bins, uniform.weights, SIZE)
    losses = Batch(negatives, positives, device).passes(check=False)
    return {
        "boxes generated": partial(generate_boxes, truth[0], 0.5, validate=False),
        "positive RoIs generated": partial(rois, validate=False),
        "max IoU assigner": partial(assign_max_iou, anchors, *truth, validate=False),
        "ATSS assigner": partial(assign_atss, anchors, *truth, validate=False),
        **{f"{name} loss": losses[name] for name in ("focal", "ap", "alrp", "rank_sort")},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--negatives", type=int, default=1_000_000)
    parser.add_argument("--positives", type=int, default=2_000)
    arguments = parser.parse_args()
    waiting = 0
    for name, call in calls(arguments.device, arguments.negatives, arguments.positives).items():
        call()  # makes what is made once
        verdict = "runs" if arguments.device == "cpu" else "does not wait"
        if arguments.device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
            try:
                call()
            except RuntimeError as error:
                verdict = f"waits: {error}"
                waiting += 1
            finally:
                torch.cuda.set_sync_debug_mode("default")
        print(f"{name:25} {verdict}")
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
