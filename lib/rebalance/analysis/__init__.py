"""What needs no trained detector: simulations, worked examples, statistics, and their checks.

A family (a module here, one in ``rebalance.plots``, a notebook) serves several figures and tables.
Its checks say, for each number that the work prints, what comes out here.
"""
