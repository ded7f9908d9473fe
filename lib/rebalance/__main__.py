"""``python -m rebalance``: the command line, where its script is not on the path."""

import sys

from rebalance.cli import main

sys.exit(main())
