"""What the annotations of a data set look like (thesis chapter 3)."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch

from rebalance.assigners.assignment import NEGATIVE
from rebalance.assigners.max_iou import assign_max_iou
from rebalance.data.coco import load_coco
from rebalance.detectors.candidates import anchors as lay_anchors
from rebalance.figures.checks import Check, printed_claim, printed_number

Annotations = Mapping[str, str]
"""Split -> path of its COCO JSON."""
DataSets = Mapping[str, pd.DataFrame]
"""Name of a data set -> its objects; the first is the one that a figure is about."""

NEGATIVE_IOU = 0.4
"""Below it an anchor is background."""
ANCHORS_PER_CELL = 9
STRIDES = (8, 16, 32, 64, 128)
SHORT_SIDE, LONG_SIDE = 800, 1333
CANVAS_MULTIPLE = 32
CELLS, UNEVEN = 5, 51.2
"""Cells in a row of the image; the 99.9 % quantile of chi-squared with 24 degrees of freedom."""


def load_objects(annotations: Annotations, split: str = "train") -> pd.DataFrame:
    """One line per object that is neither crowd nor ignored.

    Returns:
        image_id, class, x1, y1, x2, y2 (pixels), image_width, image_height, and relative to the
        image width, height, area, x, y (of the centre), all in [0, 1].
    """
    coco = load_coco(annotations[split])
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    lines = []
    for annotation in coco["annotations"]:
        if annotation["iscrowd"] or annotation.get("ignore", 0):
            continue
        x, y, width, height = annotation["bbox"]
        image_width, image_height = sizes[annotation["image_id"]]
        lines.append({
            "image_id": annotation["image_id"], "class": names[annotation["category_id"]],
            "x1": x, "y1": y, "x2": x + width, "y2": y + height,
            "image_width": image_width, "image_height": image_height,
            "width": width / image_width, "height": height / image_height,
            "area": width * height / (image_width * image_height),
            "x": (x + width / 2) / image_width, "y": (y + height / 2) / image_height,
        })  # fmt: skip
    return pd.DataFrame(lines)


def class_counts(objects: pd.DataFrame) -> pd.Series:
    """Number of objects of each class, the most frequent first."""
    return objects["class"].value_counts()


def per_image_counts(objects: pd.DataFrame) -> pd.DataFrame:
    """One line per image with objects: objects, classes."""
    groups = objects.groupby("image_id")["class"]
    return pd.DataFrame({"objects": groups.size(), "classes": groups.nunique()})


@cache
def canvas_anchors(height: int, width: int) -> torch.Tensor:
    """[cells, 9, 4] RetinaNet's anchors on a canvas of that many pixels; those of a cell share
    their centre."""
    maps = [torch.empty(1, 1, -(-height // stride), -(-width // stride)) for stride in STRIDES]
    anchors: torch.Tensor = lay_anchors(STRIDES, rounded=True)(maps)[0]
    return anchors.view(-1, ANCHORS_PER_CELL, 4)


def anchors_per_label(objects: pd.DataFrame) -> tuple[float, pd.Series]:
    """RetinaNet's anchors laid over all images with objects (thesis Figure 3.4).

    Images are scaled to a short side of 800 (the long one at most 1333). An anchor is foreground
    from an IoU of 0.5, background below 0.4, and left out between. Hundred thousand images take
    long: the frame keeps the result.

    Returns:
        Background anchors per image, and foreground anchors per image by class.
    """
    if "anchors_per_label" not in objects.attrs:
        objects.attrs["anchors_per_label"] = _count_anchors(objects)
    counted: tuple[float, pd.Series] = objects.attrs["anchors_per_label"]
    return counted


def _may_overlap(cells: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """[cells] whether the centre is near enough to a box for an IoU of NEGATIVE_IOU = t.

    Along each axis the overlap must be t of the longer side and neither side be longer than 1/t of
    the other: centres are at most (1/t - 1)/2 sides of the box apart, and a pixel for rounding.
    """
    reach = (1 / NEGATIVE_IOU - 1) / 2 * (boxes[:, 2:] - boxes[:, :2]) + 1
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = ((cells[:, 0, :2] + cells[:, 0, 2:]) / 2)[:, None] - centers
    return (apart.abs() <= reach).all(dim=2).any(dim=1)


def _count_anchors(objects: pd.DataFrame) -> tuple[float, pd.Series]:
    classes = sorted(objects["class"].unique())
    label_of = {name: index + 1 for index, name in enumerate(classes)}
    counts = torch.zeros(len(classes) + 1, dtype=torch.int64)
    background, images = 0, 0
    for _, some in objects.groupby("image_id"):
        width, height = some["image_width"].iloc[0], some["image_height"].iloc[0]
        scale = min(SHORT_SIDE / min(width, height), LONG_SIDE / max(width, height))
        canvas = [-(-round(side * scale) // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
                  for side in (height, width)]  # fmt: skip
        boxes = torch.tensor(some[["x1", "y1", "x2", "y2"]].to_numpy() * scale).float()
        anchors = canvas_anchors(*canvas)
        near = anchors[_may_overlap(anchors, boxes)].flatten(end_dim=1)
        labels = torch.tensor([label_of[name] for name in some["class"]])
        assignment = assign_max_iou(
            near, boxes, labels, positive_iou=0.5, negative_iou=NEGATIVE_IOU, low_quality_iou=None
        )
        counts += torch.bincount(assignment.labels[assignment.positives], minlength=len(counts))
        background += (
            int((assignment.gt_idxs == NEGATIVE).sum()) + anchors[..., 0].numel() - len(near)
        )
        images += 1
    foreground = pd.Series((counts[1:] / images).tolist(), index=classes)
    return background / images, foreground.sort_values(ascending=False)


def contrasting_images(objects: pd.DataFrame) -> tuple[int, int, str, str]:
    """Two images, one with the classes in their usual order and one against it (Figure 3.6).

    Returns:
        Image ids of both, then the class that is more and the one that is less frequent in the
        data set; the first pair of classes, by frequency, that occurs both ways round.
    """
    table = objects.groupby(["image_id", "class"]).size().unstack(fill_value=0)
    order = list(class_counts(objects).index)
    for i, frequent in enumerate(order):
        for rare in order[:i:-1]:
            both = table[(table[frequent] > 0) & (table[rare] > 0)]
            gap = both[frequent] - both[rare]
            if (gap > 0).any() and (gap < 0).any():
                return int(gap.idxmax()), int(gap.idxmin()), frequent, rare
    raise ValueError("no pair of classes occurs both ways round in this data set")


def main_set(sets: DataSets) -> pd.DataFrame:
    """The one that a figure is about."""
    return next(iter(sets.values()))


def class_checks(sets: DataSets, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.5: the gap between classes is an order of magnitude."""
    counts = {name: class_counts(objects) for name, objects in sets.items()}
    return [
        printed_claim(
            f"{name}: classes differ significantly in their number of examples (by 10 and more)",
            some.iloc[0] >= 10 * some.iloc[-1],
            f"from {some.iloc[-1]} to {some.iloc[0]}",
        )
        for name, some in counts.items()
    ]


def scale_checks(sets: DataSets, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.7: relative scales are skewed to small values."""
    return [
        printed_claim(
            f"{name}: the relative {side} is skewed to small values: most objects are below the "
            "mean",
            objects[side].mean() > objects[side].median(),
            f"mean {objects[side].mean():.3f}, median {objects[side].median():.3f}",
        )
        for name, objects in sets.items()
        for side in ("width", "height", "area")
    ]


def unevenness(objects: pd.DataFrame) -> float:
    """Pearson's chi-squared of the centres over CELLS x CELLS equal cells of the image.

    About CELLS^2 - 1 if they were uniform; above UNEVEN with a chance of 1 in 1,000.
    """
    bins = np.linspace(0, 1, CELLS + 1)
    counts, _, _ = np.histogram2d(objects["y"], objects["x"], bins=[bins, bins])
    expected = len(objects) / CELLS**2
    return float(((counts - expected) ** 2).sum() / expected)


def location_checks(sets: DataSets, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.13: the centres are not spread evenly over the image."""
    found = {name: unevenness(objects) for name, objects in sets.items()}
    return [
        printed_claim(
            f"{name}: centres of objects do not follow a uniform distribution", value > UNEVEN,
            f"chi-squared {value:.1f} on {CELLS} x {CELLS} cells",
            f"by chance above {UNEVEN} once in 1,000 times if they did",
        )
        for name, value in found.items()
    ]  # fmt: skip


def contrast_checks(sets: DataSets, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.6: the order of two classes in one image may be against that of the data set."""
    objects = main_set(sets)
    first, second, frequent, rare = contrasting_images(objects)
    gaps = []
    for image in (first, second):
        classes = objects.loc[objects["image_id"] == image, "class"]
        gaps.append(int((classes == frequent).sum()) - int((classes == rare).sum()))
    return [
        printed_claim(
            f"one image has more of {frequent} than of {rare}, another fewer",
            gaps[0] > 0 > gaps[1],
            f"images {first} ({gaps[0]:+d}) and {second} ({gaps[1]:+d})",
        )
    ]


def anchor_checks(sets: DataSets, numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 3.4: how many anchors there are, and how few of them are foreground."""
    background, foreground = anchors_per_label(main_set(sets))
    printed = numbers["positives_per_negative_about"]
    more_than = numbers["anchors_per_image_at_1333x800_more_than"]
    canvas = canvas_anchors(SHORT_SIDE, -(-LONG_SIDE // CANVAS_MULTIPLE) * CANVAS_MULTIPLE)
    anchors = canvas[..., 0].numel()
    return [
        printed_number("foreground by background anchors", foreground.sum() / background, printed,
                       note="printed as about", tolerance=printed / 2),
        printed_number("classes with foreground anchors", int((foreground > 0).sum()),
                       numbers["classes"]),
        printed_claim(f"an image of 1333 x 800 has more than {more_than:,} anchors",
                      anchors > more_than, f"{anchors:,}"),
        printed_claim("there are far more background than foreground anchors (50 times)",
                      background > 50 * foreground.sum(),
                      f"{background:,.0f} and {foreground.sum():,.1f} in an image"),
        printed_claim("some foreground classes have far more than others (10 times)",
                      foreground.iloc[0] > 10 * foreground.iloc[-1],
                      f"{foreground.iloc[0]:.2f} of {foreground.index[0]}, "
                      f"{foreground.iloc[-1]:.3f} of {foreground.index[-1]}"),
    ]  # fmt: skip


def statistics_table(sets: DataSets) -> pd.DataFrame:
    """What the figures rest on, in numbers: quantity, and a column for each data set."""
    columns = {name: _statistics(objects) for name, objects in sets.items()}
    return pd.DataFrame(columns, dtype=object).rename_axis("quantity").reset_index()


def _statistics(objects: pd.DataFrame) -> dict[str, float]:
    per_image = per_image_counts(objects)
    counts = class_counts(objects)
    return {
        "images with objects": len(per_image),
        "objects": len(objects),
        "classes": len(counts),
        "objects of the most frequent class": int(counts.iloc[0]),
        "objects of the least frequent class": int(counts.iloc[-1]),
        "objects in an image, mean": float(per_image["objects"].mean()),
        "classes in an image, mean": float(per_image["classes"].mean()),
        "relative area, median": float(objects["area"].median()),
    }
