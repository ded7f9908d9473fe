"""Thesis Figures 1.1 and 3.19: images of a data set with their ground truth drawn in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from rebalance.figures.annotated_images.compute import (
    TASKS,
    AnnotatedImage,
    Annotations,
    Mask,
    Positive,
    ambiguous_pair,
    tasks_image,
)
from rebalance.figures.style import INK, PALETTE, figure

TRUTH, POSITIVE = PALETTE[0], PALETTE[2]
STUFF = ("#8fa3b8", "#b8a58f", "#a3b88f", "#b88fa8", "#8fb8b0", "#b3b3b3")
LABELLED = 0
"""Visibility of a keypoint that is not labelled."""


def plot_tasks(annotations: Annotations) -> Figure:
    """The same image with boxes, keypoints, masks, and panoptic segments, where annotated."""
    image = tasks_image(annotations)
    height, width = image.pixels.shape[:2]
    fig, axes = figure(columns=2, grid=(2, 2), aspect=height / width)
    shades = [PALETTE[index % len(PALETTE)] for index in range(len(image.instances))]
    (boxes, points), (masks, panoptic) = axes
    for ax, letter, task in zip(axes.flat, "abcd", TASKS, strict=True):
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
        ax.set_title(f"({letter}) {task}")
    _draw_boxes(boxes, image, shades)
    _draw_keypoints(points, image, shades)
    _draw_masks(masks, image, shades)
    _draw_panoptic(panoptic, image, shades)
    return fig


def _show(ax: Axes, pixels: Any) -> None:
    """The image on pixel coordinates, the corner of the first pixel at (0, 0)."""
    height, width = pixels.shape[:2]
    ax.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased")


def _faded(pixels: Any, white: float = 0.55) -> Any:
    """Grey and light, for what is drawn on it."""
    grey = pixels.astype(float).mean(axis=2, keepdims=True).repeat(3, axis=2) / 255
    return white + (1 - white) * grey


def _note(ax: Axes, text: str) -> None:
    """What is not annotated, over the middle of the panel."""
    ax.text(
        0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=8, color=INK,
        bbox={"facecolor": "white", "edgecolor": "#c3c9d3", "boxstyle": "round,pad=0.5"},
    )  # fmt: skip


def _tag(
    ax: Axes, x: float, y: float, text: str, colour: str, ha: str = "left", va: str = "top"
) -> None:
    """A label inside an image, even at its edge: white on the colour of what it names."""
    (_, width), (height, _) = ax.get_xlim(), ax.get_ylim()
    x, y = (min(max(v, 0.01 * side), 0.99 * side) for v, side in ((x, width), (y, height)))
    ax.text(
        x, y, text, color="white", fontsize=6, fontweight="bold", ha=ha, va=va, clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _draw_boxes(ax: Axes, image: AnnotatedImage, shades: Sequence[str]) -> None:
    _show(ax, image.pixels)
    for instance, colour in zip(image.instances, shades, strict=True):
        x1, y1, x2, y2 = instance.box
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour,
                               linewidth=1.6))  # fmt: skip
        _tag(ax, x1, y1, instance.name, colour)


def _draw_keypoints(ax: Axes, image: AnnotatedImage, shades: Sequence[str]) -> None:
    some = [
        (instance.keypoints, instance.skeleton, colour)
        for instance, colour in zip(image.instances, shades, strict=True)
        if instance.keypoints is not None
    ]
    _show(ax, image.pixels if some else _faded(image.pixels))
    if not some:
        _note(ax, "keypoints are not annotated\nin this data set")
    for keypoints, skeleton, colour in some:
        for first, second in skeleton:
            ends = keypoints[[first - 1, second - 1]]
            if (ends[:, 2] > LABELLED).all():
                ax.plot(ends[:, 0], ends[:, 1], color=colour, linewidth=1.6)
        seen = keypoints[keypoints[:, 2] > LABELLED]
        ax.plot(seen[:, 0], seen[:, 1], "o", color=colour, markersize=3.2,
                markeredgecolor="white", markeredgewidth=0.5)  # fmt: skip


def _draw_masks(ax: Axes, image: AnnotatedImage, shades: Sequence[str]) -> None:
    parts = _masks(image, shades)
    _show(ax, image.pixels if parts else _faded(image.pixels))
    if not parts:
        _note(ax, "masks are not annotated\nin this data set")
    for _, mask, colour in parts:
        _tint(ax, mask, colour, 0.55)
        _outline(ax, mask)


def _masks(image: AnnotatedImage, shades: Sequence[str]) -> list[tuple[str, Mask, str]]:
    """Name, mask and colour of each object with a mask, the smaller ones on the larger ones."""
    parts = [
        (instance.name, instance.mask, colour)
        for instance, colour in zip(image.instances, shades, strict=True)
        if instance.mask is not None
    ]
    return sorted(parts, key=lambda part: -int(part[1].sum()))


def _draw_panoptic(ax: Axes, image: AnnotatedImage, shades: Sequence[str]) -> None:
    """Every pixel in one segment; without a panoptic annotation only things, from their masks."""
    _show(ax, _faded(image.pixels))
    if image.segments is not None:
        stuff = [segment for segment in image.segments if not segment.thing]
        things = [segment for segment in image.segments if segment.thing]
        parts = [(s.name, s.mask, STUFF[k % len(STUFF)]) for k, s in enumerate(stuff)]
        parts += [(s.name, s.mask, PALETTE[k % len(PALETTE)]) for k, s in enumerate(things)]
    else:
        # A pixel has one segment only.
        masks, parts = _masks(image, shades), []
        for k, (name, mask, colour) in enumerate(masks):
            above = np.zeros_like(mask)
            for _, other, _ in masks[k + 1 :]:
                above |= other
            parts.append((name, mask & ~above, colour))
    for _, mask, colour in parts:
        _tint(ax, mask, colour, 0.9)
        _outline(ax, mask)
    for name, mask, colour in parts:
        if mask.any():
            x, y = _middle(mask)
            _tag(ax, x, y, name, colour, ha="center", va="center")
    if image.segments is None and not parts:
        _note(ax, "neither stuff nor things are annotated\nby pixel in this data set")
    elif image.segments is None:
        ax.text(
            0.5, 0.015, "grey: stuff, not annotated in this data set", transform=ax.transAxes,
            ha="center", va="bottom", fontsize=6.8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip


def _tint(ax: Axes, mask: Mask, colour: str, alpha: float) -> None:
    layer = np.zeros((*mask.shape, 4))
    layer[mask] = (*to_rgb(colour), alpha)
    height, width = mask.shape
    ax.imshow(layer, extent=(0, width, height, 0), interpolation="nearest")


def _outline(ax: Axes, mask: Mask) -> None:
    """The border of a mask in white."""
    if not mask.any():
        return
    height, width = mask.shape
    ax.contour(np.arange(width) + 0.5, np.arange(height) + 0.5, mask.astype(float), levels=[0.5],
               colors="white", linewidths=0.8)  # fmt: skip


def _middle(mask: Mask) -> tuple[float, float]:
    """A pixel of the mask near its centre of gravity."""
    ys, xs = np.nonzero(mask)
    nearest = int(np.argmin((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2))
    return float(xs[nearest]) + 0.5, float(ys[nearest]) + 0.5


def plot_ambiguous(annotations: Annotations) -> Figure:
    """The image with two objects and two positives, and each positive cut out."""
    image, covered, missed = ambiguous_pair(annotations)
    height, width = image.pixels.shape[:2]
    fig, axes = figure(
        columns=2, grid=(1, 3), aspect=1.25 * min(max(height / width, 0.8), 1.3),
        width_ratios=[1.5, 1, 1],
    )  # fmt: skip
    whole, left, right = axes
    _show(whole, image.pixels)
    whole.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    for positive in (covered, missed):
        _box(whole, positive.of.box, TRUTH, 2.0)
    for positive, letter in ((covered, "b"), (missed, "c")):
        _box(whole, positive.box, POSITIVE, 1.6, (0, (4, 1.5)))
        _tag(whole, positive.box[0], positive.box[3], f"({letter})", POSITIVE, va="bottom")
    for positive in (covered, missed):
        _tag(whole, *positive.of.box[:2], positive.of.name, TRUTH)
    whole.set_title(f"(a) image {image.image_id}")
    for ax, positive, letter in ((left, covered, "b"), (right, missed, "c")):
        _draw_positive(ax, image, positive)
        ax.set_title(f"({letter}) a positive of “{positive.of.name}”", fontsize=8)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.grid(visible=False)
    handles = [
        Patch(fill=False, edgecolor=TRUTH, linewidth=2, label="ground truth"),
        Patch(fill=False, edgecolor=POSITIVE, linewidth=1.6, label="positive (IoU above 0.5)"),
        Patch(facecolor=TRUTH, alpha=0.6, label="its own object"),
        Patch(facecolor=PALETTE[1], alpha=0.6, label="the other object"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4)
    return fig


def _box(ax: Axes, box: Sequence[float], colour: str, width: float, style: Any = "-") -> None:
    x1, y1, x2, y2 = box
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour,
                           linewidth=width, linestyle=style, clip_on=False))  # fmt: skip


def _draw_positive(ax: Axes, image: AnnotatedImage, positive: Positive) -> None:
    """What is in the box, in grey, with the pixels of both objects in colour."""
    own, other = positive.of.mask, positive.other.mask
    assert own is not None
    assert other is not None
    x1, y1, x2, y2 = positive.box
    _show(ax, _faded(image.pixels, 0.2))
    _tint(ax, other & ~own, PALETTE[1], 0.5)
    _tint(ax, own, TRUTH, 0.5)
    ax.set(xlim=(x1, x2), ylim=(y2, y1), aspect="equal")
    _box(ax, positive.box, POSITIVE, 2.2)
    neither = 1 - positive.own_share - positive.other_share
    ax.set_xlabel(
        f"IoU {positive.iou:.2f}; of its pixels\n{positive.own_share:.0%} {positive.of.name}, "
        f"{positive.other_share:.0%} {positive.other.name}, {neither:.0%} neither"
    )
