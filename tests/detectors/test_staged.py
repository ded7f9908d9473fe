"""The staged family: stages, shared heads, degenerate inputs, learning."""

import math

import pytest
import torch
from rebalance.detectors import build_detector
from rebalance.detectors.types import make_candidates
from rebalance.errors import InputError
from torchvision.ops import box_iou

from .conftest import make_target, rngs

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TARGETS = [make_target([[4, 4, 24, 28], [30, 30, 60, 44]], labels=[2, 1]), make_target([])]
CASCADE = ["rpn", *({"box": f"box{k}", "iou": 0.5 + 0.1 * k} for k in range(3))]
LOOP = ["rpn", *({"box": "box0", "iou": 0.5 + 0.1 * k} for k in range(3))]


def build(settings, steps=None, seed=0):
    if steps is not None:
        detector = settings["detector"]
        detector["steps"] = steps
        head = detector["heads"].pop("box", None) or detector["heads"]["box0"]
        detector["heads"] |= {f"box{k}": head for k in range(3)}
    torch.manual_seed(seed)
    return build_detector(settings, num_classes=2)


def train(detector, images, targets, steps, lr=0.02):
    optimizer = torch.optim.SGD(detector.parameters(), lr=lr, momentum=0.9)
    for _ in range(steps):
        loss = sum(detector(images, targets, rngs(len(targets))).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()


@pytest.mark.parametrize(("steps", "heads"), [(None, 1), (CASCADE, 3), (LOOP, 1)])
def test_losses_per_stage_train_every_parameter(staged_settings, steps, heads):
    detector = build(staged_settings, steps)
    losses = detector(IMAGES, TARGETS, rngs(2))
    assert len(losses) == 2 * len(steps or "ab")
    assert len(detector.heads) == 1 + heads
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())


def test_the_same_generators_give_the_same_losses(staged_settings):
    detector = build(staged_settings)
    one, two = (detector(IMAGES, TARGETS, rngs(2)) for _ in range(2))
    other = detector(IMAGES, TARGETS, [torch.Generator().manual_seed(99) for _ in range(2)])
    assert one == two
    assert one != other


def test_class_loss_of_uniform_logits_is_ln_of_columns(staged_settings):
    """Averaged over the sampled RoIs, uniform logits over 2 classes and background give ln 3."""
    detector = build(staged_settings)
    torch.nn.init.zeros_(detector.heads["box"].class_logits.weight)
    losses = detector(IMAGES, TARGETS, rngs(2))
    assert losses["class_loss"].item() == pytest.approx(math.log(3), rel=1e-5)


def test_batches_without_objects_and_without_proposals_train(staged_settings):
    detector = build(staged_settings, CASCADE)
    empty = [make_target([]), make_target([])]
    losses = detector(IMAGES, empty, rngs(2))
    assert all(losses[f"stage{k}_box_loss"] == 0 for k in (1, 2, 3))
    sum(losses.values()).backward()
    rpn = detector.steps[0]
    rpn.proposals = (rpn.proposals[0]._replace(post_nms=0), rpn.proposals[1])
    losses = detector(IMAGES, empty, rngs(2))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())


def test_no_proposals_predict_nothing(staged_settings):
    detector = build(staged_settings, CASCADE)
    rpn = detector.steps[0]
    rpn.proposals = (rpn.proposals[0], rpn.proposals[1]._replace(post_nms=0))
    for found in detector.predict(IMAGES, [(64, 64), (64, 64)]):
        assert found["boxes"].shape == (0, 4)


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_it_learns_two_objects(staged_settings, class_agnostic):
    settings = staged_settings["detector"]
    settings["heads"]["box"].update(channels=64, class_agnostic=class_agnostic)
    settings["neck"]["channels"] = 32
    settings["box"]["sampler"]["positive_fraction"] = 0.5
    detector = build(staged_settings)
    images = torch.zeros(1, 3, 64, 64)
    images[0, 0, 4:28, 4:24], images[0, 1, 30:44, 30:60] = 2.0, 2.0
    train(detector, images, TARGETS[:1], steps=160)
    (found,) = detector.predict(images, [(64, 64)])
    best = [int((found["labels"] == label).nonzero()[0]) for label in (2, 1)]
    overlaps = box_iou(found["boxes"][best], TARGETS[0]["boxes"]).diagonal()
    assert (overlaps > 0.6).all()
    assert (found["scores"][best] > 0.5).all()


def test_more_test_stages_than_trained_ones_repeat_the_last(staged_settings):
    staged_settings["detector"]["test"]["loops"] = 3
    detector = build(staged_settings)
    rpn, box = detector.steps
    assert detector.prediction_steps() == [rpn, box, box, box]
    staged_settings["detector"]["test"]["loops"] = 1
    detector = build(staged_settings, LOOP)
    assert detector.prediction_steps() == list(detector.steps[:2])


def test_a_loop_refines_the_rois_it_was_given(staged_settings):
    """With deltas that always shift by a tenth of the width, three loops shift three times."""
    staged_settings["detector"]["heads"]["box"]["class_agnostic"] = True
    staged_settings["detector"]["test"]["score_threshold"] = 0.0
    centres = []

    def given_rois(flow, heads):
        flow.rois = make_candidates([torch.tensor([[8.0, 8, 28, 28]])] * len(flow.sizes))

    for count in (1, 3):
        staged_settings["detector"]["test"]["loops"] = count
        detector = build(staged_settings)
        torch.nn.init.zeros_(detector.heads["box"].box_deltas.weight)
        detector.heads["box"].box_deltas.bias.data = torch.tensor([1.0, 0, 0, 0])  # weight 10
        detector.steps[0].predict_step = given_rois
        (found, _) = detector.predict(IMAGES, [(64, 64)] * 2)
        centres.append((found["boxes"][0, [0, 2]].mean()).item())
    assert centres == pytest.approx([20.0, 24.0])


def test_hard_examples_are_sampled_with_the_stages_own_losses(staged_settings):
    usual = build(staged_settings)(IMAGES, TARGETS, rngs(2))
    staged_settings["detector"]["box"]["sampler"].update(positive="hard", negative="hard")
    losses = build(staged_settings)(IMAGES, TARGETS, rngs(2))
    assert sum(losses.values()).isfinite()
    assert losses["class_loss"] > usual["class_loss"]


def test_unknown_head_is_refused(staged_settings):
    with pytest.raises(InputError, match=r"steps\[1\].box: head must be one of .*, got 'b'"):
        build(staged_settings, ["rpn", {"box": "b", "iou": 0.5}])
