"""`rebalance compare` of two results, in a process of its own: seconds, peak memory, gain as JSON.

python compare_once.py gt.json a.json b.json

Timed is everything from the files to the intervals, imports excluded: reading, matching,
resampling.
"""

import json
import re
import sys
import time
from pathlib import Path

from rebalance.metrics.compare import compare

if __name__ == "__main__":
    gt, *dts = sys.argv[1:]
    start, start_cpu = time.perf_counter(), time.process_time()
    gain = compare(gt, dts, resamples=1000)["results"][1]["gains"]["AP"]
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak, **gain}))
