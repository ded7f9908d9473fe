"""Boxes that descend on a loss (EIoU paper, Algorithm 1, Figures 1 and 5 to 7)."""
