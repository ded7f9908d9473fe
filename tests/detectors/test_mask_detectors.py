"""Mask detectors as configured: parameters, degenerate inputs, settings that are refused."""

import pytest
import torch
import yaml
from rebalance.config.reading import merged
from rebalance.detectors import build_detector, count_parameters
from rebalance.errors import InputError

RESNET50 = {"name": "resnet", "depth": 50, "norm": "frozen_statistics", "frozen_stages": 1}


@pytest.fixture(scope="module")
def configured(repository):
    """Name of a detector -> its settings."""
    detectors = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())

    def settings_of(name):
        own = dict(detectors[name])
        like = own.pop("like", None)
        return own if like is None else merged(settings_of(like), own)

    return settings_of


@pytest.mark.parametrize(
    ("name", "thousands"),
    [("mask_rcnn", 44_170), ("htc", 77_230), ("r3cnn_naive", 43_912), ("r3cnn_advanced", 50_072)],
)
def test_trainable_parameters_are_those_of_r3cnn_table_1(configured, name, thousands):
    """Stem and first stage frozen: conv1, bn1 and layer1 of ResNet-50 have 225,344 parameters."""
    settings = {"backbone": RESNET50, "detector": configured(name)}
    total, trainable = count_parameters(settings, num_classes=80)
    assert trainable // 1000 == thousands
    assert total - trainable == 225_344


BACKBONE = {"name": "plain", "widths": [8, 8, 16, 16]}
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NAMES = ["mask_rcnn", "mask_rcnn_groie", "ms_rcnn", "cascade_mask_rcnn", "htc", "r3cnn_naive",
         "r3cnn_advanced"]  # fmt: skip


def build(detector, num_classes=2):
    """The configured detector with 8 channels everywhere."""
    detector["neck"]["channels"] = 8
    for head in detector["heads"].values():
        head.update({key: 8 for key in ("channels", "fc_channels") if key in head})
    for kind in ("box", "mask"):
        detector[kind]["pooling"]["size"] = {"box": 3, "mask": 6}[kind]
    for which in ("train", "test"):
        detector["rpn"]["proposals"][which].update(pre_nms=50, post_nms=20)
    torch.manual_seed(0)
    return build_detector({"backbone": BACKBONE, "detector": detector}, num_classes)


def target_of(boxes, labels=()):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(boxes), 64, 64, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    return {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64), "masks": masks,
            "ignored_boxes": torch.zeros(0, 4), "image_size": (64, 64), "image_id": 1}  # fmt: skip


OBJECTS = target_of([[4, 4, 24, 28], [30, 30, 60, 44]], [2, 1])


def rngs():
    return [torch.Generator().manual_seed(index) for index in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_trained_with_and_without_objects(configured, name):
    detector = build(configured(name))
    for targets in ([OBJECTS, target_of([])], [target_of([]), target_of([])]):
        losses = detector(IMAGES, targets, rngs())
        detector.zero_grad()
        sum(losses.values()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    assert all(loss == 0 for key, loss in losses.items() if "mask" in key)


@pytest.mark.parametrize("name", NAMES)
def test_no_detections_have_no_masks(configured, name):
    settings = configured(name)
    settings["test"]["score_threshold"] = 1.0
    for found in build(settings).predict(IMAGES, [(64, 64)] * 2):
        assert found["mask_probabilities"].shape == (0, 12, 12)


def test_published_r3cnn_trains_its_information_flow_on_zeros_and_ours_on_features(configured):
    """Zeros give no gradient to the weights of a convolution."""
    for flow, learns in (("in_prediction", False), ("always", True)):
        settings = configured("r3cnn_naive")
        settings["mask"]["information_flow"] = flow
        detector = build(settings)
        sum(detector(IMAGES, [OBJECTS, OBJECTS], rngs()).values()).backward()
        assert (detector.heads["mask"].residual.weight.grad.abs().sum() > 0) == learns


REFUSED = {
    "information_flow": (
        {"mask": {"information_flow": "sometimes"}},
        "mask.information_flow: must be one of",
    ),
    "binarised": ({"mask_iou": {"binarised": "mask"}}, "mask_iou.binarised: must be one of"),
    "mask first": ({"steps": ["rpn", {"mask": "mask"}]}, "steps: .* need a box step"),
    "iou first": (
        {"steps": ["rpn", {"box": "box", "iou": 0.5}, "mask_iou"]},
        "a mask_iou step needs a mask step right before it",
    ),
    "pooling": ({"mask": {"pooling": {"name": "max"}}}, "pooling must be one of"),
    "ranking of masks of refined boxes": (
        {"mask": {"refined": True, "objective": {"name": "ranking", "mask": {"name": "dice"}}}},
        "mask.objective: a ranking of masks .* needs refined: false, got true",
    ),
    "average": ({"test": {"average": "votes"}}, "test.average: must be one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_mean_nothing_are_refused(configured, case):
    change, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        build_detector({"backbone": BACKBONE, "detector": merged(configured("ms_rcnn"), change)}, 2)


def test_loops_at_prediction_repeat_boxes_and_masks_and_end_with_the_scores_of_masks(configured):
    settings = configured("r3cnn_advanced")
    for loops, kinds in (
        (None, ["box", "mask"] * 3),
        (1, ["box", "mask"]),
        (5, ["box", "mask"] * 5),
    ):
        settings["test"]["loops"] = loops
        steps = [step.kind for step in build(settings).prediction_steps()]
        assert steps == ["proposals", *kinds, "mask_iou"]


def test_a_head_used_in_every_loop_has_one_pooling(configured):
    settings = configured("r3cnn_naive")
    settings["box"]["pooling"] = {"name": "groie", "num_heads": 2}
    detector = build(settings)
    assert set(detector.poolings) == {"box"}
    boxes = [step for step in detector.steps if step.kind == "box"]
    assert len({id(step.pooling) for step in boxes}) == 1
    names = [name for name, _ in detector.named_parameters() if "pooling" in name]
    assert all(name.startswith("poolings.box.") for name in names)
    assert len(names) == len(list(detector.poolings["box"].parameters()))
