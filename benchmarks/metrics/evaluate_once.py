"""One evaluator on one pair of files, in a process of its own: seconds, peak memory, AP as JSON.

python evaluate_once.py {rebalance,faster-coco-eval,pycocotools} gt.json dt.json

Timed is everything from the files to the printed numbers, imports excluded.
"""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path


def rebalance() -> Callable[[str, str], float]:
    """AP, AR and LRP, overall and per class."""
    from rebalance.metrics import evaluate

    def run(gt: str, dt: str) -> float:
        return evaluate(gt, dt)["AP"]

    return run


def faster_coco_eval() -> Callable[[str, str], float]:
    """AP and AR."""
    from faster_coco_eval import COCO, COCOeval_faster

    def run(gt: str, dt: str) -> float:
        truth = COCO(gt)
        evaluation = COCOeval_faster(truth, truth.loadRes(dt), "bbox")
        evaluation.run()
        return float(evaluation.stats[0])

    return run


def pycocotools() -> Callable[[str, str], float]:
    """AP and AR."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def run(gt: str, dt: str) -> float:
        truth = COCO(gt)
        evaluation = COCOeval(truth, truth.loadRes(dt), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return float(evaluation.stats[0])

    return run


EVALUATORS = {
    "rebalance": rebalance,
    "faster-coco-eval": faster_coco_eval,
    "pycocotools": pycocotools,
}

if __name__ == "__main__":
    name, gt, dt = sys.argv[1:]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        run = EVALUATORS[name]()
        start = time.perf_counter()
        ap = run(gt, dt)
        seconds = time.perf_counter() - start
    # getrusage would include what the parent process had at the time of its fork.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "AP": ap}))
