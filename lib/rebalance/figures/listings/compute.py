"""Tables that are listed as they are printed, and what follows from their rows.

Every function takes the rows of the configuration and returns the frame that is shown and the
claims of what the work prints.
"""

from collections.abc import Sequence

import pandas as pd

from rebalance.figures.claims import printed_claim, printed_number
from rebalance.figures.family import MadeTable, Row
from rebalance.losses import LOSSES

MEAN_OF_OTHER_METHODS = 7.4
"""As the caption of thesis Table 1.1 has it."""
BOX_LOSSES = {
    "L1": "l1", "Smooth L1": "smooth_l1", "Balanced L1": "balanced_l1", "IoU": "iou",
    "Kullback-Leibler": "kl", "Bounded IoU": "bounded_iou", "GIoU": "giou", "DIoU, CIoU": "diou",
}  # fmt: skip
"""Losses of thesis Table 3.3 by their name in the library; L2 is not offered."""


def listed(rows: Sequence[Row]) -> MadeTable:
    """The rows as they are: settings, then reported numbers."""
    return pd.DataFrame([{**row["setting"], **row["reported"]} for row in rows]), []


def hyperparameter_table(rows: Sequence[Row]) -> MadeTable:
    """thesis Table 1.1, and the mean that its caption gives."""
    frame, _ = listed(rows)
    mean = float(frame.loc[~frame["ours"], "n_hyperparameters"].mean())
    most, least = {}, {}
    for group in ("one-stage", "two-stage"):
        some = frame[frame["group"] == group]
        most[group] = int(some.loc[some["ours"], "n_hyperparameters"].max())
        least[group] = int(some.loc[~some["ours"], "n_hyperparameters"].min())
    return frame.drop(columns="ours").assign(own=frame["ours"]), [
        printed_number(
            "mean of the methods of others", mean, MEAN_OF_OTHER_METHODS, 1,
            "the ten printed counts add up to 75", True,
        ),
        printed_claim(
            "the author's losses need fewer than those of others in their group",
            all(most[group] < least[group] for group in most),
            ", ".join(f"{group}: {most[group]} against {least[group]}" for group in most),
        ),
    ]  # fmt: skip


def box_loss_table(rows: Sequence[Row]) -> MadeTable:
    """thesis Table 3.3, with the name under which the library has each loss."""
    frame, _ = listed(rows)
    names = [BOX_LOSSES.get(loss, "") for loss in frame["loss"]]
    known = [name for name in names if name]
    return frame.assign(library=names), [
        printed_claim(
            "every loss but L2 is in the library", all(name in LOSSES for name in known),
            f"{len(known)} of {len(frame)} rows",
        )
    ]  # fmt: skip
