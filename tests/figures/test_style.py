import itertools
import struct

import numpy as np
import pytest
from rebalance.figures.style import (
    FIXED_COLOURS,
    PALETTE,
    WIDTHS,
    colours,
    figure,
    legend_below,
    line_styles,
    save_figure,
)


def draw():
    fig, ax = figure(columns=1)
    for name, style in line_styles(["eiou", "giou"]).items():
        ax.plot([0, 1], [0, len(name)], label=name, **style)
    legend_below(fig, ax)
    return fig


def test_equal_figures_are_equal_bytes_without_a_date(tmp_path):
    for name in ("a", "b"):
        save_figure(draw(), tmp_path / name / "f.svg", tmp_path / name / "f.png")
    for kind in ("svg", "png"):
        first, second = (tmp_path / name / f"f.{kind}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    svg = (tmp_path / "a" / "f.svg").read_text()
    assert "<dc:date>" not in svg
    assert b"Software" not in (tmp_path / "a" / "f.png").read_bytes()


def test_a_long_legend_leaves_the_axes_their_size():
    heights = []
    for count in (2, 25):
        fig, ax = figure(columns=2)
        for entry in range(count):
            ax.plot([0, 1], label=f"self balance, magnitude {entry}")
        legend_below(fig, ax)
        fig.draw_without_rendering()
        heights.append(ax.get_position().height * fig.get_figheight())
    assert heights[1] == pytest.approx(heights[0], rel=0.1)


def test_figures_are_as_wide_as_their_columns(tmp_path):
    for columns, width in WIDTHS.items():
        fig, _ = figure(columns=columns)
        save_figure(fig, tmp_path / "f.svg", tmp_path / "f.png", dpi=100)
        header = (tmp_path / "f.png").read_bytes()[16:24]
        assert struct.unpack(">II", header)[0] == int(100 * width)
    with pytest.raises(ValueError, match=r"columns must be one of \(1, 2\), got 3"):
        figure(columns=3)


def test_a_name_keeps_its_colour_beside_other_names():
    assert colours(["Focal-EIoU"])["Focal-EIoU"] == FIXED_COLOURS["focal_eiou"]
    assert colours(["giou", "eiou"])["eiou"] == colours(["eiou", "zzz"])["eiou"]
    assert colours(["rank_sort"]) == colours(["rank_sort"])


def test_names_of_a_figure_get_different_looks():
    names = [f"setting {index}" for index in range(len(PALETTE))]
    assert len(set(colours(names).values())) == len(PALETTE)
    many = [f"setting {index}" for index in range(3 * len(PALETTE))]
    looks = [(style["color"], str(style["linestyle"])) for style in line_styles(many).values()]
    assert len(set(looks)) == len(many)
    assert list(colours(many)) == many


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def simulate_deuteranopia(colour):
    """Linear sRGB as a reader without green cones sees it (Machado et al. 2009, severity 1)."""
    matrix = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.asarray(matrix) @ channels


def test_palette_is_told_apart_without_green_cones_and_seen_on_white():
    for first, second in itertools.combinations(PALETTE, 2):
        distance = np.linalg.norm(simulate_deuteranopia(first) - simulate_deuteranopia(second))
        assert distance > 0.1, (first, second)
    assert all(1.05 / (luminance(colour) + 0.05) > 2 for colour in PALETTE)
