"""Statistics of the positives: by hand, and of generated RoIs against closed forms."""

import math

import pytest
import torch
from rebalance.generators import IOU_PRESETS, generate_boxes, generate_positive_rois, quadrant_areas
from rebalance.samplers.statistics import ForegroundStatistics, corner_shares, relative_corners


def test_relative_corners_by_hand():
    gts = torch.tensor([[100.0, 200, 110, 220], [0, 0, 3, 3]])
    boxes = torch.tensor([[105.0, 195, 120, 230], [0, 0, 3, 3]])
    # Half a width to the right of the corner, a quarter of a height above it.
    expected = torch.tensor([[0.3 + 0.15, 0.3 - 0.075], [0.3, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(relative_corners(boxes, gts), expected)


def test_corner_shares_by_hand():
    points = torch.tensor([[0.4, 0.4], [0.2, 0.2], [0.2, 0.1], [0.2, 0.4], [0.4, 0.2]])
    assert corner_shares(points) == pytest.approx((0.2, 0.4, 0.4))
    assert all(math.isnan(share) for share in corner_shares(torch.zeros(0, 2)))


def test_corners_of_generated_boxes_are_within_the_quadrants_shares():
    # With the top-left corner first it is uniform, so its shares are those of the areas.
    num = 50_000
    gts = torch.tensor([[10.0, 10, 60, 40]]).repeat(num, 1)
    boxes = generate_boxes(gts, 0.5, torch.Generator().manual_seed(0), "top_left")
    shares = corner_shares(relative_corners(boxes, gts))
    areas = quadrant_areas(torch.tensor([0.5]))
    total = areas.inside + areas.outside + 2 * areas.mixed
    expected = [float(areas.inside / total), float(areas.outside / total)]
    # paper/bbgen.yaml, figure 6
    assert expected == pytest.approx([0.133, 0.335], abs=5e-4)
    assert shares[:2] == pytest.approx(expected, abs=4 * (0.25 / num) ** 0.5)


def test_the_sums_by_hand():
    statistics = ForegroundStatistics(3, iou_edges=[0.5, 0.75, 1.0], max_points=2)
    gt = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 6], [0, 0, 10, 10], [0, 0, 10, 3]])
    statistics.add(boxes, gt.repeat(3, 1), torch.tensor([1, 3, 3]))  # IoU 0.6, 1.0, 0.3
    statistics.add(boxes[:1], gt, torch.tensor([3]))
    statistics.add(boxes[:0], gt[:0], torch.zeros(0, dtype=torch.int64))
    assert statistics.num_batches == 3
    assert statistics.mean_positives == pytest.approx(4 / 3)
    assert statistics.iou_counts.tolist() == [2, 1]
    assert statistics.iou_shares.tolist() == pytest.approx([2 / 4, 1 / 4])
    assert statistics.class_counts.tolist() == [1, 0, 3]
    assert statistics.batches_with_class.tolist() == [1, 0, 2]
    assert statistics.mean_class_counts.tolist() == pytest.approx([1 / 3, 0, 1])
    assert statistics.points.shape == (2, 2)
    assert statistics.points.flatten().tolist() == pytest.approx([0.3] * 4)


def test_nothing_added_is_nan():
    statistics = ForegroundStatistics(2)
    assert math.isnan(statistics.mean_positives)
    assert statistics.iou_shares.isnan().all()
    assert statistics.mean_class_counts.isnan().all()


def test_a_balanced_generator_has_equal_class_counts():
    statistics = ForegroundStatistics(7)
    boxes = torch.tensor([[10.0, 10, 50, 60], [60, 20, 90, 95], [5, 70, 45, 90]])
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        rois = generate_positive_rois(
            boxes, torch.tensor([7, 7, 2]), 32, *IOU_PRESETS["uniform"], (100, 100), rng=rng
        )
        statistics.add(rois.boxes, boxes[rois.gt_idxs], rois.labels)
    assert statistics.mean_class_counts.tolist() == [0, 16, 0, 0, 0, 0, 16]
    assert statistics.iou_shares.sum() == pytest.approx(1)


def test_what_does_not_belong_together_is_refused():
    statistics = ForegroundStatistics(2)
    box = torch.tensor([[0.0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r"got \[1, 4\], \[2, 4\] and \[1\]"):
        statistics.add(box, box.repeat(2, 1), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"labels must be in 1 ... 2, got \[3\]"):
        statistics.add(box, box, torch.tensor([3]))
    with pytest.raises(ValueError, match="iou_edges must be two or more and ascending"):
        ForegroundStatistics(2, iou_edges=[0.5])
