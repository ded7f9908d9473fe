"""Figures of released models, from files that a real evaluation leaves."""

import json

import pytest
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.figures.released.compute import (
    MEAN,
    class_curves,
    in_words,
    interpolation_gains,
    optimal_thresholds,
    panoptic_checks,
    panoptic_errors,
    tau_sweep,
)
from rebalance.metrics.evaluate import evaluate
from rebalance.metrics.output import read_metrics


@pytest.fixture
def models(random_scene, tmp_path):
    """Function: kind of file -> one model, and its content by a direct evaluation."""
    truth, detections = random_scene(1, num_images=8)
    paths = {name: tmp_path / f"{name}.json" for name in ("gt", "detections", "metrics")}
    paths["gt"].write_text(json.dumps(truth))
    paths["detections"].write_text(json.dumps(detections))
    paths["matches"] = tmp_path / "matches.npz"
    main(["evaluate", "--gt", str(paths["gt"]), "--dt", str(paths["detections"]), "--out",
          str(paths["metrics"]), "--matches", str(paths["matches"])])  # fmt: skip

    def of(kind):
        return {"A": {"file": str(paths[kind]), "truth": str(paths["gt"]), "says": "stand-in: x"}}

    return of, evaluate(paths["gt"], paths["detections"])


def test_optima_of_the_curves_are_those_of_the_evaluation(models):
    of, metrics = models
    name = next(row["name"] for row in metrics["per_class"] if row["oLRP"] < 1)
    row = next(row for row in metrics["per_class"] if row["name"] == name)
    curves = class_curves(of("matches"), {"person": name, "toaster": None})
    assert list(curves) == [in_words("person", name)]
    best = curves[in_words("person", name)]["A"].optimum
    assert (best.olrp, best.threshold) == pytest.approx((row["oLRP"], row["threshold"]))
    with pytest.raises(InputError, match=r"matches.npz: no class 'unicorn', it has"):
        class_curves(of("matches"), {"person": "unicorn"})


def test_the_sweep_is_at_each_tau_what_an_evaluation_there_says(models):
    of, metrics = models
    sweep = tau_sweep(of("detections"), {}, (0.5, 0.7))
    mean = sweep[sweep["class"] == MEAN].set_index("tau")
    assert mean.loc[0.5, "oLRP"] == pytest.approx(metrics["oLRP"])
    model = of("detections")["A"]
    at_70 = evaluate(model["truth"], model["file"], tau=0.7)
    for name in ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"):
        assert mean.loc[0.7, name] == pytest.approx(at_70[name], nan_ok=True)


def test_numbers_of_a_class_are_read_off_its_metrics(models):
    of, metrics = models
    row = metrics["per_class"][0]
    gains = interpolation_gains(of("metrics"), {"person": row["name"], "toaster": None})
    assert gains["gain"].tolist() == pytest.approx([100 * (row["AP"] - row["AP_uninterpolated"])])
    defined = [r["threshold"] for r in metrics["per_class"] if r["threshold"] == r["threshold"]]
    assert optimal_thresholds(of("metrics"), {})["A"].tolist() == pytest.approx(defined)


def test_a_table_reads_a_class_or_a_group(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({
        "AP": 0.5, "Things": {"PQ": 0.4}, "per_class": [{"name": "bus", "AP": 0.25}],
    }))  # fmt: skip
    assert read_metrics(path, ["AP"]) == {"AP": 0.5}
    assert read_metrics(path, ["AP"], "bus") == {"AP": 0.25}
    assert read_metrics(path, ["PQ"], "Things") == {"PQ": 0.4}
    with pytest.raises(InputError, match=r"no class 'cow', it has \['AP', 'Things', 'bus'"):
        read_metrics(path, ["AP"], "cow")


@pytest.mark.parametrize(("says", "holds"), [("published results file", True), ("stand-in", None)])
def test_what_stands_in_decides_nothing_about_a_model(tmp_path, says, holds):
    path = tmp_path / "metrics.json"
    rows = [("a", 1, 0.2, 0.5), ("b", 0, 0.3, 0.4)]
    path.write_text(json.dumps({"per_class": [
        {"name": name, "isthing": thing, "LRP_FP": fp, "LRP_FN": fn} for name, thing, fp, fn in rows
    ]}))  # fmt: skip
    models = {"A": {"file": str(path), "truth": "", "says": says}}
    numbers = {"mean_gap_things_about": 20, "mean_gap_stuff_about": 10}
    things, stuff, *claims = panoptic_checks(panoptic_errors(models, {}), numbers, models)
    assert (things.measured, stuff.measured) == pytest.approx((30, 10))
    assert [claim.holds for claim in claims] == [holds, holds]
