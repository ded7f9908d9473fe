"""Tables shown as they are printed, and what follows from their rows (thesis chapters 1 and 3)."""

from rebalance.figures.listings.compute import box_loss_table, hyperparameter_table, listed

TABLES = {
    "listed": listed,
    "hyperparameters": hyperparameter_table,
    "box_losses": box_loss_table,
}
