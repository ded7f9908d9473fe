"""Tables that are listed as they are printed, and what follows from their rows.

Every function takes the rows of the configuration and the numbers printed beside them, and returns
the frame that is shown with what comes out of what the work prints.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rebalance.figures.checks import printed_claim, printed_number
from rebalance.figures.family import MadeTable, Row

BOX_LOSSES = {
    "L1": "l1", "Smooth L1": "smooth_l1", "Balanced L1": "balanced_l1", "IoU": "iou",
    "Kullback-Leibler": "kl", "Bounded IoU": "bounded_iou", "GIoU": "giou", "DIoU, CIoU": "diou",
}  # fmt: skip
"""Losses of thesis Table 3.3 by their name in the library; L2 is not offered."""


def listed(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """The rows as they are: settings, then reported numbers."""
    return pd.DataFrame([{**row["setting"], **row["reported"]} for row in rows]), []


def hyperparameter_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """thesis Table 1.1, and the mean that its caption gives."""
    frame, _ = listed(rows, numbers)
    mean = float(frame.loc[~frame["ours"], "n_hyperparameters"].mean())
    most, least = {}, {}
    for group in ("one-stage", "two-stage"):
        some = frame[frame["group"] == group]
        most[group] = int(some.loc[some["ours"], "n_hyperparameters"].max())
        least[group] = int(some.loc[~some["ours"], "n_hyperparameters"].min())
    return frame.drop(columns="ours").assign(own=frame["ours"]), [
        printed_number("mean of the methods of others", mean, numbers["mean_of_other_methods"], 1),
        printed_claim(
            "the author's losses need fewer than those of others in their group",
            all(most[group] < least[group] for group in most),
            ", ".join(f"{group}: {most[group]} against {least[group]}" for group in most),
        ),
    ]  # fmt: skip


def box_loss_table(rows: Sequence[Row], numbers: Mapping[str, Any]) -> MadeTable:
    """thesis Table 3.3, with the name under which the library has each loss."""
    frame, _ = listed(rows, numbers)
    names = [BOX_LOSSES.get(loss, "") for loss in frame["loss"]]
    return frame.assign(library=names), []
