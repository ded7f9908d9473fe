"""Statistics of a hand-made data set whose every count is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from rebalance.config.experiments import load_experiments
from rebalance.figures.checks import comparable, verdict
from rebalance.figures.dataset_statistics import FIGURES, compute
from rebalance.figures.dataset_statistics.compute import (
    anchors_per_label,
    class_counts,
    contrasting_images,
    load_objects,
    per_image_counts,
    statistics_table,
)
from rebalance.figures.style import save_bitmap

FIGURE_OF = {
    "anchors": "figure_3_4", "classes": "figure_3_5", "contrast": "figure_3_6",
    "scales": "figure_3_7", "locations": "figure_3_13",
}  # fmt: skip
BOXES = {
    # image: (category, x, y, width, height, crowd)
    1: [(1, 0, 0, 50, 40, 0), (1, 10, 10, 20, 20, 0), (2, 60, 50, 40, 50, 0)],
    2: [(2, 0, 0, 100, 100, 0), (2, 5, 5, 30, 30, 0), (1, 40, 40, 60, 20, 0)],
    3: [(1, 20, 20, 40, 60, 0), (3, 0, 0, 100, 100, 1)],
}


@pytest.fixture
def objects(tmp_path):
    annotations = [
        {"id": 10 * image + k, "image_id": image, "category_id": category,
         "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
        for image, boxes in BOXES.items()
        for k, (category, x, y, w, h, crowd) in enumerate(boxes)
    ]  # fmt: skip
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 200, "height": 100} for i in BOXES],
        "categories": [{"id": c, "name": name} for c, name in ((1, "cup"), (2, "cat"), (3, "car"))],
        "annotations": annotations,
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(coco))
    return load_objects({"train": str(path)})


def test_crowds_are_left_out_and_scales_are_relative(objects):
    assert len(objects) == 7
    first = objects.iloc[0]
    assert (first["width"], first["height"], first["area"]) == pytest.approx((0.25, 0.4, 0.1))
    assert (first["x"], first["y"]) == pytest.approx((0.125, 0.2))


def test_counts_of_classes_and_images(objects):
    assert class_counts(objects).to_dict() == {"cup": 4, "cat": 3}
    assert per_image_counts(objects).to_dict("list") == {"objects": [3, 3, 1], "classes": [2, 2, 1]}
    table = statistics_table({"cups": objects}).set_index("quantity")["cups"]
    assert table["images with objects"] == 3
    assert table["objects in an image, mean"] == pytest.approx(7 / 3)


def test_contrasting_images_have_opposite_orders(objects):
    assert contrasting_images(objects) == (1, 2, "cup", "cat")


def test_no_contrast_is_an_error_that_says_so(objects):
    with pytest.raises(ValueError, match="no pair of classes"):
        contrasting_images(objects[objects["image_id"] != 2])


def test_anchors_per_image_are_those_of_retinanet(objects):
    # 200 x 100 is scaled by 6.665 to 1333 x 666, on a canvas of 1344 x 672: 9 anchors per cell.
    cells = sum((-(-1344 // stride)) * (-(-672 // stride)) for stride in (8, 16, 32, 64, 128))
    background, foreground = anchors_per_label(objects)
    assert background + foreground.sum() <= 9 * cells
    assert background > 0.97 * 9 * cells
    assert (foreground > 0).all()
    assert set(foreground.index) == {"cup", "cat"}


def test_anchors_far_from_every_box_are_left_out_of_the_overlaps_only(objects, monkeypatch):
    expected = anchors_per_label(objects.copy())
    everywhere = lambda cells, boxes: torch.ones(len(cells), dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(compute, "_may_overlap", everywhere)
    background, foreground = anchors_per_label(objects)
    assert background == expected[0]
    pd.testing.assert_series_equal(foreground, expected[1])


def test_an_image_of_1333_by_800_has_as_many_anchors_as_the_work_says(objects, numbers):
    checks = FIGURES["anchors"].checks({"cups": objects}, numbers("thesis_figure_3_4"))
    assert checks[2].holds
    cells = sum(-(-1344 // stride) * -(-800 // stride) for stride in (8, 16, 32, 64, 128))
    assert checks[2].measured == f"{9 * cells:,}"


def centres(points):
    return pd.DataFrame(points, columns=["x", "y"])


def test_centres_of_an_even_grid_are_uniform_and_crowded_ones_are_not():
    even = np.array([[x, y] for x in np.arange(0.05, 1, 0.1) for y in np.arange(0.05, 1, 0.1)])
    assert compute.unevenness(centres(even)) == 0  # four in each of the 25 cells
    # All hundred in one cell, where four are expected: 96^2 / 4 + 24 * 4.
    assert compute.unevenness(centres(0.5 + (even - 0.5) / 10)) == pytest.approx(2400)
    rng = np.random.default_rng(0)
    random = centres(rng.uniform(size=(5000, 2)))
    crowded = centres(rng.normal(0.5, 0.2, size=(5000, 2)).clip(0, 1))
    assert not FIGURES["locations"].checks({"random": random}, {})[0].holds
    assert FIGURES["locations"].checks({"crowded": crowded}, {})[0].holds


@pytest.mark.parametrize(
    ("what", "column", "values", "expected"),
    [
        ("classes", "class", [["a"] * 50 + ["b"] * 5, ["a"] * 30 + ["b"] * 5], [True, False]),
        ("scales", "width", [[0.1, 0.1, 0.9], [0.9, 0.9, 0.1]], [True, False]),
    ],
)
def test_claims_of_data_sets_can_fail(what, column, values, expected):
    frames = [pd.DataFrame({"width": some, "height": some, "area": some, column: some})
              for some in values]  # fmt: skip
    assert [FIGURES[what].checks({"a": frame}, {})[0].holds for frame in frames] == expected
    # Of two data sets each has its own.
    checks = FIGURES[what].checks(dict(zip("ab", frames, strict=True)), {})
    assert next(c.holds for c in checks if c.name.startswith("b: ")) == expected[1]
    assert next(c.holds for c in checks if c.name.startswith("a: ")) == expected[0]


@pytest.mark.parametrize("data_set", ["shapes", "coco_tiny"])
@pytest.mark.parametrize("what", FIGURES)
def test_the_data_sets_at_hand_are_drawn(data_set, what, request, tmp_path, numbers):
    sets = {data_set: load_objects(request.getfixturevalue(data_set))}
    printed = numbers(f"thesis_{FIGURE_OF[what]}")
    checks = comparable(FIGURES[what].checks(sets, printed), like_the_work=False)
    assert verdict(checks) == "claims"
    save_bitmap(FIGURES[what].draw(sets), tmp_path / "figure.png", 60)
    assert len(np.unique(np.asarray(Image.open(tmp_path / "figure.png")))) > 10  # drawn upon


@pytest.mark.parametrize("what", ["classes", "scales", "locations"])
def test_figures_of_several_data_sets_draw_each(what, shapes, shapes_voc):
    """One of them in the layout of VOC, as VOC 2012 comes."""
    sets = {"shapes": load_objects(shapes), "shapes_voc": load_objects(shapes_voc)}
    assert 0 < len(sets["shapes_voc"]) < len(sets["shapes"])
    drawn = FIGURES[what].draw(sets)
    assert set(sets) <= {text.get_text() for ax in drawn.axes for text in ax.findobj(Text)}
    names = [check.name.split(":")[0] for check in FIGURES[what].checks(sets, {})]
    assert set(names) == set(sets)


def test_the_works_data_sets_at_hand_are_read_and_the_others_named(repository):
    experiments = load_experiments(repository, check_runs=False)
    for number in ("3_5", "3_7", "3_13"):
        target = experiments.targets[f"thesis_figure_{number}"]
        files = target.inputs(experiments.results("paper"))
        assert {Path(file).parts[1] for file in files} == {"coco2017", "voc2012"}
        beside = target.parameters(experiments.results("shapes"))["beside"]
        assert list(beside) == ["shapes_voc"]
        said = " ".join(target.entry.doubts)
        assert all(name in said for name in ("Open Images", "Objects365"))
