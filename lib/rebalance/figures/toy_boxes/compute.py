"""Worked examples of a few boxes (thesis Figures 3.11, 3.15 and 3.18, GGIoU Figure 1).

The works print the numbers and not the boxes; the boxes here are ours, chosen to give them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from rebalance.boxes import ggiou, paired_iou
from rebalance.figures.checks import Check, named_numbers, printed_claim, printed_number

TRUTH = [0.0, 0.0, 8.0, 6.0]
PREDICTIONS = {
    "green": [0.5, 0.0, 8.0, 6.0],
    "red": [-1.0, -1.0, 8.0, 5.0],
    "yellow": [-1.0, -2.0, 7.0, 5.0],
}
"""thesis Figure 3.11: whole and half units that reproduce all nine numbers, xyxy."""


def prediction_errors() -> pd.DataFrame:
    """IoU, and the L1 and L2 errors summed over the eight coordinates of the four corners."""
    truth = torch.tensor(TRUTH)
    lines = []
    for name, box in PREDICTIONS.items():
        shift = torch.tensor(box) - truth
        # Each of x1, y1, x2, y2 is a coordinate of two corners.
        lines.append({
            "prediction": name, "iou": float(paired_iou(torch.tensor(box), truth)),
            "L1": float(2 * shift.abs().sum()), "L2": float(2 * shift.square().sum()),
        })  # fmt: skip
    return pd.DataFrame(lines)


def prediction_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.11: the nine printed numbers."""
    ours = prediction_errors().set_index("prediction")
    return [
        printed_number(f"{column} of {row['prediction']}",
                       float(ours.loc[row["prediction"], column]), row[column], 2)
        for row in numbers["rows"]
        for column in ("iou", "L1", "L2")
    ]  # fmt: skip


GRID = (14, 10)
COVERED_TRUTH = [3, 2, 9, 7]
NEGATIVES = [[0, 1, 6, 6], [1, 4, 7, 9], [5, 0, 13, 4], [2, 3, 6, 10]]
POSITIVES = [[3, 2, 8, 8], [4, 2, 10, 7]]
"""thesis Figure 3.15: six boxes of ours on a grid of 14 x 10 pixels, xyxy."""


def coverage() -> np.ndarray:
    """[10, 14] number of sampled boxes that cover each pixel."""
    counts = np.zeros((GRID[1], GRID[0]), dtype=int)
    for x1, y1, x2, y2 in NEGATIVES + POSITIVES:
        counts[y1:y2, x1:x2] += 1
    return counts


def coverage_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.15: four negatives, two positives, zero to five boxes on a pixel."""
    truth = torch.tensor(COVERED_TRUTH, dtype=torch.float32)
    boxes = torch.tensor(NEGATIVES + POSITIVES, dtype=torch.float32)
    ious = paired_iou(boxes, truth.expand_as(boxes)).tolist()
    counts = coverage()
    low, high = numbers["overlap_count_range"]
    return [
        printed_number("boxes with an IoU of 0.5 or more", sum(iou >= 0.5 for iou in ious),
                       numbers["positives"]),
        printed_number("boxes with less", sum(iou < 0.5 for iou in ious), numbers["negatives"]),
        printed_number("fewest boxes on a pixel", int(counts.min()), low),
        printed_number("most boxes on a pixel", int(counts.max()), high),
    ]  # fmt: skip


SLIDE_TRUTH = [2.0, 2.0, 10.0, 8.0]
SLIDE_SMALL = [3.4, 3.0, 9.2, 7.6]
SLIDE_LARGE = [1.5, 1.6, 10.3, 8.3]
SLIDE_SHIFTS = {"a": 0.0, "b": 1.2, "c": 3.5}
POSITIVE_IOU = 0.5
"""thesis Figure 3.18: a truth and two predictions, ours, and how far the larger one is moved."""


def slide_step(panel: str) -> dict[str, list[float]]:
    """The two predictions of a panel: small stays, large is moved to the right."""
    shift = SLIDE_SHIFTS[panel]
    x1, y1, x2, y2 = SLIDE_LARGE
    return {"small": SLIDE_SMALL, "large": [x1 + shift, y1, x2 + shift, y2]}


def slide_table() -> pd.DataFrame:
    """What the slide does to labels and losses.

    Returns:
        panel, shift, IoU of both predictions (small, large), positives among them, and the
        regression_loss: 1 - IoU summed over the positives.
    """
    truth = torch.tensor(SLIDE_TRUTH)
    lines = []
    for panel, shift in SLIDE_SHIFTS.items():
        ious = {
            name: float(paired_iou(torch.tensor(box), truth))
            for name, box in slide_step(panel).items()
        }
        positives = [iou for iou in ious.values() if iou >= POSITIVE_IOU]
        lines.append({
            "panel": panel, "shift": shift, **ious, "positives": len(positives),
            "regression_loss": sum(1 - iou for iou in positives),
        })  # fmt: skip
    return pd.DataFrame(lines)


def slide_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.18: positive, still positive but worse, negative; and what follows from it."""
    table = slide_table()
    large, losses = table["large"].tolist(), table["regression_loss"].tolist()
    counts = table["positives"].tolist()
    panels = [f"({panel})" for panel in table["panel"]]
    return [
        printed_claim("(a) the larger box is a positive, and the better one of the two",
                      large[0] >= POSITIVE_IOU and large[0] > table["small"][0],
                      f"IoU {large[0]:.3f} against {table['small'][0]:.3f}"),
        printed_claim("(b) moved to the right it is a worse positive",
                      POSITIVE_IOU <= large[1] < large[0], f"IoU {large[1]:.3f}"),
        printed_claim("(c) moved further it is a negative", large[2] < POSITIVE_IOU,
                      f"IoU {large[2]:.3f}"),
        printed_claim("the class balance changes with the last step only", counts == [2, 2, 1],
                      "positives in " + named_numbers(dict(zip(panels, counts, strict=True)), 0)),
        printed_claim("the regression loss first rises, and falls when the box becomes negative",
                      losses[0] < losses[1] > losses[2],
                      named_numbers(dict(zip(panels, losses, strict=True)), 3)),
    ]  # fmt: skip


class Scene(NamedTuple):
    """A panel of GGIoU's Figure 1.

    Attributes:
        truth: width and height; its centre is (0, 0).
        anchors: [N] of (label, centre x, centre y, width, height).
    """

    truth: tuple[float, float]
    anchors: Sequence[tuple[str, float, float, float, float]]


ALPHA, BETA = 0.5, 1 / 6
"""With alpha 0.3, the paper's best, no boxes whatever give the printed pairs."""
SCENES = {
    "a": Scene((6, 16), [
        ("1", 0.852, 0, 18, 18), ("2", 0.855, 0, 16, 16), ("3", 0.858, 0, 14, 14),
        ("4", 0.852, 0, 12, 12), ("5", 0.852, 0, 10, 10), ("6", 0.852, 0, 8, 8),
        ("7", 0, 0.855, 6, 6), ("8", 0.518, 0, 4, 4),
    ]),
    "b": Scene((10, 10), [
        ("purple", 0.975, 0, 50**0.5, 50**0.5), ("blue", 1.387, 0, 50**0.5, 50**0.5),
        ("green", 2.6858, 0.8853, 10, 10),
    ]),
    # Equal IoU below a threshold of 0.4, one anchor nearer to the centre than the other.
    "c": Scene((6, 16), [("purple", 0, 0, 4.2, 8.5), ("green", 0, 3.75, 4.2, 8.5)]),
}  # fmt: skip


def scene_overlaps(panel: str) -> pd.DataFrame:
    """IoU and GGIoU of the anchors of a panel."""
    scene = SCENES[panel]
    truth = _corners(0, 0, *scene.truth)
    lines = []
    for label, *geometry in scene.anchors:
        anchor = _corners(*geometry)
        lines.append({
            "anchor": label,
            "iou": float(paired_iou(anchor, truth)),
            "ggiou": float(ggiou(anchor[None], truth[None], ALPHA, BETA)),
        })  # fmt: skip
    return pd.DataFrame(lines)


def _corners(x: float, y: float, width: float, height: float) -> torch.Tensor:
    return torch.tensor(
        [x - width / 2, y - height / 2, x + width / 2, y + height / 2], dtype=torch.float64
    )


def ggiou_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """GGIoU's Figure 1: sixteen numbers of (a), six of (b), and the order in (c)."""
    found = []
    for panel in ("a", "b"):
        ours = scene_overlaps(panel)
        for index, line in ours.iterrows():
            for column in ("iou", "ggiou"):
                found.append(
                    printed_number(
                        f"({panel}) {column} of anchor {line['anchor']}", line[column],
                        numbers[panel][column][index], 3,
                    )
                )  # fmt: skip
    purple, green = scene_overlaps("c").to_dict("records")
    found.append(
        printed_claim(
            "(c) of two anchors of equal IoU only the nearer one passes a threshold",
            abs(purple["iou"] - green["iou"]) < 1e-9 and purple["ggiou"] > 0.4 > green["ggiou"],
            f"GGIoU {purple['ggiou']:.3f} and {green['ggiou']:.3f}, threshold 0.4",
        )
    )
    centred = paired_iou(_corners(0, 0, 18, 18), _corners(0, 0, 6, 16)) ** (1 - ALPHA)
    found.append(
        printed_number(
            "(a) GGIoU of anchor 1 if it were at the truth's centre, as the text says",
            float(centred), numbers["a"]["ggiou"][0], 3,
        )
    )  # fmt: skip
    return found
