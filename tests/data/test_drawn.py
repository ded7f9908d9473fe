"""Drawn results have the errors that were asked for, and the evaluations see them."""

import json

import numpy as np
import pytest
from rebalance.data.drawn import Errors, draw_results, draw_truth
from rebalance.data.shapes import make_shapes
from rebalance.errors import InputError
from rebalance.metrics.evaluate import evaluate
from rebalance.metrics.panoptic import evaluate_panoptic


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_shapes(folder, num_train=1, num_val=12, image_size=64, seed=3)
    return folder / "annotations" / "val.json"


@pytest.fixture(scope="module", params=["keypoints", "panoptic"])
def drawn(request, annotations, tmp_path_factory):
    """(task, truth, a function that spoils it and evaluates that)."""
    folder = tmp_path_factory.mktemp(request.param)
    truth, out = folder / "truth.json", folder / "results.json"
    draw_truth(request.param, annotations, truth)

    def metrics_of(errors):
        draw_results(request.param, truth, errors, 0, out)
        if request.param == "panoptic":
            return evaluate_panoptic(truth, out)
        return evaluate(truth, out, iou_type="keypoints")

    return request.param, truth, metrics_of


def test_without_errors_everything_is_found(drawn):
    task, _, metrics_of = drawn
    metrics = metrics_of(Errors(0, 0, 0))
    if task == "panoptic":
        assert (metrics["All"]["PQ"], metrics["All"]["LRP"]) == (1, 0)
        assert metrics["Stuff"]["N"] == 2
    else:
        assert metrics["AP"] == pytest.approx(1)
        assert metrics["oLRP"] == pytest.approx(0, abs=1e-6)


def test_what_is_missed_is_counted_as_missed_and_nothing_else_is_wrong(drawn):
    task, truth, metrics_of = drawn
    metrics = metrics_of(Errors(0, 0.5, 0))
    content = json.loads(truth.read_text())["annotations"]
    per_class = metrics["per_class"]
    found, missed = (sum(row[key] for row in per_class) for key in ("N_TP", "N_FN"))
    objects = sum(len(e["segments_info"]) for e in content) if task == "panoptic" else len(content)
    assert found + missed == objects
    assert 0.3 < missed / objects < 0.7
    assert sum(row["N_FP"] for row in per_class) == 0
    loc = metrics["All"]["LRP_Loc"] if task == "panoptic" else metrics["oLRP_Loc"]
    assert loc == pytest.approx(0, abs=1e-6)


def test_a_shift_costs_localisation_only_until_it_is_too_large(drawn):
    task, _, metrics_of = drawn
    key = (lambda m: m["Things"]["LRP_Loc"]) if task == "panoptic" else lambda m: m["oLRP_Loc"]
    assert 0 < key(metrics_of(Errors(0.3, 0, 0))) < key(metrics_of(Errors(0.9, 0, 0)))


def test_what_is_invented_is_a_false_positive(drawn):
    metrics = drawn[2](Errors(0, 0, 0.4))
    assert sum(row["N_FP"] for row in metrics["per_class"]) > 0 or metrics["AP"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [((-1, 0, 0), "shift must be at least 0"), ((0, 1, 0), r"missed must be in \[0, 1\)"),
     ((0, 0, np.inf), "invented must be in")],
)  # fmt: skip
def test_shares_out_of_their_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Errors(*options)


def test_another_task_is_refused(annotations, tmp_path):
    with pytest.raises(InputError, match="task must be one of"):
        draw_truth("boxes", annotations, tmp_path / "a.json")
