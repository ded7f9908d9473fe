"""Masks laid over their boxes, against the published code (golden data) and against a loop."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from rebalance.detectors import masks as masks_module
from rebalance.detectors.masks import (
    encode_masks,
    paste_masks,
    pasted_rles,
    resize_masks,
    resized_rles,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
GOLDEN = Path(os.environ.get("REBALANCE_GOLDEN", SHARED / "golden")) / "detectors"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="needs golden/detectors (REBALANCE_GOLDEN)"
)
MASK_HEADS = {
    "mask_rcnn_r50_fpn": ["mask_head.forward/0/out"],
    "mask_rcnn_gcb_r16": ["mask_head.forward/0/out"],
    "mask_rcnn_groie": ["mask_head.forward/0/out"],
    "ms_rcnn_r50_fpn": ["mask_head.forward/0/out"],
    "cascade_mask_rcnn_r50_fpn": [f"mask_head.{stage}.forward/0/out" for stage in range(3)],
    "htc_without_semantic_r50_fpn": [f"mask_head.{stage}.forward/0/mask" for stage in range(3)],
}


def golden_case(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    meta = json.loads(str(arrays["meta"]))
    return meta, lambda key: arrays[meta["alias"].get(key, key)]


def recorded_masks(get, where):
    width = get(f"{where}/masks_shape")[2]
    return np.unpackbits(get(f"{where}/masks_packed"), axis=-1)[..., :width].astype(bool)


@needs_golden
@pytest.mark.parametrize("phase", ["test", "test_rescale"])
@pytest.mark.parametrize("case", MASK_HEADS)
def test_pasted_masks_equal_those_of_the_published_code(case, phase):
    meta, get = golden_case(case)
    logits = [torch.tensor(get(f"test/roi_head.{site}")) for site in MASK_HEADS[case]]
    labels = get("test/multiclass_nms/0/out/1").astype(int)
    rows = np.arange(len(logits[0]))  # the first RoIs only are recorded; they are of image 0
    probabilities = torch.stack([of_stage.sigmoid() for of_stage in logits]).mean(dim=0)
    boxes = get("test/multiclass_nms/0/out/0")[rows, :4]
    image = meta["img_metas"][0]
    size = tuple(image["img_shape"][:2])
    if phase == "test_rescale":
        boxes = boxes / np.array(image["scale_factor"], dtype=np.float32)
        size = tuple(image["ori_shape"][:2])
    pasted = paste_masks(probabilities[rows, labels[rows]], torch.tensor(boxes), size)
    place_of = np.argsort(np.argsort(labels, kind="stable"))  # results are sorted by class
    expected = recorded_masks(get, f"{phase}/result/0")[place_of[rows]]
    assert expected.sum() > 100
    np.testing.assert_array_equal(pasted.numpy(), expected)


@needs_golden
@pytest.mark.parametrize("phase", ["test", "test_rescale"])
@pytest.mark.parametrize("image", [0, 1])
def test_resized_masks_are_those_of_the_published_code(image, phase):
    """YOLACT's come sorted by class; each has its equal among the recorded ones, and conversely."""
    _, get = golden_case("ranksort_yolact")
    expected = recorded_masks(get, f"{phase}/result/{image}")
    probabilities = torch.tensor(get(f"test/mask_head.forward/{image}/out/0"))
    resized = resize_masks(probabilities, expected.shape[1:]).numpy()
    assert expected.any()
    assert sorted(m.tobytes() for m in resized) == sorted(m.tobytes() for m in expected)


def interpolated_by_a_loop(probabilities, box, size):
    """Every pixel by the definition, in float64."""
    rows, columns = probabilities.shape
    x1, y1, x2, y2 = box
    values = np.zeros(size)
    for y, x in np.ndindex(size):
        u = (x + 0.5 - x1) / (x2 - x1) * columns - 0.5
        v = (y + 0.5 - y1) / (y2 - y1) * rows - 0.5
        for j in (math.floor(v), math.floor(v) + 1):
            for i in (math.floor(u), math.floor(u) + 1):
                if 0 <= j < rows and 0 <= i < columns:
                    weight = (1 - abs(v - j)) * (1 - abs(u - i))
                    values[y, x] += weight * probabilities[j, i]
    return values


@pytest.mark.parametrize("threshold", [0.2, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_pasting_equals_a_loop_over_pixels(seed, threshold):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((4, 5, 7))
    corners = rng.uniform(-10, 25, (4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 40, (4, 2))], axis=1)
    boxes[0] = [-8.0, -6, 70, 60]  # larger than the image
    ours = paste_masks(torch.tensor(probabilities), torch.tensor(boxes), (24, 30), threshold)
    for mask, values, box in zip(ours.numpy(), probabilities, boxes, strict=True):
        expected = interpolated_by_a_loop(values, box, (24, 30))
        clear = np.abs(expected - threshold) > 1e-5  # does not hang on rounding
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(mask[clear], (expected >= threshold)[clear])


def test_a_full_mask_covers_the_pixels_whose_centres_lie_well_inside_its_box_by_hand():
    full = torch.ones(2, 28, 28)
    boxes = torch.tensor([[2.0, 1, 8, 4], [3.25, 0, 6.75, 5]])
    masks = paste_masks(full, boxes, (5, 10))
    assert masks[0].nonzero().tolist() == [[y, x] for y in range(1, 4) for x in range(2, 8)]
    assert masks[1].any(dim=0).nonzero().flatten().tolist() == [3, 4, 5, 6]  # centres 3.5 ... 6.5


def test_boxes_without_extent_have_no_pixels_and_no_boxes_no_masks():
    flat = torch.tensor([[3.0, 1, 3, 4], [1, 2, 5, 2], [4, 4, 2, 5]])
    masks = paste_masks(torch.ones(3, 28, 28), flat, (6, 6))
    assert masks.shape == (3, 6, 6)
    assert masks.sum() == 0
    assert paste_masks(torch.ones(0, 28, 28), flat[:0], (6, 7)).shape == (0, 6, 7)
    assert resize_masks(torch.ones(0, 9, 9), (6, 7)).shape == (0, 6, 7)
    assert pasted_rles(torch.ones(0, 28, 28), flat[:0], (6, 7)) == []
    assert paste_masks(torch.ones(0, 28, 28), flat[:0], (6, 7)).dtype == torch.bool


def test_masks_in_parts_are_the_same_and_encode_as_pycocotools_does(monkeypatch):
    rng = np.random.default_rng(0)
    probabilities = torch.tensor(rng.random((9, 6, 6)), dtype=torch.float32)
    corners = torch.tensor(rng.uniform(0, 20, (9, 2)))
    boxes = torch.cat([corners, corners + 15], dim=1)
    size = (31, 40)
    whole = {
        "pasted": paste_masks(probabilities, boxes, size),
        "resized": resize_masks(probabilities, size),
    }
    monkeypatch.setattr(masks_module, "PIXELS_AT_A_TIME", 2 * size[0] * size[1])
    assert paste_masks(probabilities, boxes, size).equal(whole["pasted"])
    rles = {
        "pasted": pasted_rles(probabilities, boxes, size),
        "resized": resized_rles(probabilities, size),
    }
    for name, masks in whole.items():
        assert masks.any()
        assert rles[name] == encode_masks(masks) == json.loads(json.dumps(rles[name]))
        decoded = np.stack([coco_mask.decode(rle) for rle in rles[name]])
        np.testing.assert_array_equal(decoded.astype(bool), masks.numpy())
        assert all(rle["size"] == list(size) for rle in rles[name])
