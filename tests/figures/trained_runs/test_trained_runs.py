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


# thesis Figures 7.3 and 7.4 ----------------------------------------------------------------------


def objective_log(path, num=200, **columns):
    steps = np.arange(num)
    pd.DataFrame({
        "iteration": steps + 1, "lr": 0.1, "loss": 1.0,
        **{name: make(steps) for name, make in columns.items()},
    }).to_csv(path, index=False)  # fmt: skip
    return [str(path)]


@pytest.mark.parametrize(
    ("weight", "falls", "holds"),
    [(4, 1, [True, True]), (40, 1, [False, True]), (4, -1, [True, False])],
)
def test_a_localisation_component_is_balanced_with_the_whole(tmp_path, weight, falls, holds):
    """Classes 0.6 and localisation 0.2: the whole is 0.8, and 4 the weight that balances."""
    log = objective_log(
        tmp_path / "log.csv",
        class_loss=lambda t: 0.6 * np.exp(-falls * t / 100),
        localisation=lambda t: 0.2 * np.exp(-falls * t / 100),
        box_loss=lambda t: weight * 0.2 * np.exp(-falls * t / 100),
    )
    parts = trained_runs.alrp_parts({"aLRP": log}, [])
    first = parts.groupby("part", sort=False)["value"].first()
    assert first.tolist() == pytest.approx([0.8, 0.6, 0.2 * weight])
    assert [claim.holds for claim in trained_runs.alrp_part_checks(parts, {})] == holds
    assert FIGURES["alrp_parts"].draw(parts, "shapes").axes


@pytest.mark.parametrize(("off", "spread", "slow", "holds"), [
    (0, 2, 10, [True, True, True, True]), (0.01, 2, 10, [True, True, False, True]),
    (0, 1, 10, [False, False, True, True]), (0, 2, 1000, [True, True, True, False]),
])  # fmt: skip
def test_balanced_gradients_are_told_from_others(tmp_path, off, spread, slow, holds):
    def wave(t):
        return spread ** np.sin(t)

    runs = {
        "cross entropy": objective_log(tmp_path / "ce.csv", gradient_ratio=wave,
                                       class_loss=lambda t: np.exp(-t / slow)),
        "focal": objective_log(tmp_path / "fl.csv", gradient_ratio=lambda t: 5 * wave(t),
                               class_loss=lambda t: np.exp(-t / 100)),
        # An iteration without positives has a ratio of 0, which is none.
        "aLRP": objective_log(tmp_path / "alrp.csv", class_loss=lambda t: np.exp(-t / 200),
                              gradient_ratio=lambda t: np.where(t == 7, 0, 1 + off * (t == 9))),
    }  # fmt: skip
    curves = trained_runs.gradient_balance(runs, [])
    claims = trained_runs.gradient_balance_checks(curves, {})
    assert [claim.holds for claim in claims] == holds
    assert FIGURES["gradient_balance"].draw(curves, "shapes").axes


@pytest.mark.parametrize(("rate", "pull", "length", "loss", "holds"), [
    (1, lambda t: 1 - t / 400, 200, lambda t: np.abs(1 - t / 100), [True, True, True, True]),
    (1, lambda t: 1 - t / 400, 150, lambda t: 1 - t / 200, [True, True, True, True]),  # ends early
    (0.9, lambda t: 1 + t / 400, 200, lambda t: 1 - t / 400, [False, False, False, False]),
    (1, lambda t: 0.5 + t / 400, 200, lambda t: 1 - t / 400, [True, True, False, False]),
])  # fmt: skip
def test_what_a_wrong_target_does_is_told(tmp_path, rate, pull, length, loss, holds):
    def parts(of):
        return {"class_loss": lambda t: 0.75 * of(t), "localisation": lambda t: 0.25 * of(t)}

    runs = {
        "own error": objective_log(tmp_path / "own.csv", **parts(lambda t: np.exp(-t / 100)),
                                   gradient_ratio=lambda t: np.where(t == 7, 0, rate)),
        "zero": objective_log(tmp_path / "zero.csv", length, **parts(loss), gradient_ratio=pull),
    }  # fmt: skip
    curves = trained_runs.wrong_target(runs, [])
    first = curves.groupby("run", sort=False)["loss"].first()
    assert first.tolist() == pytest.approx([1, 1])
    claims = trained_runs.wrong_target_checks(curves, {})
    assert [claim.holds for claim in claims] == holds
    assert FIGURES["wrong_target"].draw(curves, "shapes").axes
