"""Grid cells against a loop over objects and cells, and by hand."""

import math

import pytest
import torch
from rebalance.assigners.grid import assign_grid, mask_centers
from rebalance.detectors.candidates import cells
from rebalance.errors import InputError

CANVAS = (96, 128)
NUM_CELLS = (8, 4)
RANGES = ((1, 40), (24, 200))


def grid():
    maps = [torch.zeros(1, 1, 24, 32)] * 2
    return cells((4, 8), num_cells=NUM_CELLS)(maps)


def scene(seed, num=6):
    rng = torch.Generator().manual_seed(seed)
    low = torch.rand(num, 2, generator=rng) * torch.tensor([90.0, 60])
    sides = 4 + torch.rand(num, 2, generator=rng) * 50
    boxes = torch.cat([low, (low + sides).minimum(torch.tensor([128.0, 96]))], dim=1)
    labels = torch.randint(1, 5, (num,), generator=rng)
    inner = low + (boxes[:, 2:] - low) * torch.rand(num, 2, generator=rng)
    return boxes, labels, inner


def claims_by_a_loop(boxes, centers):
    """(level, row, column, object) of every claim, objects within levels."""
    found = []
    for level, (num, (low, high)) in enumerate(zip(NUM_CELLS, RANGES, strict=True)):
        for gt, ((x1, y1, x2, y2), (x, y)) in enumerate(
            zip(boxes.tolist(), centers.tolist(), strict=True)
        ):
            if not low <= math.sqrt((x2 - x1) * (y2 - y1)) <= high:
                continue
            reach = []
            for center, side, limit in ((y, y2 - y1, CANVAS[0]), (x, x2 - x1, CANVAS[1])):
                at = [
                    int(p / limit * num) for p in (center - 0.1 * side, center, center + 0.1 * side)
                ]
                first, last = max(at[0], at[1] - 1, 0), min(at[2], at[1] + 1, num - 1)
                reach.append(range(first, last + 1))
            found += [(level, row, column, gt) for row in reach[0] for column in reach[1]]
    return found


def places(claims):
    starts = (0, NUM_CELLS[0] ** 2)
    return [starts[level] + row * NUM_CELLS[level] + column for level, row, column, _ in claims]


def assigned(boxes, labels, centers, **options):
    all_cells, sizes = grid()
    return assign_grid(
        all_cells, boxes, labels, gt_centers=centers, level_sizes=sizes, canvas=CANVAS,
        scale_ranges=RANGES, **options,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_claims_equal_those_of_a_loop(seed):
    boxes, labels, centers = scene(seed)
    claims = claims_by_a_loop(boxes, centers)
    found = assigned(boxes, labels, centers, contested="last")
    assert found.cells.tolist() == places(claims)
    assert found.gt_idxs.tolist() == [gt for *_, gt in claims]
    owner = dict(zip(places(claims), (gt for *_, gt in claims), strict=True))  # the last stays
    expected = [owner.get(cell, -1) for cell in range(80)]
    assert found.assignment.gt_idxs.tolist() == expected
    assert found.assignment.labels.tolist() == [
        int(labels[gt]) if gt >= 0 else 0 for gt in expected
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_first_keeps_a_contested_cell_and_is_the_only_one_there(seed):
    boxes, labels, centers = scene(seed)
    boxes[1], centers[1] = boxes[0], centers[0]  # at least these two
    claims = claims_by_a_loop(boxes, centers)
    owner = {}
    for cell, (*_, gt) in zip(places(claims), claims, strict=True):
        owner.setdefault(cell, gt)
    assert len(owner) < len(claims)
    found = assigned(boxes, labels, centers, contested="first")
    assert dict(zip(found.cells.tolist(), found.gt_idxs.tolist(), strict=True)) == owner
    assert len(found.cells) == len(owner)
    assert found.assignment.positives.nonzero().flatten().tolist() == sorted(owner)


def test_an_object_without_pixels_is_not_learnt():
    boxes, labels, centers = scene(0)
    centers[2] = torch.nan
    found = assigned(boxes, labels, centers)
    assert len(found.cells) > 0
    assert 2 not in found.gt_idxs


def test_crowds_hide_negative_cells_only():
    boxes = torch.tensor([[32.0, 24, 64, 48]])
    everything = torch.tensor([[0.0, 0, 128, 96]])
    found = assigned(boxes, torch.tensor([1]), torch.tensor([[48.0, 36]]), ignored_boxes=everything)
    assert found.assignment.positives.sum() == len(found.cells) > 0
    assert not found.assignment.negatives.any()


def test_nothing_is_assigned_without_objects():
    found = assigned(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2))
    assert found.assignment.negatives.all()
    assert len(found.cells) == len(found.gt_idxs) == 0


def test_centres_of_masks_by_hand():
    masks = torch.zeros(3, 4, 6, dtype=torch.uint8)
    masks[0, 1:3, 2:5] = 1  # rows 1, 2 and columns 2 ... 4
    masks[1, 3, 0] = 1
    expected = torch.tensor([[3.0, 1.5], [0, 3], [torch.nan, torch.nan]])
    torch.testing.assert_close(mask_centers(masks), expected, equal_nan=True)


@pytest.mark.parametrize(("options", "message"), [
    ({"contested": "largest"}, r"contested must be one of \('first', 'last'\), got 'largest'"),
    ({"scale_ranges": [[1, 2]]}, "scale_ranges must be one per level, got 1 for 2 levels"),
    ({"level_sizes": [63, 17]}, r"level_sizes of a grid must be squares, got \[63, 17\]"),
])  # fmt: skip
def test_bad_options_are_refused(options, message):
    boxes, labels, centers = scene(0)
    usual = {"level_sizes": [64, 16], "scale_ranges": RANGES}
    with pytest.raises(InputError, match=message):
        assign_grid(
            grid()[0], boxes, labels, gt_centers=centers, canvas=CANVAS, **{**usual, **options}
        )
