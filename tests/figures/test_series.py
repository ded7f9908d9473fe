"""What is read off a figure is what was drawn: numbers for its CSV, words for its alt text."""

import pytest
from rebalance.figures.series import describe, read_series
from rebalance.figures.style import figure, save_figure
from rebalance.report.page import svg_description


def draw():
    fig, (lines, bars, cells, diagram) = figure(grid=(1, 4))
    lines.plot([0, 1, 2], [3.0, 1.0, 5.0], label="a < b")
    lines.axhline(2.0)
    lines.set(title="losses", xlabel="epoch", ylabel="loss")
    lines.set_title("losses", loc="left")
    bars.bar(["cat", "dog"], [0.25, 0.5], label="share")
    bars.set_xticks([0, 1], ["cat", "dog"])
    bars.set_title("classes", loc="left")
    cells.imshow([[1.0, 2.0], [3.0, 4.0]])
    cells.set_title("cells", loc="left")
    diagram.axis("off")
    diagram.plot([0, 1], [0, 1])
    diagram.text(0, 0, "backbone")
    return fig


@pytest.fixture
def drawn():
    return draw()


def test_numbers_are_those_drawn_and_rules_and_diagrams_have_none(drawn):
    found = read_series(drawn)
    rows = {
        panel: lines[["x", "y", "value"]].values.tolist() for panel, lines in found.groupby("panel")
    }
    assert [row[:2] for row in rows["losses"]] == [[0, 3], [1, 1], [2, 5]]
    assert [row[:2] for row in rows["classes"]] == [["cat", 0.25], ["dog", 0.5]]
    assert sorted(row[2] for row in rows["cells"]) == [1, 2, 3, 4]
    assert set(rows) == {"losses", "classes", "cells"}


def test_words_say_axes_ends_and_extremes(drawn):
    said = describe(drawn)
    assert "4 panels." in said
    assert "losses: loss against epoch: a < b goes from 3 to 5 (within 1 to 5)." in said
    assert "classes: share: cat 0.25, dog 0.5." in said
    assert "cells: 4 cells from 1 to 4." in said
    assert said.endswith("backbone.")


def test_a_figure_is_saved_four_ways_with_its_words_and_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_figure(draw(), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    for suffix in ("svg", "png", "pdf", "csv"):
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes(), suffix
    assert svg_description((tmp_path / "a.svg").read_text()) == describe(draw())
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
