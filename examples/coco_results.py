"""LRP of the COCO results of any framework, and whether one beats the other.

python examples/coco_results.py instances.json baseline.json mine.json
"""

import sys

from rebalance.metrics import evaluate
from rebalance.metrics.compare import compare


def main(truth, baseline, mine):
    metrics = evaluate(truth, mine)
    for name in ("AP", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"):
        print(f"{name:<9}{100 * metrics[name]:6.1f}")
    gain = compare(truth, [baseline, mine], resamples=200)["results"][1]["gains"]["AP"]
    print(f"AP gain {gain['gain']:+.3f}, 95 % within {gain['low']:+.3f} and {gain['high']:+.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
