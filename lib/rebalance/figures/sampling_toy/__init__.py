"""Ten sampling rules on six proposals (thesis Table 3.1)."""

from rebalance.figures.sampling_toy.compute import sampling_table

TABLES = {"methods": sampling_table}
