"""Figures of trained runs: what is read, what is computed from it, that they can be drawn."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from rebalance.analysis import class_accuracy as classes
from rebalance.analysis import positives, trained_runs
from rebalance.analysis.pages import measured_checks
from rebalance.engine.positives import HeadPositives
from rebalance.errors import InputError
from rebalance.experiments import load_experiments
from rebalance.generators import generate_boxes
from rebalance.plots.class_accuracy import plot_class_accuracy
from rebalance.plots.positives import FIGURES as POSITIVE_FIGURES
from rebalance.plots.trained_runs import FIGURES as RUN_FIGURES


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def numbers(repository):
    """What the works print about a figure."""
    experiments = load_experiments(repository, check_runs=False)
    return lambda name: experiments.targets[name].settings["numbers"]


def positives_file(path, seed, num=3000):
    """Generated boxes as if they were RoIs; the regressor moves each a tenth of its way on."""
    head = HeadPositives("stage1", 1, 0.5)
    gt = torch.tensor([[10.0, 20, 40, 60]], dtype=torch.float64).repeat(num, 1)
    boxes = generate_boxes(gt, 0.5, torch.Generator().manual_seed(seed))
    head.add(boxes, gt, torch.ones(num, dtype=torch.int64), boxes + 0.1 * (gt - boxes))
    return write(path, {"heads": [head.summary(num_images=100)]})


@pytest.fixture
def series(tmp_path):
    files = [positives_file(tmp_path / f"{seed}.json", seed) for seed in (0, 1)]
    return positives.load_positives({"RPN": files})


def test_seeds_are_pooled_and_drawn_from_the_first(series, tmp_path):
    alone = positives.load_positives({"one": [str(tmp_path / "0.json")],
                                      "two": [str(tmp_path / "1.json")]})  # fmt: skip
    both, one, two = series["RPN"], alone["one"], alone["two"]
    assert both.iou_counts.sum() == 6000
    np.testing.assert_array_equal(both.iou_counts, one.iou_counts + two.iou_counts)
    np.testing.assert_array_equal(both.counts, one.counts + two.counts)
    assert torch.equal(both.corners, one.corners)
    first = [made.bins.iloc[0] for made in (one, two)]
    error = sum(line["num"] * line["error_after"] for line in first) / sum(
        line["num"] for line in first
    )
    assert both.bins.iloc[0]["error_after"] == pytest.approx(error, abs=1e-12)
    assert sum(both.tenth_shares) == pytest.approx(1)


def test_a_source_that_is_the_base_source_is_told_from_an_rpn(series, numbers):
    held = [check.holds for check in positives.source_checks(series, {})]
    assert held[0]  # concentrated near 0.5
    corners = positives.corner_checks(series, numbers("bbgen_figure_6"))
    # Generated boxes stay within the limit and favour the outside.
    assert [check.holds for check in corners[:2]] == [True, False]
    table = positives.source_table(series).set_index("source")
    assert table.loc["RPN", "RoIs"] == 6000
    assert table.loc["RPN"].drop("RoIs").sum() == pytest.approx(1)
    assert list(table.index)[-1] == "RPN"


def test_points_beyond_the_limit_by_hand():
    # The reference is (0.3, 0.3, 0.6, 0.6): a corner at (0.3, 0) spans twice its area.
    assert positives.points_beyond(torch.tensor([[0.3, 0.0], [0.3, 0.01]]).double()) == 0
    assert positives.points_beyond(torch.tensor([[0.3, -0.01], [0.46, 0.3]]).double()) == 2


def test_crowding_is_one_for_evenly_spread_points():
    grid = torch.cartesian_prod(*[torch.linspace(0, 0.45, 451).double()] * 2)
    kept = grid[[positives.points_beyond(point[None]) == 0 for point in grid[::7]] and slice(None)]
    boxes = torch.cat([kept, torch.full_like(kept, 0.6)], dim=1)
    inter = (0.6 - kept.clamp(min=0.3)).prod(dim=1)
    iou = inter / ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + 0.09 - inter)
    assert positives.crowding(kept[iou >= 0.5]) == pytest.approx(1, abs=0.02)
    assert positives.crowding(torch.full((5, 2), 0.3).double()) > 5
    assert math.isnan(positives.crowding(torch.zeros(0, 2).double()))


def test_a_regressor_that_always_helps_contradicts_the_work(series, numbers):
    checks = positives.regressor_checks(series, numbers("thesis_figure_3_12"))
    assert [check.holds for check in checks] == [False, False]
    assert checks[0].ours == "0.000"
    assert checks[1].ours == "nowhere"
    table = positives.regressor_table(series).dropna()  # none starts at 0.9 or above
    assert len(table) == 4
    assert (table["mean error after"] < table["mean error before"]).all()
    assert (table["degraded (%)"] == 0).all()


@pytest.mark.parametrize("what", POSITIVE_FIGURES)
def test_every_figure_of_positives_is_drawn_with_its_table(series, what):
    assert POSITIVE_FIGURES[what](series).axes
    assert len(positives.TABLES[what](series))


def test_no_positives_are_a_result(tmp_path, numbers):
    head = HeadPositives("stage1", 2, 0.5).summary(num_images=3)
    empty = positives.load_positives({"RPN": [write(tmp_path / "p.json", {"heads": [head]})]})
    for what, target in (("sources", "bbgen_figure_5_trained"), ("corners", "bbgen_figure_6"),
                         ("near_half", "thesis_figure_3_14"),
                         ("regressor", "thesis_figure_3_12")):  # fmt: skip
        given = {} if what == "sources" else numbers(target)
        assert positives.CHECKS[what](empty, given)
        assert len(positives.TABLES[what](empty))
        assert POSITIVE_FIGURES[what](empty).axes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "p.json: not JSON"),
        ("{}", "p.json: heads"),
        ('{"heads": []}', "p.json: heads"),
        ('{"heads": [{"corners": []}]}', r"p.json: heads\[0\] has no .*iou_counts"),
    ],
)
def test_a_damaged_file_of_positives_is_named(tmp_path, content, message):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match=message):
        positives.load_positives({"RPN": [str(tmp_path / "p.json")]})
    with pytest.raises(InputError, match=r"q.json: no such file"):
        positives.load_positives({"RPN": [str(tmp_path / "q.json")]})


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
    checks = trained_runs.loss_setting_checks(frame, numbers("focal_eiou_figure_4"))
    assert all(check.holds for check in checks), [c for c in checks if not c.holds]
    point = frame[(frame["series"] == "EIoU") & (frame["value"] == 2.5)].iloc[0]
    assert (point["AP"], point["reported"]) == pytest.approx((37.0, 37.0))
    assert math.isnan(point["spread"])


@pytest.mark.parametrize(
    ("series_name", "value", "ap", "failing"),
    [
        ("EIoU", 3.0, 37.1, {0, 1}),
        ("Focal-EIoU (v1)", 0.8, 37.1, {4}),
        ("FocalL1", 1.0, 36.6, {3}),
        ("Focal-EIoU", 2.0, 36.0, {6}),
        ("Focal-EIoU*", 2.0, 37.1, {8}),
    ],
)
def test_each_claim_can_fail(tmp_path, numbers, series_name, value, ap, failing):
    frame = settings_frame(tmp_path, {(series_name, value): ap}.items())
    checks = trained_runs.loss_setting_checks(frame, numbers("focal_eiou_figure_4"))
    assert {index for index, check in enumerate(checks) if not check.holds} == failing


def test_printed_points_are_drawn_at_the_paper_scale_only(tmp_path):
    frame = settings_frame(tmp_path, seeds=2)
    assert frame["spread"].notna().all()
    labels = {
        scale: RUN_FIGURES["loss_settings"](frame, scale).axes[0].get_legend_handles_labels()[1]
        for scale in ("shapes", "paper")
    }
    assert "reported" in labels["paper"]
    assert "reported" not in labels["shapes"]


def test_the_shipped_grids_hold_what_the_claims_ask_for(repository):
    experiments = load_experiments(repository, check_runs=False)
    target = experiments.targets["focal_eiou_figure_4"]
    grids = {}
    for row in target.settings["rows"]:
        grids.setdefault(row["setting"]["series"], []).append(row["setting"]["value"])
    assert grids.keys() == {name for _, name in PRINTED_SHAPE}
    for (_, name), values in PRINTED_SHAPE.items():
        assert set(values) <= set(grids[name])
    assert len({row["run"] for row in target.settings["rows"]}) == len(target.settings["rows"])


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
    checks = trained_runs.rpn_loss_checks(losses, {})
    assert [check.holds for check in checks] == [holds, holds]
    assert losses.groupby("loss")["left"].first().between(0.8, 1.4).all()
    assert RUN_FIGURES["rpn_losses"](losses, "shapes").axes


def test_a_log_without_an_rpn_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("iteration,lr,loss\n1,0.1,1.0\n")
    with pytest.raises(InputError, match=r"log.csv: no column 'rpn_class_loss'"):
        trained_runs.rpn_losses({"RPN": [str(tmp_path / "log.csv")]}, [])


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
    assert all(check.holds for check in classes.class_checks(table))
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
    assert all(check.holds for check in classes.class_checks(table))
    drawn = {
        scale: plot_class_accuracy(table, scale).axes[0].get_legend_handles_labels()[1]
        for scale in ("shapes", "paper")
    }
    assert ("reported" in drawn["paper"], "reported" in drawn["shapes"]) == (True, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("{}", "per_class"), ('{"per_class": [{"name": "x"}]}', "per_class.*AP")],
)
def test_damaged_metrics_are_named(tmp_path, content, message):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(InputError, match=rf"m.json: .*{message}|m.json: {message}"):
        classes.read_class_aps(tmp_path / "m.json")


# Pages and targets -------------------------------------------------------------------------------


def test_checks_of_what_is_measured_name_the_scale():
    page = measured_checks([], "shapes", "small networks")
    assert "measured at the shapes scale" in page
    assert "small networks" in page
    assert "no reproduction" in page
    assert "no reproduction" not in measured_checks([], "paper", "the works' own")


def test_every_figure_of_runs_is_made_of_what_there_is(repository):
    experiments = load_experiments(repository, check_runs=False)
    offered = {
        "positives": set(POSITIVE_FIGURES) & set(positives.CHECKS) & set(positives.TABLES),
        "trained_runs": set(RUN_FIGURES) & set(trained_runs.CHECKS) & set(trained_runs.LOADERS),
        "class_accuracy": {None},
    }
    figures = [
        target for target in experiments.targets.values()
        if target.is_trained and not target.is_table and not target.is_curves
    ]  # fmt: skip
    assert len(figures) == 9
    used = {(t.settings["notebook"], t.settings["parameters"].get("what")) for t in figures}
    assert used == set(itertools.chain.from_iterable(
        ((notebook, what) for what in names) for notebook, names in offered.items()
    ))  # fmt: skip
    for target in figures:
        assert target.settings["parameters"]["lead"].startswith("Look")
