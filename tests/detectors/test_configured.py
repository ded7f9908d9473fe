"""Every detector of config/detectors.yaml, with the small settings of the shapes scale."""

from functools import reduce

import pytest
import torch
from rebalance.config.experiments import load_experiments
from rebalance.config.reading import merged
from rebalance.detectors import build_detector

from .conftest import make_target, rngs
from .golden import REPOSITORY

EXPERIMENTS = load_experiments(REPOSITORY, check_runs=False)
BACKBONE = {"name": "plain", "widths": [16, 32, 64, 64]}
SIZE = 96


@pytest.fixture(params=sorted(EXPERIMENTS.bases))
def detector(request):
    layers = EXPERIMENTS.detector_layers(request.param, "shapes")
    settings = reduce(merged, (layer.settings for layer in layers), {})
    torch.manual_seed(0)
    return build_detector({"backbone": BACKBONE, "detector": settings}, num_classes=3)


def target_of(boxes, labels):
    target = make_target(boxes, labels=labels, size=(SIZE, SIZE))
    masks = torch.zeros(len(boxes), SIZE, SIZE, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = 1
    return {**target, "masks": masks}


def test_it_trains_every_parameter_and_finds_nothing_without_error(detector):
    """DDP waits for the gradient of each parameter; one image has no object."""
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    targets = [
        target_of([[4, 6, 30, 34], [40, 30, 60, 52], [50, 56, 92, 90]], [1, 3, 2]),
        target_of([], None),
    ]
    losses = detector(images, targets, rngs(2))
    assert all(loss.isfinite() for loss in losses.values())
    assert sum(losses.values()) > 0
    sum(losses.values()).backward()
    trained = {name: p for name, p in detector.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in trained.values())
    detector.test = detector.test._replace(score_threshold=1.0)
    for found in detector.eval().predict(images, [(SIZE, SIZE), (SIZE, SIZE - 16)]):
        assert found["boxes"].shape == (0, 4)
        assert found["scores"].shape == found["labels"].shape == (0,)


def test_without_any_object_it_trains_every_parameter(detector):
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    losses = detector(images, [target_of([], None)] * 2, rngs(2))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    trained = {name: p for name, p in detector.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None] == []


@pytest.mark.parametrize("base", ["solov2", "rs_solov2"])
def test_cells_have_no_boxes_to_log_the_iou_of(base):
    settings = EXPERIMENTS.detector_settings(base, "shapes")
    settings["grid"]["objective"]["log"] = True
    detector = build_detector({"backbone": BACKBONE, "detector": settings}, num_classes=3)
    values = detector(torch.zeros(1, 3, SIZE, SIZE), [target_of([[4, 6, 30, 34]], [1])], rngs(1))
    assert "gradient_ratio" in values
    assert "score_iou_correlation" not in values
