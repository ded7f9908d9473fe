"""The positive RoI generator: allocation, thresholds, clamping."""

import numpy as np
import pytest
import torch
import yaml
from rebalance.generators import IOU_PRESETS, generate_positive_rois
from rebalance.generators.rois import LARGEST_MIN_IOU, _check_bins, _draw_thresholds

BOXES = torch.tensor(
    [[10.0, 10, 50, 60], [60, 20, 90, 95], [5, 70, 45, 90], [0, 0, 100, 100], [30, 30, 34, 70]]
)
LABELS = torch.tensor([7, 2, 7, 7, 5])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def generate(num, preset="uniform", boxes=BOXES, labels=LABELS, size=(100, 100), seed=0, **options):
    return generate_positive_rois(
        boxes, labels, num, *IOU_PRESETS[preset], size, rng=seeded(seed), **options
    )


def test_a_balanced_allocation_by_hand():
    # 18 RoIs, classes 2, 5, 7: 6 each; class 7 has three ground truths: 2 each.
    rois = generate(18)
    assert torch.bincount(rois.gt_idxs, minlength=5).tolist() == [2, 6, 2, 2, 6]
    assert torch.equal(rois.labels, LABELS[rois.gt_idxs])


def test_an_allocation_by_instance_by_hand():
    assert torch.bincount(generate(20, foreground_balanced=False).gt_idxs).tolist() == [4] * 5


@pytest.mark.parametrize("balanced", [True, False])
def test_shares_are_rounded_up_or_down_and_exact_on_average(balanced):
    num = 32
    counts = torch.stack(
        [
            torch.bincount(
                generate(num, seed=seed, foreground_balanced=balanced).gt_idxs, minlength=5
            )
            for seed in range(300)
        ]
    )
    # Classes 2, 5 and 7 hold 1, 1 and 3 ground truths.
    share = torch.tensor([1 / 9, 1 / 3, 1 / 9, 1 / 9, 1 / 3] if balanced else [1 / 5] * 5) * num
    assert (counts.sum(1) == num).all()
    assert (counts >= share.floor()).all()
    assert (counts <= share.ceil()).all()
    if balanced:
        per_class = counts[:, LABELS == 7].sum(1)
        assert set(per_class.tolist()) <= {10, 11}
    assert (counts.double().mean(0) - share).abs().max() < 4 * 0.5 / 300**0.5


def test_ious_are_those_of_the_boxes_and_reach_the_lowest_bin():
    rois = generate(2_000, "uniform_0.7")
    reference = BOXES[rois.gt_idxs].double()
    boxes = rois.boxes.double()
    inter = (
        torch.minimum(boxes[:, 2:], reference[:, 2:])
        - torch.maximum(boxes[:, :2], reference[:, :2])
    ).prod(1)
    union = (
        (boxes[:, 2:] - boxes[:, :2]).prod(1)
        + (reference[:, 2:] - reference[:, :2]).prod(1)
        - inter
    )
    torch.testing.assert_close(rois.ious, inter / union)
    assert (rois.ious >= 0.7).all()
    assert (rois.boxes >= 0).all()
    assert (rois.boxes <= 100).all()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        # paper/bbgen.yaml, figure 5: 100,000 boxes of an independent generator
        ("base_0.5", [0.898, 0.086, 0.014, 0.002, 0.0]),
        ("right_skew", [0.013, 0.078, 0.181, 0.306, 0.423]),
        ("uniform", [0.223, 0.213, 0.195, 0.194, 0.175]),
        ("left_skew", [0.467, 0.283, 0.165, 0.078, 0.008]),
    ],
)
def test_iou_distribution_of_the_sources_of_figure_5(preset, expected):
    num = 40_000
    # Far from every border, so that nothing is clamped.
    boxes = torch.tensor([[1000.0, 1000, 1100, 1300]])
    rois = generate(num, preset, boxes, torch.tensor([1]), (5000, 5000))
    shares = np.histogram(rois.ious, bins=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0])[0] / num
    assert np.abs(shares - expected).max() < 4 * (0.25 / num + 0.25 / 1e5) ** 0.5 + 5e-4


def test_thresholds_follow_the_normalised_weights_and_are_cut():
    num = 50_000
    bins, weights = _check_bins(*IOU_PRESETS["left_skew"])
    assert sum(weights) == pytest.approx(1.05)
    thresholds = _draw_thresholds(
        *torch.rand(2, num, generator=seeded(), dtype=torch.float64), bins, weights
    )
    shares = np.histogram(thresholds, bins=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0])[0] / num
    assert np.abs(shares - np.array(weights) / 1.05).max() < 4 * (0.25 / num) ** 0.5
    bins, weights = _check_bins(*IOU_PRESETS["uniform_0.9"])
    numbers = torch.rand(2, num, generator=seeded(), dtype=torch.float64)
    thresholds = _draw_thresholds(*numbers, bins, weights)
    assert thresholds.max() == LARGEST_MIN_IOU
    # Half of the bin [0.9, 1] lies above 0.95.
    assert (thresholds == LARGEST_MIN_IOU).double().mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("last", [1.0, 0.0])
def test_extreme_numbers_fall_into_bins_with_weight(last):
    bins, weights = _check_bins([0.5, 0.6, 0.7], [0.0, 1.0, last])
    extreme = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    thresholds = _draw_thresholds(extreme, torch.zeros(2, dtype=torch.float64), bins, weights)
    assert thresholds.tolist() == [0.6, 0.7 if last else 0.6]


def test_clamping_does_not_lower_the_iou_of_a_box_inside_the_image(shared_dir):
    golden = np.load(shared_dir / "golden" / "bbgen_1.npz")
    for boxes, (width, height) in zip(golden["input_boxes"], golden["image_wh"], strict=True):
        inside = torch.from_numpy(boxes)[None].clamp(min=0)
        inside = torch.minimum(inside, torch.tensor([[width, height] * 2]).float())
        rois = generate(200, "uniform", inside, torch.tensor([1]), (int(height), int(width)))
        assert (rois.ious >= 0.5).all()


def test_published_rois_after_clamping_have_the_same_mean_iou(shared_dir):
    golden = np.load(shared_dir / "golden" / "bbgen_1.npz")
    for i, (box, (width, height)) in enumerate(
        zip(golden["input_boxes"], golden["image_wh"], strict=True)
    ):
        for t, threshold in enumerate(golden["iou_threshold"]):
            rois = generate_positive_rois(
                torch.from_numpy(box)[None],
                torch.tensor([1]),
                2_000,
                [(float(threshold),) * 2],
                [1.0],
                (height, width),
                rng=seeded(i),
            )
            published = golden["boxes_iou"][i, t]
            error = published.std() / len(published) ** 0.5 + rois.ious.std() / 2_000**0.5
            assert abs(published.mean() - rois.ious.mean()) < 5 * error


def test_the_iou_of_a_ground_truth_over_the_border_is_reported_as_it_is():
    outside = torch.tensor([[-40.0, 10, 60, 60], [200, 200, 220, 240]])
    rois = generate(200, "uniform", outside, torch.tensor([1, 2]))
    over, beyond = rois.gt_idxs == 0, rois.gt_idxs == 1
    assert (rois.ious[over] < 0.7).all()  # 60 of 100 px are inside
    assert (rois.ious[over] > 0).all()
    assert (rois.ious[beyond] == 0).all()


def test_ground_truths_without_area_get_nothing():
    boxes = torch.cat([torch.tensor([[20.0, 20, 20, 40]]), BOXES, torch.tensor([[9.0, 9, 9, 9]])])
    labels = torch.cat([torch.tensor([7]), LABELS, torch.tensor([9])])
    rois = generate(18, boxes=boxes, labels=labels)
    assert torch.bincount(rois.gt_idxs, minlength=7).tolist() == [0, 2, 6, 2, 2, 6, 0]


@pytest.mark.parametrize("boxes", [torch.zeros(0, 4), torch.tensor([[5.0, 5, 5, 9]])])
def test_nothing_to_surround_gives_no_rois(boxes):
    rois = generate(32, boxes=boxes, labels=torch.ones(len(boxes), dtype=torch.int64))
    assert [len(field) for field in rois] == [0, 0, 0, 0]


def test_no_rois_asked_for():
    assert len(generate(0).boxes) == 0


def test_same_seed_same_rois_with_and_without_validation():
    for ours, again in zip(generate(64), generate(64, validate=False), strict=True):
        assert torch.equal(ours, again)


def test_presets_are_the_weights_of_table_9(shared_dir):
    tables = yaml.safe_load((shared_dir / "paper" / "bbgen.yaml").read_text())["tables"]
    (table,) = [table for table in tables if table["id"] == "bbgen/table_9"]
    for row in table["rows"]:
        name = row["roi_source"].removeprefix("proi_")
        preset = IOU_PRESETS[f"{name}_{row['iou']}" if row["iou"] else name]
        assert list(preset.weights) == row["iou_weights"]
        assert list(preset.bins) == table["recipe"]["iou_bins"]


@pytest.mark.parametrize(
    ("bins", "weights", "message"),
    [
        ([], [], "iou_bins must be ascending"),
        ([0.5, 1.2], [1, 1], "iou_bins must be ascending"),
        ([0.6, 0.5], [1, 1], "iou_bins must be ascending"),
        ([0.5, 0.6], [1], "bin_weights must be one per bin, got 1 weights and 2 bins"),
        ([0.5, 0.6], [0, 0], "bin_weights must be 0 or more and not all 0"),
        ([0.5, 0.6], [1, -1], "bin_weights must be 0 or more and not all 0"),
        ([0.5], [float("nan")], "bin_weights must be 0 or more and not all 0"),
    ],
)
def test_bad_bins_are_refused(bins, weights, message):
    with pytest.raises(ValueError, match=message):
        generate_positive_rois(BOXES, LABELS, 8, bins, weights, (100, 100))


def test_a_bad_ground_truth_is_named():
    boxes = torch.tensor([[0.0, 0, 5, 5], [8, 0, 6, 5]])
    with pytest.raises(ValueError, match="image 12, ground truth 1: x2 < x1"):
        generate(8, boxes=boxes, labels=torch.tensor([1, 1]), image=12)


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="gt_labels must be int64"):
        generate(8, labels=LABELS.int())
    with pytest.raises(ValueError, match=r"got \[5, 4\] and \[4\]"):
        generate(8, labels=LABELS[:4])
    with pytest.raises(ValueError, match="num_rois must be 0 or more"):
        generate(-1)
