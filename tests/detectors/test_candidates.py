"""Anchors, points and cells: the recorded grids, torchvision's, values by hand."""

import pytest
import torch
from rebalance.detectors.candidates import anchors, cells, make_grid, points, ssd_anchors
from rebalance.detectors.inside import InsideRule
from rebalance.errors import InputError
from torchvision.models.detection.anchor_utils import AnchorGenerator

from .recorded import Case, cases_with


def maps_of(*sizes, batch=2):
    return [torch.zeros(batch, 1, *size) for size in sizes]


def grid_as_recorded(case):
    """The recorded settings of the anchors, as ours."""
    settings = (case.model.get("rpn_head") or case.model["bbox_head"])["anchor_generator"]
    strides = settings["strides"]
    if settings["type"] == "SSDAnchorGenerator":
        sizes = [21, 45, 99, 153, 207, 261, 315]
        return ssd_anchors(strides, sizes=sizes, ratios=settings["ratios"])
    if "centers" in settings:
        return make_grid(
            "yolact_anchors", settings["base_sizes"], input_size=138,
            base_scale=settings["octave_base_scale"],
        )  # fmt: skip
    if "scales" in settings:
        return anchors(strides, scales=settings["scales"], ratios=settings["ratios"])
    return anchors(
        strides,
        base_scale=settings["octave_base_scale"],
        scales_per_octave=settings["scales_per_octave"],
        ratios=settings["ratios"],
    )


@cases_with("rpn_head.get_anchors", "bbox_head.get_anchors")
def test_anchors_are_the_recorded_ones(name):
    case = Case(name)
    head = "rpn_head" if case.calls("rpn_head.get_anchors") else "bbox_head"
    grid = grid_as_recorded(case)
    finest = [(38, 38)] if name == "ssd300_head" else []  # not recorded
    levels = range(len(grid.strides))
    sizes = finest + [
        case[f"train_a/{head}.forward/0/cls/{level}"].shape[-2:] for level in levels[len(finest) :]
    ]
    boxes, level_sizes = grid(maps_of(*sizes))
    call = f"train_a/{head}.get_anchors/0"
    compared = 0
    for image, meta in enumerate(case.meta["img_metas"]):
        taking_part = InsideRule("padded")(
            boxes, tuple(level_sizes), tuple(meta["img_shape"][:2]), (10**6, 10**6)
        )
        inside = torch.ones(len(boxes), dtype=torch.bool)
        if taking_part is not None:
            inside = torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, taking_part.rows, True)
        inside = inside.split(level_sizes)
        for level, of_level in enumerate(boxes.split(level_sizes)):
            if f"{call}/0/{image}/{level}" in case:
                recorded = case[f"{call}/0/{image}/{level}"]
                torch.testing.assert_close(of_level, recorded, rtol=1e-6, atol=1e-4)
                compared += 1
            if f"{call}/1/{image}/{level}" in case:
                assert torch.equal(inside[level], case[f"{call}/1/{image}/{level}"])
    assert compared >= 2 * (len(levels) - 1)


@pytest.mark.parametrize("options", [
    pytest.param({"base_scale": 4, "scales_per_octave": 3}, id="retinanet"),
    pytest.param({"base_scale": 8, "scales_per_octave": 1}, id="rpn"),
    pytest.param({"base_scale": 3.7, "scales_per_octave": 2, "ratios": (0.3, 1.7)}, id="odd"),
])  # fmt: skip
def test_rounded_anchors_are_torchvisions(options):
    maps = maps_of((5, 7), (3, 4), (1, 1))
    boxes, level_sizes = anchors([8, 16, 32], rounded=True, **options)(maps)
    base, octave = options["base_scale"], options["scales_per_octave"]
    sizes = tuple(
        tuple(base * stride * 2 ** (k / octave) for k in range(octave)) for stride in (8, 16, 32)
    )
    theirs = AnchorGenerator(sizes, (options.get("ratios", (0.5, 1.0, 2.0)),) * 3)
    strides = [[torch.tensor(stride)] * 2 for stride in (8, 16, 32)]
    theirs.set_cell_anchors(torch.float32, torch.device("cpu"))
    levels = theirs.grid_anchors([list(map_.shape[-2:]) for map_ in maps], strides)
    assert torch.equal(boxes, torch.cat(levels))
    assert level_sizes == [len(level) for level in levels]


def test_a_list_of_scales_says_the_same_as_octaves():
    maps = maps_of((2, 3))
    by_list, _ = anchors([8], scales=[4, 4 * 2**0.5], ratios=[1])(maps)
    by_octave, _ = anchors([8], base_scale=4, scales_per_octave=2, ratios=[1])(maps)
    assert torch.equal(by_list, by_octave)


def test_points_by_hand():
    """Stride 8: centres at 4, 12; base edge 16."""
    grid = points([8, 16], base_edges=[16, 32])
    boxes, level_sizes = grid(maps_of((1, 2), (1, 1)))
    assert level_sizes == [2, 1]
    assert boxes.tolist() == [[-12, -12, 20, 20], [-4, -12, 28, 20], [-24, -24, 40, 40]]
    assert grid.nums_per_cell == (1, 1)


def test_cells_divide_the_canvas_of_the_finest_map():
    """4 x 6 cells of stride 4: a canvas of 16 x 24 pixels."""
    grid = cells([4, 8], num_cells=[2, 1, 3])
    boxes, level_sizes = grid(maps_of((4, 6), (2, 3)))
    assert level_sizes == [4, 1, 9]
    assert boxes[:5].tolist() == [
        [0, 0, 12, 8], [12, 0, 24, 8], [0, 8, 12, 16], [12, 8, 24, 16], [0, 0, 24, 16],
    ]  # fmt: skip


def test_grids_are_kept_per_size():
    grid = anchors([8])
    first, again, other = (grid(maps_of(size))[0] for size in ((2, 3), (2, 3), (3, 2)))
    assert first is again
    assert first.shape == other.shape
    assert not torch.equal(first, other)
    for side in range(1, 200):  # sizes without end do not fill the memory
        grid(maps_of((1, side)))
    assert len(grid._kept) <= 64
    assert torch.equal(grid(maps_of((2, 3)))[0], first)


def test_levels_may_have_different_numbers_of_anchors():
    grid = ssd_anchors([8, 16], sizes=[10, 20, 40], ratios=[[2], [2, 3]])
    assert grid.nums_per_cell == (4, 6)
    _, level_sizes = grid(maps_of((2, 2), (1, 1)))
    assert level_sizes == [16, 6]


def test_long_sides_of_ssd_anchors_may_be_cut():
    """300: 261 at 2 : 1 is 369 x 185, cut to 300 x 185; the larger square is 287."""
    grid = ssd_anchors([300], sizes=[261, 315], ratios=[[2]], longest=300)
    boxes, _ = grid(maps_of((1, 1)))
    sides = (boxes[:, 2:] - boxes[:, :2]).tolist()
    geometric = (261 * 315) ** 0.5
    expected = [[261, 261], [geometric] * 2, [300, 261 / 2**0.5], [261 / 2**0.5, 300]]
    for side, wanted in zip(sides, expected, strict=True):
        assert side == pytest.approx(wanted)


@pytest.mark.parametrize(("call", "message"), [
    pytest.param(lambda: anchors([8], ratios=[1, 0]),
                 r"ratios of anchors must be > 0, got \[1, 0\]", id="ratio"),
    pytest.param(lambda: ssd_anchors([8], sizes=[3], ratios=[[2]]),
                 "ssd anchors of 1 levels take 1 lists of ratios and 2 sizes, got 1 and 1",
                 id="ssd"),
    pytest.param(lambda: points([8, 16], base_edges=[16]),
                 "base_edges of 2 levels must be as many, got 1", id="points"),
])  # fmt: skip
def test_bad_options_are_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()
