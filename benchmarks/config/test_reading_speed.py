"""Every run at every scale read and checked, in a process of its own that ends without torch."""

import subprocess
import sys


def test_reading_the_shipped_configuration(benchmark):
    code = "from rebalance.config.experiments import load_experiments; load_experiments()"
    benchmark(lambda: subprocess.run([sys.executable, "-c", code], check=True))
