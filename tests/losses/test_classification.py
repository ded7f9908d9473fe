"""Classification and mask losses: values by hand, independent formulas, gradients, odd input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.losses import (
    LOSSES,
    dice_loss,
    focal_loss,
    ghm_c_loss,
    ghm_c_normaliser,
    ghm_weights,
    make_loss,
    mask_cross_entropy_loss,
    quality_focal_loss,
    semantic_cross_entropy_loss,
    sigmoid_cross_entropy_loss,
    size_normalised_mask_loss,
    softmax_cross_entropy_loss,
)
from torch import Tensor

TWO_LOGITS = [("logits", "targets"), ("logits", "quality_targets")]
RANKING = ("ap", "rank_sort")
ON_LOGITS = [
    name for name in LOSSES if make_loss(name).inputs in TWO_LOGITS and name not in RANKING
]
ON_MASKS = [name for name in LOSSES if make_loss(name).inputs == ("mask_logits", "mask_targets")]


def rows(num: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, classes, generator=rng, dtype=torch.float64) * 3
    return logits, (torch.rand(num, classes, generator=rng) < 0.3).double()


@pytest.mark.parametrize(
    ("function", "options", "logit", "target", "expected"),
    [
        pytest.param(sigmoid_cross_entropy_loss, {}, 0.0, 1.0, math.log(2), id="-ln 1/2"),
        pytest.param(sigmoid_cross_entropy_loss, {}, 0.0, 0.3, math.log(2), id="soft target"),
        pytest.param(focal_loss, {}, 0.0, 1.0, 0.25 / 4 * math.log(2), id="alpha (1/2)^2 ln 2"),
        pytest.param(focal_loss, {}, 0.0, 0.0, 0.75 / 4 * math.log(2), id="1 - alpha"),
        pytest.param(
            focal_loss, {"alpha": -1, "gamma": 0}, 0.0, 1.0, math.log(2), id="cross-entropy"
        ),
        pytest.param(quality_focal_loss, {}, 0.0, 0.8, 0.09 * math.log(2), id="|0.8 - 0.5|^2 ln 2"),
        pytest.param(quality_focal_loss, {}, 0.0, 0.5, 0.0, id="0 at the target"),
    ],
)
def test_equals_the_value_worked_out_by_hand(function, options, logit, target, expected):
    loss = function(torch.tensor([[logit]]), torch.tensor([[target]]), **options)
    torch.testing.assert_close(loss, torch.tensor([[expected]]))


def test_softmax_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    loss = softmax_cross_entropy_loss(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(loss, torch.tensor([math.log(4 / 3), math.log(2)]))


def test_focal_loss_equals_eq_3_2():
    logits, targets = rows(50)
    p = logits.sigmoid()
    of_truth = torch.where(targets == 1, p, 1 - p)
    alpha = torch.where(targets == 1, 0.25, 0.75)
    expected = -alpha * (1 - of_truth) ** 2 * of_truth.log()
    torch.testing.assert_close(focal_loss(logits, targets), expected)


def test_ghm_c_harmonises_the_gradient():
    # Norms 0.05 (two of them), 0.35, 0.95 in 10 bins: densities 2, 1, 1 of 4, per 1/10.
    norms = torch.tensor([[0.05, 0.05], [0.35, 0.95]], dtype=torch.float64)
    logits = torch.logit(norms).requires_grad_()
    loss = ghm_c_loss(logits, torch.zeros_like(norms), bins=10)
    weights = torch.tensor([[4 / 20, 4 / 20], [4 / 10, 4 / 10]], dtype=torch.float64)
    torch.testing.assert_close(loss, -weights * torch.log1p(-norms))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, weights * norms)
    # What training divides the sum by: all four examples.
    assert ghm_c_normaliser(logits, norms, bins=10) == 4


def test_ghm_weights_are_those_of_thesis_table_3_1():
    p_of_truth = torch.tensor([0.8, 0.2, 0.1, 0.3, 0.6, 1.0])
    expected = torch.tensor([0.80, 0.80, 0.60, 0.80, 1.20, 0.60])  # recomputed in thesis_a.yaml
    torch.testing.assert_close(ghm_weights(1 - p_of_truth, width=0.4), expected)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.05, 1))
def test_ghm_weights_equal_the_loop(norms, width):
    weights = ghm_weights(torch.tensor(norms, dtype=torch.float64), width).tolist()
    for g, weight in zip(norms, weights, strict=True):
        near = sum(abs(other - g) <= width / 2 + 1e-7 for other in norms)
        length = min(g + width / 2, 1) - max(g - width / 2, 0)
        if not any(abs(abs(other - g) - width / 2 - 1e-7) < 1e-12 for other in norms):
            assert weight == pytest.approx(len(norms) * length / near)


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "focal", "quality_focal"])
def test_gradient_equals_finite_differences(name):
    logits, targets = rows(8)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, targets), logits.requires_grad_())


@pytest.mark.parametrize("name", [*ON_LOGITS, *ON_MASKS])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nothing_gives_zero_and_a_gradient(name, reduction):
    shape = (0, 4, 4) if name in ON_MASKS else (0, 3)
    logits = torch.zeros(shape, requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(shape), reduction=reduction)
    assert loss.sum() == 0
    assert torch.autograd.grad(loss.sum(), logits)[0].shape == shape


def test_no_rows_give_zero_softmax_cross_entropy():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = softmax_cross_entropy_loss(logits, torch.zeros(0, dtype=torch.int64), "mean")
    assert loss == 0
    assert loss.requires_grad


@pytest.mark.parametrize("name", ON_LOGITS)
def test_reductions_dtypes_and_one_graph(name):
    logits, targets = rows(10)
    function = LOSSES[name]
    each = function(logits, targets)
    assert each.shape == logits.shape
    torch.testing.assert_close(function(logits, targets, reduction="mean"), each.mean())
    torch.testing.assert_close(function(logits, targets, reduction="sum"), each.sum())
    low = function(logits.bfloat16(), targets)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, function(logits.bfloat16().float(), targets.float()))
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits, targets), each)


@pytest.mark.parametrize("name", [*ON_LOGITS, *ON_MASKS])
def test_bad_input_is_refused(name):
    function = LOSSES[name]
    with pytest.raises(ValueError, match=r"logits and targets must have the same shape"):
        function(torch.zeros(3, 4, 4), torch.zeros(1, 4, 4))
    with pytest.raises(TypeError, match="targets must be floating point"):
        function(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4).long())
    with pytest.raises(ValueError, match="reduction"):
        function(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), reduction="avg")


def test_bad_labels_and_options_are_refused():
    with pytest.raises(TypeError, match="int64"):
        softmax_cross_entropy_loss(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(ValueError, match=r"got \[2, 3\] and \[3\]"):
        softmax_cross_entropy_loss(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="bins"):
        ghm_c_loss(torch.zeros(2, 3), torch.zeros(2, 3), bins=0)


# --- masks -----------------------------------------------------------------------------------


def test_dice_by_hand():
    # p = 1/2 on 4 pixels, target 1 on two: 2 * 1 / (4 / 4 + 2) and 2 * 1 / (2 + 2)
    logits, target = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 1], [0, 0]]])
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor([1 - 2 / 3]))
    torch.testing.assert_close(dice_loss(logits, target, squared=False), torch.tensor([1 - 1 / 2]))


def test_dice_is_0_for_the_mask_itself_and_1_for_its_complement():
    mask = (torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    confident = (mask - 0.5) * 200
    torch.testing.assert_close(dice_loss(confident, mask), torch.zeros(5))
    torch.testing.assert_close(dice_loss(-confident, mask), torch.ones(5))


def test_mask_cross_entropy_averages_over_pixels():
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = (logits > 0.2).float()
    expected = F.binary_cross_entropy(logits.sigmoid(), mask, reduction="none").mean((1, 2))
    torch.testing.assert_close(mask_cross_entropy_loss(logits, mask), expected)


def test_the_size_normalised_loss_is_the_mean_over_the_box_by_hand():
    # Cross-entropy ln 2 on 4 of 8 pixels and none elsewhere, a box of half the image: the mean over
    # the image is ln 2 / 2, over the box ln 2. A box of a quarter doubles it.
    logits = torch.full((2, 2, 4), -100.0)
    logits[:, :, :2] = 0
    shares = torch.tensor([0.5, 0.25])
    loss = size_normalised_mask_loss(logits, torch.zeros(2, 2, 4), shares)
    torch.testing.assert_close(loss, torch.tensor([math.log(2), 2 * math.log(2)]))


def test_the_semantic_loss_sums_classes_and_averages_pixels_by_hand():
    semantic = torch.zeros(2, 3, 2, 2)
    has_objects = torch.tensor([True, False])
    loss = semantic_cross_entropy_loss(semantic, torch.zeros(2, 3, 2, 2), has_objects)
    torch.testing.assert_close(loss, torch.full((2,), 3 * math.log(2)))
    loss = semantic_cross_entropy_loss(
        semantic, torch.zeros(2, 3, 2, 2), has_objects, empty_images=False
    )
    torch.testing.assert_close(loss, torch.tensor([3 * math.log(2), 0]))


def test_smoothing_of_dice_by_hand():
    # p = 1/2 on 4 pixels, target 1 on two: 2 * 1 / (4 / 4 + 0.5 + 2 + 0.5)
    logits, target = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 1], [0, 0]]])
    torch.testing.assert_close(dice_loss(logits, target, smooth=0.5), torch.tensor([1 - 2 / 4]))


@pytest.mark.parametrize("name", ON_MASKS)
def test_mask_gradient_equals_finite_differences(name):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(2, 3, 3, generator=rng) < 0.5).double()
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, mask), logits)


def test_masks_must_have_pixels():
    with pytest.raises(ValueError, match=r"\[N, H, W\]"):
        dice_loss(torch.zeros(2, 0, 3), torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match=r"\[N, H, W\]"):
        mask_cross_entropy_loss(torch.zeros(3, 3), torch.zeros(3, 3))
