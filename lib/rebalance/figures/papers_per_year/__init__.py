"""Papers per imbalance problem and year (thesis Figure 3.3)."""
