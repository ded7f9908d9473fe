"""``python -m rebalance.cli``: the processes of a training start others with it."""

import sys

from rebalance.cli import main

sys.exit(main())
