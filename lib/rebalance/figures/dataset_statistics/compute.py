"""What the annotations of a data set look like (thesis chapter 3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rebalance.assigners.assignment import NEGATIVE
from rebalance.assigners.max_iou import assign_max_iou
from rebalance.data.coco import load_coco
from rebalance.detectors.candidates import anchors as lay_anchors
from rebalance.figures.claims import Claim, printed_claim

Annotations = Mapping[str, str]
"""Split -> path of its COCO JSON."""

STRIDES = (8, 16, 32, 64, 128)
SHORT_SIDE, LONG_SIDE = 800, 1333
CANVAS_MULTIPLE = 32
MAX_IMAGES = 60
"""Images whose anchors are counted; counts are per image, and a hundred thousand take hours."""


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


def anchors_per_label(objects: pd.DataFrame) -> tuple[float, pd.Series]:
    """RetinaNet's anchors laid over the images (thesis Figure 3.4).

    Images are scaled to a short side of 800 (the long one at most 1333). An anchor is foreground
    from an IoU of 0.5, background below 0.4, and left out between.

    Returns:
        Background anchors per image, and foreground anchors per image by class.
    """
    grid = lay_anchors(STRIDES, rounded=True)
    classes = sorted(objects["class"].unique())
    label_of = {name: index + 1 for index, name in enumerate(classes)}
    counts = torch.zeros(len(classes) + 1)
    background, images = 0, 0
    for _, some in list(objects.groupby("image_id"))[:MAX_IMAGES]:
        width, height = some["image_width"].iloc[0], some["image_height"].iloc[0]
        scale = min(SHORT_SIDE / min(width, height), LONG_SIDE / max(width, height))
        canvas = [-(-round(side * scale) // CANVAS_MULTIPLE) * CANVAS_MULTIPLE
                  for side in (height, width)]  # fmt: skip
        maps = [torch.empty(1, 1, *(-(-side // stride) for side in canvas)) for stride in STRIDES]
        anchors, _ = grid(maps)
        boxes = torch.tensor(some[["x1", "y1", "x2", "y2"]].to_numpy() * scale).float()
        labels = torch.tensor([label_of[name] for name in some["class"]])
        assignment = assign_max_iou(
            anchors, boxes, labels, positive_iou=0.5, negative_iou=0.4, low_quality_iou=None
        )
        counts += torch.bincount(assignment.labels[assignment.positives], minlength=len(counts))
        background += int((assignment.gt_idxs == NEGATIVE).sum())
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


def _imbalance(counts: NDArray[np.float64]) -> str:
    return f"{counts.max():.0f} to {counts.min():.0f}"


def class_claims(objects: pd.DataFrame) -> list[Claim]:
    """Figure 3.5: classes are not equally frequent."""
    counts = class_counts(objects).to_numpy(dtype=float)
    return [
        printed_claim("classes are not equally frequent", counts.max() > counts.min(),
                      _imbalance(counts)),
    ]  # fmt: skip


def scale_claims(objects: pd.DataFrame) -> list[Claim]:
    """Figure 3.7: relative scales are skewed to small values."""
    area = objects["area"]
    return [
        printed_claim(f"relative {name} lies in [0, 1]",
                      bool(objects[name].between(0, 1 + 1e-6).all()))
        for name in ("width", "height", "area")
    ] + [
        printed_claim("relative areas are skewed to small values", area.mean() > area.median(),
                      f"mean {area.mean():.3f}, median {area.median():.3f}"),
    ]  # fmt: skip


def location_claims(objects: pd.DataFrame) -> list[Claim]:
    """Figure 3.13: centres lie within the image."""
    inside = bool(objects[["x", "y"]].apply(lambda column: column.between(0, 1)).to_numpy().all())
    return [printed_claim("all centres lie in the unit square", inside)]


def contrast_claims(objects: pd.DataFrame) -> list[Claim]:
    """Figure 3.6: the order of two classes in one image may be against that of the data set."""
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


def anchor_claims(objects: pd.DataFrame) -> list[Claim]:
    """Figure 3.4: background outnumbers foreground by far."""
    background, foreground = anchors_per_label(objects)
    share = foreground.sum() / background
    return [
        printed_claim(
            "there are far more background than foreground anchors", share < 0.02,
            f"{share:.5f} positives per negative",
            "the work prints about 0.001 for COCO",
        ),
    ]  # fmt: skip


def statistics_table(objects: pd.DataFrame) -> pd.DataFrame:
    """What the figures rest on, in numbers: quantity, value."""
    per_image = per_image_counts(objects)
    counts = class_counts(objects)
    values: dict[str, Any] = {
        "images with objects": len(per_image),
        "objects": len(objects),
        "classes": len(counts),
        "objects of the most frequent class": int(counts.iloc[0]),
        "objects of the least frequent class": int(counts.iloc[-1]),
        "objects in an image, mean": float(per_image["objects"].mean()),
        "classes in an image, mean": float(per_image["classes"].mean()),
        "relative area, median": float(objects["area"].median()),
    }
    return pd.DataFrame({"quantity": list(values), "value": list(values.values())})
