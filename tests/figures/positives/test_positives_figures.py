"""Positives of trained runs: what is read, what is computed from it, that it can be drawn."""

import json
import math

import numpy as np
import pytest
import torch
from rebalance.engine.positives import HeadPositives
from rebalance.errors import InputError
from rebalance.figures.positives import FIGURES
from rebalance.figures.positives import compute as positives
from rebalance.generators import generate_boxes


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


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
    held = [claim.holds for claim in positives.roi_source_checks(series, {})]
    assert held[0]  # concentrated near 0.5
    corners = positives.corner_checks(series, numbers("bbgen_figure_6"))
    # Generated boxes stay within the limit and favour the outside.
    assert [check.holds for check in corners[:4]] == [False, False, True, False]
    inside, outside = (check.measured for check in corners[:2])
    assert (inside, outside) == pytest.approx((0.15, 0.33), abs=0.02)
    table = positives.roi_source_table(series).set_index("source")
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
    assert checks[0].measured == 0
    assert checks[1].measured == "nowhere"
    table = positives.regressor_table(series).dropna()  # none starts at 0.9 or above
    assert len(table) == 4
    assert (table["mean error after"] < table["mean error before"]).all()
    assert (table["degraded (%)"] == 0).all()


@pytest.mark.parametrize("what", FIGURES)
def test_every_figure_of_positives_is_drawn_with_its_table(series, what):
    shown = FIGURES[what]
    drawn = [text.get_text() for ax in shown.draw(series).axes for text in ax.texts]
    if shown.table is None:  # it is in the figure
        assert "mean error after" in " ".join(drawn)
    else:
        assert len(shown.table(series))


def loops_file(path, *ious):
    """One positive for each IoU of each loop."""
    gt = torch.tensor([[0.0, 0, 100, 100]], dtype=torch.float64)
    heads = []
    for loop, some in enumerate(ious, start=1):
        head = HeadPositives(f"stage{loop}", 1, 0.5)
        boxes = gt.repeat(len(some), 1)
        boxes[:, 2] = 100 * torch.tensor(some)
        head.add(boxes, gt.expand_as(boxes), torch.ones(len(some), dtype=torch.int64), boxes)
        heads.append(head.summary(num_images=1))
    return [write(path, {"heads": heads})]


def test_loops_that_raise_the_iou_are_told_from_those_that_do_not(tmp_path):
    low, middle, high = [0.55, 0.55, 0.65], [0.65, 0.75], [0.85, 0.95]
    made = positives.load_positives({
        "Mask R-CNN": loops_file(tmp_path / "a.json", low),
        "falling": loops_file(tmp_path / "b.json", high, middle, low),
        "rising": loops_file(tmp_path / "c.json", low, middle, high),
    })  # fmt: skip
    assert made["rising"].loops.sum(axis=1).tolist() == [3, 2, 2]
    assert made["rising"].iou_counts.sum() == 3  # of the first alone
    assert [claim.holds for claim in positives.loop_checks(made, {})] == [True] * 4
    turned = dict(zip(made, [made["falling"], made["rising"], made["falling"]], strict=True))
    # Their first loop is the same; two loops, 0.55 0.65 0.75 ..., spread more either way.
    assert [claim.holds for claim in positives.loop_checks(turned, {})][2:] == [False, False]
    table = positives.loop_table(made)
    assert table[table["detector"] == "rising"]["0.9 to 1.0"].tolist() == [0, 0, 0.5]


def test_no_positives_are_a_result(tmp_path, numbers):
    head = HeadPositives("stage1", 2, 0.5).summary(num_images=3)
    empty = positives.load_positives({"RPN": [write(tmp_path / "p.json", {"heads": [head]})]})
    for what, target in (("sources", "bbgen_figure_5_trained"), ("corners", "bbgen_figure_6"),
                         ("near_half", "thesis_figure_3_14"),
                         ("regressor", "thesis_figure_3_12")):  # fmt: skip
        given = {} if what == "sources" else numbers(target)
        assert FIGURES[what].checks(empty, given)
        shown = FIGURES[what]
        assert shown.table is None or len(shown.table(empty))
        assert shown.draw(empty).axes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "p.json: not valid JSON"),
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
