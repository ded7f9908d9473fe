"""``python -m rebalance``, the command line."""

import sys

from rebalance.cli import main

sys.exit(main())
