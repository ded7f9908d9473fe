"""Imbalance problems by category (thesis Figure 3.1)."""

BRANCHES = {
    "class": ("foreground-background class", "foreground-foreground class"),
    "scale": ("object/box scale", "feature level"),
    "spatial": ("regression loss", "IoU distribution", "object location"),
    "objective": ("objective",),
}
"""Category -> its problems, in the order of thesis Table 1.2."""
