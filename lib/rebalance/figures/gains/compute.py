"""What follows from numbers that a work itself prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rebalance.figures.checks import Check, printed_claim, printed_number


def gains_by_threshold(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Gain in AP of GGIoU over IoU at each threshold, mean over the backbones.

    Args:
        rows: of GGIoU's Table 8: settings ``backbone`` and ``assigner`` (max_iou, max_ggiou), and
            reported AP50 to AP95 in per cent.

    Returns:
        threshold (0.5 to 0.95), gain (points), and one column per backbone.
    """
    tables = {
        assigner: pd.DataFrame(
            {row["setting"]["backbone"]: row["reported"]
             for row in rows if row["setting"]["assigner"] == assigner}
        )
        for assigner in ("max_iou", "max_ggiou")
    }  # fmt: skip
    gains = (tables["max_ggiou"] - tables["max_iou"]).drop(index="AP")
    thresholds = [int(name.removeprefix("AP")) / 100 for name in gains.index]
    table = gains.assign(threshold=thresholds, gain=gains.mean(axis=1))
    columns = ["threshold", "gain", *gains.columns]
    return table[columns].sort_values("threshold").reset_index(drop=True)


def gain_checks(numbers: Mapping[str, float], gains: pd.DataFrame) -> list[Check]:
    """GGIoU's Figure 3: both ends of the curve, and that it only rises."""
    by_threshold = gains.set_index("threshold")["gain"]
    return [
        printed_number("gain at 0.50, points", by_threshold[0.5], numbers["gain_at_0_50"], 3),
        printed_number("gain at 0.95, points", by_threshold[0.95], numbers["gain_at_0_95"], 3),
        printed_claim("the gain grows with the threshold", by_threshold.is_monotonic_increasing),
    ]
