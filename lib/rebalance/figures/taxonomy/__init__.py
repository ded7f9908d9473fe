"""The tree of imbalance problems (thesis Figure 3.1)."""
