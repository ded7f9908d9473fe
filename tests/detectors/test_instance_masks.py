"""Masks from prototypes: sums, cuts to boxes, boxes around them, by hand; the steps' options."""

import copy

import pytest
import torch
from rebalance.detectors import build_detector
from rebalance.detectors.instance_masks import boxes_around, combine, cut_to_boxes
from rebalance.detectors.masks import resize_masks
from rebalance.errors import InputError

NECK = {"name": "fpn", "channels": 8, "first_level": 2, "num_levels": 3}
YOLACT = {
    "backbone": {"name": "plain", "widths": [8, 8, 8, 8]},
    "detector": {
        "neck": NECK,
        "heads": {"dense": {"name": "yolact", "channels": 8, "num_prototypes": 4,
                            "prototype_convs": 1, "prototype_channels": 8}},
        "prototypes": {
            "candidates": {"name": "yolact_anchors", "input_size": 64, "base_scale": 4},
            "coder": {"name": "deltas"},
            "assigner": {"name": "max_iou"},
            "sampler": {"name": "all"},
            "objective": {
                "name": "linear",
                "class": {"name": "softmax_cross_entropy"},
                "box": {"name": "smooth_l1"},
                "mask": {"name": "size_normalised_mask", "per": "masks"},
                "semantic": {"name": "semantic_cross_entropy", "per": "images"},
            },
        },
        "steps": [{"prototypes": "dense"}],
        "test": {"score_threshold": 0.05, "nms": {"name": "fast_nms", "iou": 0.5}},
    },
}  # fmt: skip
SOLO = {
    "backbone": YOLACT["backbone"],
    "detector": {
        "neck": NECK,
        "heads": {"dense": {"name": "solo", "num_convs": 1, "channels": 16, "num_prototypes": 8,
                            "mask_channels": 8, "mask_levels": 3, "prior": 0.3}},
        "grid": {
            "num_cells": [8, 6, 4],
            "assignment": {"scale_ranges": [[1, 32], [16, 64], [32, 128]]},
            "objective": {"name": "linear", "class": {"name": "focal", "per": "positives_and_one"},
                          "mask": {"name": "dice"}},
        },
        "steps": [{"grid": "dense"}],
        "test": {"score_threshold": 0.05, "nms": {"name": "matrix_nms"}, "max_detections": 7},
    },
}  # fmt: skip


def scene(*boxes):
    """One image of 64 x 64 with rectangles."""
    masks = torch.zeros(len(boxes), 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return {
        "boxes": torch.tensor(boxes).float().reshape(-1, 4),
        "labels": torch.ones(len(boxes), dtype=torch.int64),
        "ignored_boxes": torch.zeros(0, 4),
        "image_size": (64, 64),
        "image_id": 0,
        "masks": masks,
    }


def matched_of(settings, *targets, **changes):
    torch.manual_seed(0)
    detector = build_detector(settings, num_classes=3)
    for name, value in changes.items():
        setattr(detector.steps[0], name, value)
    rngs = [torch.Generator().manual_seed(k) for k in range(len(targets))]
    images = torch.randn(len(targets), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ((_, matched, losses),) = detector.train().train_steps(images, targets, rngs)
    return matched, losses


def test_masks_are_weighted_sums_of_their_own_images_prototypes():
    rng = torch.Generator().manual_seed(0)
    prototypes = torch.randn(3, 2, 4, 5, generator=rng)
    coefficients = torch.randn(4, 2, generator=rng)
    image = torch.tensor([0, 2, 2, 2])  # the middle one has none
    masks = combine(coefficients, prototypes, image)
    for mask, weights, owner in zip(masks, coefficients, image, strict=True):
        expected = weights[0] * prototypes[owner, 0] + weights[1] * prototypes[owner, 1]
        torch.testing.assert_close(mask, expected)
    assert combine(coefficients[:0], prototypes, image[:0]).shape == (0, 4, 5)


def test_cut_masks_reach_a_cell_beyond_their_box_by_hand():
    # 40 pixels are 10 cells: 13 ... 25 are 3.25 ... 6.25 cells, widened 2.25 ... 7.25: 3 ... 7.
    boxes = torch.tensor([[13.0, 0, 25, 40], [36, 4, 40, 8]])
    masks = cut_to_boxes(torch.ones(2, 10, 10), boxes, (40, 40), -1.0)
    assert masks[0].eq(1).any(dim=0).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    assert masks[0].eq(1).any(dim=1).all()
    assert masks[1].eq(1).nonzero()[[0, -1]].tolist() == [[0, 8], [2, 9]]
    assert masks.unique().tolist() == [-1, 1]


def test_boxes_lie_tightly_around_resized_masks():
    rng = torch.Generator().manual_seed(0)
    masks = torch.rand(5, 8, 8, generator=rng) ** 4
    masks[3] = 0
    boxes = boxes_around(masks, (32, 32), (20, 30), 0.5)
    for mask, box in zip(
        resize_masks(masks, (20, 30), 0.5, ((32, 32), (20, 30))), boxes, strict=True
    ):
        y, x = mask.nonzero(as_tuple=True)
        expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert box.tolist() == [float(side) for side in expected]
    assert (boxes[3] == 0).all()
    assert boxes_around(masks[:0], (32, 32), (20, 30), 0.5).shape == (0, 4)


def test_so_many_masks_of_an_image_are_drawn():
    crowded = scene((0, 0, 16, 16), (16, 16, 32, 32), (32, 32, 64, 64))
    everything, _ = matched_of(YOLACT, crowded, scene((8, 8, 24, 24)))
    counts = torch.bincount(everything.image[everything.owners.places]).tolist()
    assert everything.num_masks == len(everything.positives) == sum(counts)
    assert counts[0] > 2
    drawn, losses = matched_of(YOLACT, crowded, scene((8, 8, 24, 24)), max_masks=2)
    assert torch.bincount(drawn.image[drawn.owners.places]).tolist() == [2, min(2, counts[1])]
    assert len(drawn.mask_logits) == drawn.num_masks
    assert set(drawn.owners.places.tolist()) <= set(everything.owners.places.tolist())
    assert drawn.owners.gt.equal(drawn.matches.gt[drawn.owners.places])
    assert all(loss.isfinite() for loss in losses.values())


def test_semantic_targets_are_unions_by_class():
    target = scene((0, 0, 32, 32), (16, 16, 48, 48), (48, 48, 64, 64))
    target["labels"] = torch.tensor([2, 2, 3])
    matched, _ = matched_of(YOLACT, target)
    cells = torch.nn.functional.max_pool2d(target["masks"].float()[:, None], 4)[:, 0]
    expected = torch.stack([torch.zeros(16, 16), cells[:2].amax(dim=0), cells[2]])
    torch.testing.assert_close(matched.semantic_targets[0], expected)


def test_a_contested_cell_learns_one_class_and_all_masks_or_one_object():
    twins = scene((16, 16, 40, 40), (16, 16, 40, 40))
    twins["labels"] = torch.tensor([1, 2])
    settings = copy.deepcopy(SOLO)
    first, _ = matched_of(settings, twins)
    assert first.num_masks == len(first.positives) > 0
    assert (first.positive_labels == 1).all()
    settings["detector"]["grid"]["assignment"]["contested"] = "last"
    last, _ = matched_of(settings, twins)
    assert last.num_masks == 2 * len(last.positives)
    assert (last.positive_labels == 2).all()


@pytest.mark.parametrize("settings", [YOLACT, SOLO], ids=["yolact", "solov2"])
def test_losses_and_gradients_are_finite_without_objects_and_zero_masks_are_found(settings):
    _, losses = matched_of(settings, scene(), scene())
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()
    assert losses["mask_loss"] == 0
    detector = build_detector(settings, num_classes=3).eval()
    detector.test = detector.test._replace(score_threshold=1.0)
    (found,) = detector.predict(torch.zeros(1, 3, 64, 64), [(60, 64)])
    assert all(len(value) == 0 for value in found.values())
    assert found["canvas_mask_probabilities"].dim() == 3


@pytest.mark.parametrize("settings", [YOLACT, SOLO], ids=["yolact", "solov2"])
def test_a_canvas_of_any_size_will_do(settings):
    detector = build_detector(settings, num_classes=3).eval()
    (found,) = detector.predict(torch.randn(1, 3, 75, 90), [(75, 90)])
    assert found["canvas_mask_probabilities"].dim() == 3


def test_detections_by_masks_are_in_falling_order_and_boxed():
    torch.manual_seed(0)
    detector = build_detector(SOLO, num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for found in detector.predict(images, [(64, 64), (40, 56)]):
        assert 0 < len(found["scores"]) <= 7
        assert (found["scores"].diff() <= 0).all()
        assert found["canvas_mask_probabilities"].shape[1:] == (16, 16)
        assert found["boxes"].shape == (len(found["scores"]), 4)


@pytest.mark.parametrize(("settings", "nms", "message"), [
    (SOLO, {"name": "nms", "iou": 0.5}, "gives masks to compare, 'nms' compares boxes"),
    (YOLACT, {"name": "matrix_nms"}, "gives boxes to compare, 'matrix_nms' compares masks"),
])  # fmt: skip
def test_a_suppression_of_the_other_kind_is_refused(settings, nms, message):
    settings = copy.deepcopy(settings)
    settings["detector"]["test"]["nms"] = nms
    with pytest.raises(InputError, match=message):
        build_detector(settings, num_classes=3)


@pytest.mark.parametrize(("change", "message"), [
    ({"pairing": "objects"}, r"pairing: must be one of 'cells', 'published', got 'objects'"),
    ({"assignment": {"ranges": []}},
     r"assignment.ranges: unknown key 'ranges' .did you mean 'scale_ranges'"),
])  # fmt: skip
def test_bad_options_of_a_grid_are_refused(change, message):
    settings = copy.deepcopy(SOLO)
    settings["detector"]["grid"].update(change)
    with pytest.raises(InputError, match=message):
        build_detector(settings, num_classes=3)
