"""Diagrams can be read: no words over words or under arrows, none cut off, none too small."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox
from rebalance.figures.diagrams import FIGURES
from rebalance.figures.diagrams.compute import edges
from rebalance.figures.diagrams.draw.parts import Node, canvas, connect, route

DPI = 100
SMALLEST = 6.5


@pytest.fixture(scope="module", params=sorted(FIGURES))
def drawn(request):
    """The axes of a figure, and [(words, extent)], inches."""
    fig = FIGURES[request.param].draw()
    fig.set_dpi(DPI)
    renderer = FigureCanvasAgg(fig).get_renderer()
    (ax,) = fig.axes
    words = [
        (text.get_text(), Bbox(text.get_window_extent(renderer).get_points() / DPI))
        for text in ax.texts if text.get_text()
    ]  # fmt: skip
    return fig, ax, words


def meet(first, second, margin=0.0):
    """Whether two extents share more than a margin."""
    low = np.maximum(first.min, second.min)
    high = np.minimum(first.max, second.max)
    return bool((high - low > margin).all())


def test_words_are_large_enough_and_inside_the_figure(drawn):
    fig, ax, words = drawn
    assert all(text.get_fontsize() >= SMALLEST for text in ax.texts)
    width, height = fig.get_size_inches()
    for name, box in words:
        assert box.x0 >= 0.03, name
        assert box.y0 >= 0.03, name
        assert box.x1 <= width - 0.03, name
        assert box.y1 <= height - 0.03, name


def test_words_do_not_lie_on_each_other(drawn):
    _, _, words = drawn
    for (first, one), (second, other) in itertools.combinations(words, 2):
        assert not meet(one, other), (first, second)


def test_no_arrow_runs_through_words(drawn):
    _, ax, words = drawn
    for line in ax.lines:
        points = np.array(line.get_xydata())
        for start, end in itertools.pairwise(points):
            along = start + np.linspace(0, 1, 60)[:, None] * (end - start)
            for name, box in words:
                inside = (along > box.min) & (along < box.max)
                assert not inside.all(axis=1).any(), name


def test_labels_fit_into_their_boxes(drawn):
    """No edge of a box or map runs through words."""
    _, ax, words = drawn
    for patch in ax.patches:
        if patch.get_zorder() != 2:  # nodes; neither frames, arrowheads, bars nor crosses
            continue
        box = Bbox(patch.get_path().transformed(patch.get_patch_transform()).get_extents())
        for name, label in words:
            if meet(label, box, 0.01):
                assert (label.min >= box.min - 0.01).all(), name
                assert (label.max <= box.max + 0.01).all(), name


NODES = {"a": Node(0, 0, 1, 1), "b": Node(3, 0.2, 1, 1), "c": Node(3, 3, 1, 1)}


def test_arrows_are_level_where_nodes_allow_it():
    assert route(NODES["a"], NODES["b"]) == [pytest.approx((0.52, 0.2)), pytest.approx((2.48, 0.2))]
    start, end = route(NODES["b"], NODES["c"])
    assert start == pytest.approx((3, 0.72))
    assert end == pytest.approx((3, 2.48))
    # slanted: from the corner of one to that of the other, a gap of 0.02 away from each
    start, end = np.array(route(NODES["a"], NODES["c"]))
    assert start == pytest.approx(0.5 + 0.02 / np.sqrt(2))
    assert end == pytest.approx(2.5 - 0.02 / np.sqrt(2))


def test_an_edge_to_nowhere_is_refused():
    _, ax = canvas(1.0)
    with pytest.raises(ValueError, match="no node 'z', there are"):
        connect(ax, NODES, edges(flow=["a > z"]))
