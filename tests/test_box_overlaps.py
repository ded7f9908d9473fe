"""rebalance.boxes: Gaussian Guided IoU, paired and pairwise, and IoU without 0 / 0."""

import math

import pytest
import torch
from rebalance.boxes import ggiou, paired_boxes, paired_iou, pairwise_ggiou
from torchvision.ops import box_iou


def boxes(num: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=rng) * 50
    return torch.cat([corner, corner + 10 + 40 * torch.rand(num, 2, generator=rng)], dim=1)


def test_ggiou_equals_the_value_worked_out_by_hand():
    # overlap 4 x 2, IoU 8/16; centres (2, 2) and (2, 1): Dc = exp(-(1 / (2/6))^2 / 2) = exp(-4.5)
    value = ggiou(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]]))
    torch.testing.assert_close(value, torch.tensor([0.5**0.7 * math.exp(-4.5 * 0.3)]))


def test_alpha_0_is_iou_and_alpha_1_is_the_centre_distance():
    boxes1, boxes2 = boxes(20, 0), boxes(20, 1)
    torch.testing.assert_close(pairwise_ggiou(boxes1, boxes2, alpha=0.0), box_iou(boxes1, boxes2))
    overlap = torch.tensor([[0.0, 0, 6, 6]]), torch.tensor([[1.0, 0, 7, 6]])
    # overlap 5 wide: sigma 5/6
    torch.testing.assert_close(
        ggiou(*overlap, alpha=1.0), torch.tensor([math.exp(-((6 / 5) ** 2) / 2)])
    )


def test_pairwise_is_paired_for_every_pair():
    boxes1, boxes2 = boxes(7, 0), boxes(5, 1)
    pairwise = pairwise_ggiou(boxes1, boxes2)
    paired = ggiou(boxes1.repeat_interleave(5, 0), boxes2.repeat(7, 1))
    torch.testing.assert_close(pairwise, paired.reshape(7, 5))
    torch.testing.assert_close(pairwise, pairwise_ggiou(boxes2, boxes1).T)
    assert pairwise_ggiou(boxes1, boxes2[:0]).shape == (7, 0)


def test_lies_between_0_and_iou_to_the_power():
    boxes1, boxes2 = boxes(50, 0), boxes(50, 1)
    value = pairwise_ggiou(boxes1, boxes2)
    assert ((value >= 0) & (value <= box_iou(boxes1, boxes2) ** 0.7 + 1e-6)).all()
    torch.testing.assert_close(ggiou(boxes1, boxes1), torch.ones(50))


def test_no_overlap_is_0_with_a_finite_gradient():
    points = torch.tensor([[1.0, 1, 1, 1], [0, 0, 2, 2]], requires_grad=True)
    others = torch.tensor([[1.0, 1, 1, 1], [5, 5, 6, 6]])
    value = ggiou(points, others)
    assert value.tolist() == [0, 0]
    assert torch.autograd.grad(value.sum(), points)[0].isfinite().all()
    assert paired_iou(points, others).tolist() == [0, 0]


def test_bad_input_is_refused():
    good = torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"got \[3, 4\] and \[1, 4\]"):
        ggiou(torch.zeros(3, 4), good)
    with pytest.raises(ValueError, match=r"boxes2 must be \[N, 4\], got \[4\]"):
        pairwise_ggiou(good, good[0])
    with pytest.raises(TypeError, match="floating"):
        pairwise_ggiou(good.long(), good)
    with pytest.raises(TypeError, match="floating"):
        paired_boxes(good, good.int())
    with pytest.raises(ValueError, match="alpha"):
        ggiou(good, good, alpha=1.5)
    with pytest.raises(ValueError, match="beta"):
        ggiou(good, good, beta=0.0)


def test_a_gaussian_as_wide_as_the_ground_truth_by_hand():
    """IoU 6 / 10; centres 1 apart in x, 0 in y; sigma 4 / 2 instead of 3 / 2 for the overlap."""
    box, truth = torch.tensor([[0.0, 0, 4, 2]]), torch.tensor([[1.0, 0, 5, 2]])
    of_truth = pairwise_ggiou(box, truth, alpha=0.5, beta=0.5, sigma_from="boxes2")
    expected = 0.6**0.5 * math.exp(-((1 / 2) ** 2) / 2) ** 0.5
    torch.testing.assert_close(of_truth, torch.tensor([[expected]]))
    of_overlap = pairwise_ggiou(box, truth, alpha=0.5, beta=0.5)
    expected = 0.6**0.5 * math.exp(-((1 / 1.5) ** 2) / 2) ** 0.5
    torch.testing.assert_close(of_overlap, torch.tensor([[expected]]))
    with pytest.raises(ValueError, match="sigma_from must be"):
        pairwise_ggiou(box, truth, sigma_from="boxes1")
