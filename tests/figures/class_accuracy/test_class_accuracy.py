"""AP of single classes: which are shown, in which order, and beside which printed numbers."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from rebalance.errors import InputError
from rebalance.figures.class_accuracy import compute as classes
from rebalance.figures.class_accuracy.draw import plot_class_accuracy


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


# GGIoU Figure 2 ----------------------------------------------------------------------------------


def metrics_file(path, aps):
    return write(path, {"per_class": [{"name": name, "AP": ap} for name, ap in aps.items()]})


def objects_of(sides):
    return pd.DataFrame([
        {"class": name, "x1": 0.0, "y1": 0.0, "x2": float(w), "y2": float(h)}
        for name, boxes in sides.items() for w, h in boxes
    ])  # fmt: skip


def test_elongation_is_the_median_of_longer_by_shorter_side():
    objects = objects_of({"bar": [(30, 10), (10, 40), (10, 20)], "disc": [(10, 10)]})
    assert classes.elongations(objects).to_dict() == {"disc": 1.0, "bar": 3.0}


def test_other_data_shows_all_its_classes_by_elongation(tmp_path):
    runs = {
        "IoU": [metrics_file(tmp_path / "a", {"bar": 0.2, "disc": 0.5, "none": None})],
        "GGIoU": [metrics_file(tmp_path / "b", {"bar": 0.25, "disc": 0.51, "none": None})],
    }
    objects = objects_of({"bar": [(30, 10)], "disc": [(10, 10)], "none": [(10, 12)]})
    table = classes.class_accuracy(runs, {}, objects)
    assert table["class"].tolist() == ["disc", "none", "bar"]
    assert table["slender"].tolist() == [False, False, True]
    assert table["gain"].tolist() == pytest.approx([0.01, math.nan, 0.05], nan_ok=True)
    assert "IoU, printed" not in table
    assert all(claim.holds for claim in classes.class_checks(table))
    assert plot_class_accuracy(table, "shapes").axes


def test_the_printed_numbers_fulfil_the_claims_and_stand_beside_ours(tmp_path, numbers):
    printed = numbers("ggiou_figure_2")
    six = [*classes.OTHERS, *classes.SLENDER]
    runs = {
        label: [metrics_file(tmp_path / key, {name: printed[name][key] for name in six})]
        for label, key in classes.PRINTED_RUNS.items()
    }
    objects = objects_of({name: [(10, 10)] for name in [*six, "other"]})
    table = classes.class_accuracy(runs, printed, objects)
    assert table["class"].tolist() == six
    np.testing.assert_allclose(table["GGIoU"], table["GGIoU, printed"])
    assert all(claim.holds for claim in classes.class_checks(table))
    drawn = {
        scale: plot_class_accuracy(table, scale).axes[0].get_legend_handles_labels()[1]
        for scale in ("shapes", "paper")
    }
    assert ("reported" in drawn["paper"], "reported" in drawn["shapes"]) == (True, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "per_class"),
        ('{"per_class": [{"name": "x"}]}', "per_class.*AP"),
    ],
)
def test_damaged_metrics_are_named(tmp_path, content, message):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match=rf"m.json: .*{message}|m.json: {message}"):
        classes.read_class_aps(tmp_path / "m.json")
