"""Figures of thesis chapter 3 on data sets, for whatever data set is configured."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rebalance.figures.dataset_statistics.compute import (
    DataSets,
    anchors_per_label,
    class_counts,
    contrasting_images,
    main_set,
    per_image_counts,
)
from rebalance.figures.style import PALETTE, SEQUENTIAL, colours, figure

MOST_NAMES = 24


def plot_anchors(sets: DataSets) -> Figure:
    """Background and foreground anchors per image, and foreground anchors per class."""
    background, foreground = anchors_per_label(main_set(sets))
    fig, (left, right) = figure(columns=2, grid=(1, 2), aspect=0.72, width_ratios=[1, 2.2])
    values = [background, float(foreground.sum())]
    bars = left.bar(["background", "foreground"], values, color=[PALETTE[1], PALETTE[0]])
    left.bar_label(bars, [f"{value:,.0f}" for value in values])
    left.set(ylabel="anchors per image", yscale="log", title="(a) all classes")
    left.set_ylim(top=left.get_ylim()[1] * 2)
    right.bar(range(len(foreground)), foreground.to_numpy(), color=PALETTE[0])
    if len(foreground) <= MOST_NAMES:
        right.set_xticks(range(len(foreground)), list(foreground.index), rotation=45, ha="right")
    else:
        right.set_xlabel("class, by number of anchors")
    right.set(ylabel="foreground anchors per image", title="(b) foreground by class")
    right.grid(axis="x", visible=False)
    return fig


def plot_classes(sets: DataSets) -> Figure:
    """Objects per class, images by objects, images by classes; logarithmic counts."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=0.9)
    titles = {"objects": "(b) objects in an image", "classes": "(c) classes in an image"}
    for name, colour in colours(sets).items():
        counts = class_counts(sets[name]).to_numpy()
        axes[0].step(np.arange(1, len(counts) + 1), counts, where="mid", color=colour, label=name)
        per_image = per_image_counts(sets[name])
        for ax, column in zip(axes[1:], titles, strict=True):
            values = per_image[column].value_counts().sort_index()
            ax.step(values.index, values.to_numpy(), where="mid", color=colour)
    axes[0].set(xlabel="class, by frequency", ylabel="objects", title="(a) objects of a class")
    axes[0].legend()
    for ax, (column, title) in zip(axes[1:], titles.items(), strict=True):
        ax.set(xlabel=f"{column} in the image", ylabel="images", title=title)
    for ax in axes:
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.8)  # a bar of one is still seen
        ax.xaxis.get_major_locator().set_params(integer=True)
    return fig


def plot_contrast(sets: DataSets) -> Figure:
    """Ground truth of two images: one as the data set at large, one against it."""
    objects = main_set(sets)
    first, second, frequent, rare = contrasting_images(objects)
    fig, axes = figure(columns=2, grid=(1, 2), aspect=0.85)
    shades = colours([frequent, rare])
    for ax, image, title in (
        (axes[0], first, f"(a) more {frequent}"), (axes[1], second, f"(b) more {rare}"),
    ):  # fmt: skip
        some = objects[objects["image_id"] == image]
        for line in some.to_dict("records"):
            colour = shades.get(line["class"], "#c3c9d3")
            ax.add_patch(
                Rectangle((line["x1"], line["y1"]), line["x2"] - line["x1"],
                          line["y2"] - line["y1"], fill=False, edgecolor=colour, linewidth=1.2)
            )  # fmt: skip
        width, height = some["image_width"].iloc[0], some["image_height"].iloc[0]
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="x (pixels)")
        ax.set_title(f"{title}: image {image}")
        ax.grid(visible=False)
    axes[0].set_ylabel("y (pixels)")
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour, label=name)
               for name, colour in shades.items()]  # fmt: skip
    handles.append(Rectangle((0, 0), 1, 1, fill=False, edgecolor="#c3c9d3", label="other classes"))
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def plot_scales(sets: DataSets) -> Figure:
    """Histograms of relative width, height and area; logarithmic counts."""
    fig, axes = figure(columns=2, grid=(1, 3), aspect=0.85, sharey=True)
    for ax, name, letter in zip(axes, ("width", "height", "area"), "abc", strict=True):
        for dataset, colour in colours(sets).items():
            ax.hist(sets[dataset][name], bins=np.linspace(0, 1, 41), histtype="step",
                    color=colour, label=dataset, linewidth=1.2)  # fmt: skip
        ax.set(xlabel=f"{name} relative to the image", yscale="log", title=f"({letter}) {name}")
    axes[0].set_ylabel("objects")
    axes[-1].legend()
    return fig


def plot_locations(sets: DataSets) -> Figure:
    """Density of object centres over the image, a panel per data set."""
    fig, axes = figure(columns=len(sets), grid=(1, len(sets)), aspect=0.85)
    bins = np.linspace(0, 1, 25)
    for ax, (name, objects) in zip(np.atleast_1d(axes), sets.items(), strict=True):
        counts, _, _ = np.histogram2d(objects["y"], objects["x"], bins=[bins, bins])
        image = ax.pcolormesh(bins, bins, counts, cmap=SEQUENTIAL, rasterized=True)
        ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal", xlabel="x relative to the image",
               ylabel="y relative to the image", title=name)  # fmt: skip
        ax.grid(visible=False)
        fig.colorbar(image, ax=ax, label="centres", shrink=0.85)
    return fig
