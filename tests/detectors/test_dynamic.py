"""Dynamic R-CNN's threshold and beta where golden data say nothing."""

import pytest
import torch
from rebalance.detectors.dynamic import Dynamic
from rebalance.detectors.types import make_candidates, make_truths
from rebalance.errors import InputError
from rebalance.losses import make_loss

from detectors.conftest import make_target

ROIS = make_candidates([torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]])])
TRUTHS = make_truths([make_target([[0, 0, 10, 10]])], (64, 64))


def observe(dynamic, shifts, truths=TRUTHS, rois=ROIS):
    deltas = torch.tensor(shifts).reshape(-1, 1).expand(-1, 4)
    dynamic.observe(rois, truths, deltas)
    return float(dynamic.iou), float(dynamic.beta)


def test_by_hand():
    dynamic = Dynamic(0.5, iou_top_k=2, beta_top_k=2, interval=3)
    assert observe(dynamic, [0.3, 0.1, 0.2]) == (0.5, 1.0)  # second best IoU 0.8, shift 0.2
    assert observe(dynamic, [0.6]) == (0.5, 1.0)  # the only one
    iou, beta = observe(dynamic, [0.9, 0.4])  # median of 0.2, 0.6, 0.9
    assert iou == pytest.approx(0.8)
    assert beta == pytest.approx(0.6)


def test_iterations_without_positives_or_objects():
    nothing = make_truths([make_target([])], (64, 64))
    dynamic = Dynamic(0.5, interval=2)
    assert observe(dynamic, [], nothing) == (0.5, 1.0)
    iou, beta = observe(dynamic, [], nothing)
    assert iou == pytest.approx(0.4)  # the least
    assert beta == 1.0
    observe(dynamic, [], nothing)
    assert observe(dynamic, [0.25])[1] == pytest.approx(0.25)  # the median of one
    observe(dynamic, [0.0]), observe(dynamic, [0.0])
    assert float(dynamic.beta) == pytest.approx(0.25)  # a beta of 0 is none
    assert observe(Dynamic(0.5, interval=1), [], rois=make_candidates([torch.zeros(0, 4)]))[1] == 1


def test_the_loss_is_smooth_l1_at_its_beta():
    pred, target = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    dynamic, fixed = make_loss("dynamic_smooth_l1"), make_loss("smooth_l1", beta=0.3)
    assert dynamic.inputs == ("pred_deltas", "target_deltas", "smooth_l1_beta")
    pred.requires_grad_()
    losses = dynamic(pred, target, torch.tensor(0.3)), fixed(pred, target)
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), pred)[0] for loss in losses))


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="dynamic: interval must be above 0, got 0"):
        Dynamic(0.5, interval=0)
