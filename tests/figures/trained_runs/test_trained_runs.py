"""AP by what was set, losses over a training: what is computed, and that each claim can fail."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from rebalance.config.experiments import load_experiments
from rebalance.errors import InputError
from rebalance.figures.trained_runs import FIGURES
from rebalance.figures.trained_runs import compute as trained_runs


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


# focal_eiou Figure 4 -----------------------------------------------------------------------------

PRINTED_SHAPE = {  # AP in per cent that follow every claim of the work
    ("baseline", "smooth L1"): {None: 35.9},
    ("a", "EIoU"): {1.0: 36.0, 2.5: 37.0, 3.0: 36.5},
    ("b", "FocalL1"): {0.4: 36.0, 0.8: 36.5, 1.0: 36.2},
    ("b", "Focal-EIoU (v1)"): {0.8: 36.8},
    ("c", "Focal-EIoU"): {0.5: 37.5, 2.0: 35.5},
    ("c", "Focal-EIoU*"): {0.5: 37.2, 2.0: 30.0},
}


def settings_frame(tmp_path, changes=(), seeds=1):
    changes = dict(changes)
    runs, rows = {}, []
    for (panel, name), values in PRINTED_SHAPE.items():
        for value, ap in values.items():
            ap = changes.get((name, value), ap)
            label = f"{panel}, {name}, {value}"
            runs[label] = [
                write(tmp_path / f"{label}_{seed}.json", {"AP": (ap + seed) / 100})
                for seed in range(seeds)
            ]
            printed = {"AP": 37.0} if (name, value) == ("EIoU", 2.5) else {}
            setting = {"panel": panel, "series": name, "value": value}
            rows.append({"setting": setting, "reported": printed})
    return trained_runs.loss_settings(runs, rows)


def test_the_shape_that_the_work_describes_fulfils_every_claim(tmp_path, numbers):
    frame = settings_frame(tmp_path)
    claims = trained_runs.loss_setting_checks(frame, numbers("focal_eiou_figure_4"))
    assert all(claim.holds for claim in claims), [c for c in claims if not c.holds]
    point = frame[(frame["series"] == "EIoU") & (frame["value"] == 2.5)].iloc[0]
    assert (point["AP"], point["reported"]) == pytest.approx((37.0, 37.0))
    assert math.isnan(point["spread"])


@pytest.mark.parametrize(
    ("series_name", "value", "ap", "failing"),
    [
        ("EIoU", 3.0, 37.1, {2, 3}),
        ("Focal-EIoU (v1)", 0.8, 37.1, {6}),
        ("EIoU", 2.5, 36.45, {0, 1, 2, 3, 6}),
        ("FocalL1", 1.0, 36.6, {5}),
        ("Focal-EIoU", 2.0, 36.0, {8}),
        ("Focal-EIoU*", 2.0, 37.1, {10}),
    ],
)
def test_each_claim_can_fail(tmp_path, numbers, series_name, value, ap, failing):
    frame = settings_frame(tmp_path, {(series_name, value): ap}.items())
    claims = trained_runs.loss_setting_checks(frame, numbers("focal_eiou_figure_4"))
    assert {index for index, claim in enumerate(claims) if not claim.holds} == failing


def test_printed_points_are_drawn_at_the_paper_scale_only(tmp_path):
    frame = settings_frame(tmp_path, seeds=2)
    assert frame["spread"].notna().all()
    labels = {
        scale: FIGURES["loss_settings"].draw(frame, scale).axes[0].get_legend_handles_labels()[1]
        for scale in ("shapes", "paper")
    }
    assert "reported" in labels["paper"]
    assert "reported" not in labels["shapes"]


def test_the_shipped_grids_hold_what_the_claims_ask_for(repository):
    experiments = load_experiments(repository, check_runs=False)
    target = experiments.targets["focal_eiou_figure_4"]
    grids = {}
    for row in target.rows:
        grids.setdefault(row.setting["series"], []).append(row.setting["value"])
    assert grids.keys() == {name for _, name in PRINTED_SHAPE}
    for (_, name), values in PRINTED_SHAPE.items():
        assert set(values) <= set(grids[name])
    assert len({row.run for row in target.runs}) == len(target.rows)


# thesis Figure 3.17 ------------------------------------------------------------------------------


def log_file(path, classification, regression, num=200):
    steps = np.arange(num)
    pd.DataFrame({
        "iteration": steps + 1, "lr": 0.1, "loss": 1.0,
        "rpn_class_loss": 0.7 * np.exp(-steps / classification),
        "rpn_box_loss": 0.1 * np.exp(-steps / regression),
    }).to_csv(path, index=False)  # fmt: skip
    return str(path)


@pytest.mark.parametrize(("regression", "holds"), [(100, True), (5, False)])
def test_which_loss_falls_faster_is_seen_relative_to_its_start(tmp_path, regression, holds):
    runs = {"RPN": [log_file(tmp_path / "log.csv", 30, regression)]}
    losses = trained_runs.rpn_losses(runs, [])
    claims = trained_runs.rpn_loss_checks(losses, {})
    assert [claim.holds for claim in claims] == [holds, holds]
    assert losses.groupby("loss")["left"].first().between(0.8, 1.4).all()
    assert FIGURES["rpn_losses"].draw(losses, "shapes").axes


def test_a_log_without_an_rpn_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("iteration,lr,loss\n1,0.1,1.0\n")
    with pytest.raises(InputError, match=r"log.csv: no column 'rpn_class_loss'"):
        trained_runs.rpn_losses({"RPN": [str(tmp_path / "log.csv")]}, [])
