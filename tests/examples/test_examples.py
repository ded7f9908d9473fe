"""examples/: each short enough to copy, right where the answer is known, and trains."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
from rebalance.metrics import evaluate
from torchvision.models.detection import (
    fasterrcnn_mobilenet_v3_large_320_fpn,
    retinanet_resnet50_fpn,
    roi_heads,
)
from torchvision.ops import box_iou

NAMES = (
    "coco_results",
    "detr_matched_queries",
    "torchvision_faster_rcnn",
    "torchvision_generated_rois",
    "torchvision_retinanet",
)
SIZE = {"min_size": 64, "max_size": 64, "num_classes": 4}
NO_WEIGHTS = {"weights": None, "weights_backbone": None}
LOSSES = {"rank_sort": 2 / 3, "alrp": 1 / 2}
"""Name -> error of a positive below a negative: Rank & Sort counts half of itself in its rank."""
UNMATCHED, BETWEEN = -1, -2


@pytest.fixture
def example(repository):
    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, repository / "examples" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def batch():
    """One image with two objects, and one with none."""
    torch.manual_seed(0)
    boxes = torch.tensor([[4.0, 6.0, 30.0, 34.0], [28.0, 30.0, 60.0, 58.0]])
    targets = [
        {"boxes": boxes, "labels": torch.tensor([1, 3])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    return [torch.rand(3, 64, 64) for _ in targets], targets


@pytest.fixture
def faster_rcnn(monkeypatch):
    monkeypatch.setattr(roi_heads, "fastrcnn_loss", roi_heads.fastrcnn_loss)  # put back after
    return fasterrcnn_mobilenet_v3_large_320_fpn(**NO_WEIGHTS, **SIZE)


def gradients_after(losses, parameters) -> bool:
    total = sum(losses.values())
    found = torch.autograd.grad(total, list(parameters), allow_unused=True)
    return bool(torch.isfinite(total)) and any((g is not None and g.any()) for g in found)


def test_every_example_is_tested_and_at_most_25_lines(repository):
    files = sorted((repository / "examples").glob("*.py"))
    assert tuple(path.stem for path in files) == NAMES
    for path in files:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) <= 25, path.name


@pytest.mark.parametrize(("loss", "error"), LOSSES.items())
def test_retinanet(example, batch, loss, error):
    model = retinanet_resnet50_fpn(**NO_WEIGHTS, **SIZE)
    example("torchvision_retinanet").use_ranking(model, loss)
    parameters = model.head.classification_head.cls_logits.parameters()
    assert gradients_after(model(*batch), parameters)

    anchors = torch.tensor([[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 40.0, 40.0], [5.0, 5.0, 9.0, 9.0]])
    truth = torch.tensor([[1.0, 2.0, 19.0, 24.0]])
    target = {"boxes": truth, "labels": torch.tensor([2])}
    deltas = model.box_coder.encode_single(truth.expand(3, 4), anchors)[None]
    matched = [torch.tensor([0, UNMATCHED, BETWEEN])]
    logits = torch.full((1, 3, 4), -9.0)
    logits[0, 0, 2] = 9.0
    logits[0, 2] = 30.0  # between the thresholds: not looked at

    def losses():
        outputs = {"cls_logits": logits, "bbox_regression": deltas}
        return model.head.compute_loss([target], outputs, [anchors], matched)

    assert sum(losses().values()) == pytest.approx(0, abs=1e-5)
    logits[0, 1, 0] = 20.0  # one negative above the only positive
    assert losses()["class"] == pytest.approx(error)


@pytest.mark.parametrize(("loss", "error"), LOSSES.items())
def test_faster_rcnn(example, batch, faster_rcnn, loss, error):
    example("torchvision_faster_rcnn").use_ranking(faster_rcnn, loss)
    losses = faster_rcnn(*batch)
    own = {name: losses[name] for name in ("loss_classifier", "loss_box_reg")}
    assert gradients_after(own, faster_rcnn.roi_heads.box_predictor.parameters())

    deltas = torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    logits = torch.tensor([[-6.0, -6.0, 6.0, -6.0], [6.0, -6.0, -6.0, -6.0]])
    regression = deltas.repeat(1, 4)
    labels = [torch.tensor([2]), torch.tensor([0])]

    def head():
        return roi_heads.fastrcnn_loss(logits, regression, labels, list(deltas.split(1)))

    assert sum(head()) == pytest.approx(0, abs=1e-5)
    logits[1] = torch.tensor([-9.0, 9.0, -9.0, -9.0])  # the background's best class on top
    assert head()[0] == pytest.approx(error, abs=1e-4)
    regression[0] += 3  # a box apart from its truth
    assert head()[1] > 0.1


def test_generated_rois(example, batch, faster_rcnn):
    example("torchvision_generated_rois").use_generated_rois(faster_rcnn, num_rois=32)
    seen = []
    faster_rcnn.roi_heads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    images, targets = batch
    losses = faster_rcnn(images, targets)
    assert all(torch.isfinite(loss) for loss in losses.values())
    with_objects, without = seen[0]
    ious = box_iou(with_objects, targets[0]["boxes"]).amax(1)
    assert (ious[:32] >= 0.5 - 1e-6).all()
    assert (ious[32:] < 0.5).all()
    assert len(without) > 0
    faster_rcnn.eval()
    assert len(faster_rcnn(images)) == 2


def test_detr(example):
    detr_losses = example("detr_matched_queries").detr_losses
    truth = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.4]])
    targets = [{"boxes": truth, "labels": torch.tensor([1, 0])}]
    boxes = torch.cat([truth.flip(0), torch.tensor([[0.5, 0.5, 0.1, 0.1]])])[None]
    logits = torch.full((1, 3, 2), -9.0)
    logits[0, 0, 0] = logits[0, 1, 1] = 9.0  # queries in another order than the objects
    assert sum(detr_losses(logits, boxes, targets).values()) == pytest.approx(0, abs=1e-5)
    logits[0, 2, 0] = 20.0
    # A negative above two positives of equal scores, which count half of themselves and others.
    assert detr_losses(logits, boxes, targets)["class"] == pytest.approx(1 / 2)
    leaf = torch.randn(1, 3, 2, requires_grad=True)
    assert gradients_after(detr_losses(leaf, boxes, targets), [leaf])


def test_coco_results(repository, random_scene, tmp_path):
    truth, mine = random_scene(0)
    for name, content in {"gt": truth, "mine": mine, "baseline": mine[::2]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = [tmp_path / f"{name}.json" for name in ("gt", "baseline", "mine")]
    script = repository / "examples" / "coco_results.py"
    done = subprocess.run([sys.executable, script, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == f"{'oLRP':<9}{100 * evaluate(truth, mine)['oLRP']:6.1f}"
    assert lines[-1].startswith("AP gain ")
