"""LRP-optimal thresholds applied to detections."""

import json

import pytest
from rebalance.cli import main
from rebalance.errors import InputError
from rebalance.metrics import apply_thresholds, evaluate


def test_what_is_left_attains_olrp(golden_lrp):
    golden = golden_lrp(0)
    metrics = evaluate(golden["gt"], golden["results"], operating_points="scores")
    kept = apply_thresholds(metrics, golden["results"])
    assert 0 < len(kept) < len(golden["results"])
    hard = evaluate(golden["gt"], kept, threshold=0.0)
    for before, after in zip(metrics["per_class"], hard["per_class"], strict=True):
        if before["N_GT"]:
            assert after["LRP"] == pytest.approx(before["oLRP"], abs=1e-12)
            counts = ("N_TP", "N_FP", "N_FN") if before["N_TP"] else ()
            assert [after[key] for key in counts] == [before[key] for key in counts]


METRICS = {
    "per_class": [
        {"category_id": 1, "threshold": 0.5},
        {"category_id": 2, "threshold": None},
    ]
}
RESULTS = [
    {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.4},
    {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5},
    {"image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.9},
]


@pytest.mark.parametrize(("undefined", "left"), [("drop", [1]), ("keep", [1, 2])])
def test_an_equal_score_stays_and_undefined_is_a_choice(undefined, left):
    assert apply_thresholds(METRICS, RESULTS, undefined) == [RESULTS[n] for n in left]


def test_no_detections_stay_no_detections():
    assert apply_thresholds(METRICS, []) == []


@pytest.mark.parametrize(
    ("metrics", "results", "message"),
    [
        ({}, RESULTS, "metrics: per_class must be a list"),
        (
            {"per_class": [{"category_id": 1}]},
            RESULTS,
            r"metrics: per_class\[0\].threshold: is missing",
        ),
        (
            {"per_class": [{"category_id": 1, "threshold": "high"}]},
            RESULTS,
            r"per_class\[0\].threshold: got 'high', must be a number or null",
        ),
        (
            METRICS,
            [*RESULTS, {"category_id": 3, "score": 0.5}],
            r"detections: results\[3\].category_id: got 3, must be a class of the metrics file",
        ),
        (METRICS, {"a": 1}, "detections: must be a list of results, got dict"),
    ],
)
def test_bad_files_are_named(metrics, results, message):
    with pytest.raises(InputError, match=message):
        apply_thresholds(metrics, results)


def test_command_follows_evaluate(golden_lrp, tmp_path, capsys):
    golden = golden_lrp(0)
    for name, content in (("gt", golden["gt"]), ("dt", golden["results"])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    gt, dt, metrics, out = (str(tmp_path / f"{n}.json") for n in ("gt", "dt", "metrics", "out"))
    assert main(["evaluate", "--gt", gt, "--dt", dt, "--out", metrics]) == 0
    assert main(["threshold", "--metrics", metrics, "--dt", dt, "--out", out]) == 0
    kept = json.loads((tmp_path / "out.json").read_text())
    assert kept == apply_thresholds(evaluate(golden["gt"], golden["results"]), golden["results"])
    assert f"kept {len(kept)} detections" in capsys.readouterr().out


def test_command_refuses_without_writing(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "dt.json").write_text("[]")
    paths = ["--metrics", f"{tmp_path}/metrics.json", "--dt", f"{tmp_path}/dt.json"]
    assert main(["threshold", *paths, "--out", f"{tmp_path}/out.json"]) == 2
    assert "metrics.json: per_class must be a list" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
