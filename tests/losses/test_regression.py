"""Box regression losses: golden data, values by hand, torchvision, gradients, odd input."""

import inspect
import math

import numpy as np
import pytest
import torch
from rebalance import losses
from rebalance.losses import (
    LOSSES,
    balanced_l1_loss,
    bounded_iou_loss,
    carl_loss,
    ciou_loss,
    diou_loss,
    eiou_loss,
    focal_eiou_loss,
    focal_eiou_normaliser,
    focal_eiou_star_loss,
    focal_eiou_v1_loss,
    focal_l1_loss,
    ggiou,
    ggiou_balanced_loss,
    giou_loss,
    iou_balanced_loss,
    iou_loss,
    kl_loss,
    l1_loss,
    make_loss,
    normalised_focal_eiou_loss,
    smooth_l1_loss,
)
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
ON_BOXES = [name for name in LOSSES if make_loss(name).inputs == ("pred_boxes", "target_boxes")]
ON_DELTAS = [name for name in LOSSES if make_loss(name).inputs == ("pred_deltas", "target_deltas")]

GOLDEN_BOX_LOSSES = {
    "one_minus_iou": (iou_loss, {}),
    "iou_log": (iou_loss, {"form": "log"}),
    "giou": (giou_loss, {}),
    "diou": (diou_loss, {}),
    "ciou": (ciou_loss, {}),
    "giou_noeps": (giou_loss, {"eps": 0}),
    "diou_noeps": (diou_loss, {"eps": 0}),
    "ciou_noeps": (ciou_loss, {"eps": 0}),
    "ciou_alpha_differentiated": (ciou_loss, {"eps": 0, "alpha": "differentiated"}),
    "eiou": (eiou_loss, {}),
    "focal_eiou_g0.5_weight_detached": (focal_eiou_loss, {}),
    "focal_eiou_g0.5_weight_attached": (focal_eiou_loss, {"detach_weight": False}),
    "bounded_iou_beta1": (bounded_iou_loss, {"beta": 1.0}),
    "bounded_iou_beta0.2": (bounded_iou_loss, {}),
    "ggiou": (ggiou, {}),
}


def gradient_of(value: Tensor, variable: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), variable)[0].double()


@pytest.fixture(params=range(3), ids=["unit scale", "pixels", "edge cases"])
def golden_boxes(shared_dir, request) -> dict[str, np.ndarray]:
    with np.load(shared_dir / "golden" / f"iou_losses_{request.param}.npz") as file:
        return dict(file)


@pytest.fixture
def golden_deltas(shared_dir) -> dict[str, np.ndarray]:
    with np.load(shared_dir / "golden" / "iou_losses_3.npz") as file:
        return dict(file)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("field", GOLDEN_BOX_LOSSES)
def test_equals_the_golden_values_and_gradients(golden_boxes, field, dtype):
    function, options = GOLDEN_BOX_LOSSES[field]
    pred = torch.tensor(golden_boxes["pred"], dtype=dtype).requires_grad_()
    loss = function(pred, torch.tensor(golden_boxes["target"], dtype=dtype), **options)
    expected = torch.tensor(golden_boxes[field])
    # torchvision's losses are 0 / 0 for a pair of one point without its eps.
    defined = expected.isfinite() & (loss.detach().isfinite() | (options.get("eps") != 0))
    # The golden values of this variant carry a small eps of their own: compare them to ciou_noeps.
    loose = 2e-7 if field == "ciou_alpha_differentiated" else 0.0
    tolerance = max(TOLERANCE[dtype], loose)
    torch.testing.assert_close(
        loss.double()[defined], expected[defined], rtol=tolerance, atol=1e-12 + loose / 10
    )
    smooth = torch.tensor(golden_boxes[f"{field}_smooth"]) & defined
    got = gradient_of(loss[defined], pred)[smooth]
    expected = torch.tensor(golden_boxes[f"{field}_grad"])[smooth]
    error = (got - expected).norm(dim=1)
    assert (error <= tolerance * expected.norm(dim=1) + 1e-12).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weight", ["detached", "attached"])
def test_eq_11_equals_the_golden_values_and_gradients(golden_boxes, weight, dtype):
    pred = torch.tensor(golden_boxes["pred"], dtype=dtype).requires_grad_()
    target = torch.tensor(golden_boxes["target"], dtype=dtype)
    options = {"detach_weight": weight == "detached"}
    loss = normalised_focal_eiou_loss(pred, target, **options)
    expected = golden_boxes[f"focal_eiou_eq11_{weight}"]
    assert loss.item() == pytest.approx(float(expected), rel=TOLERANCE[dtype])
    expected = torch.tensor(golden_boxes[f"focal_eiou_eq11_{weight}_grad"])
    defined = expected.isfinite().all(1)
    got = gradient_of(loss, pred)
    error = (got - expected)[defined].norm()
    assert error <= TOLERANCE[dtype] * expected[defined].norm()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_losses_on_deltas_equal_the_golden_values_and_gradients(golden_deltas, dtype):
    zero = torch.zeros(len(golden_deltas["x"]), dtype=dtype)
    cases = [
        ("balanced_l1", balanced_l1_loss, {}, golden_deltas["balanced_l1"]),
        ("smooth_l1_beta1", smooth_l1_loss, {}, golden_deltas["smooth_l1_beta1"]),
        ("smooth_l1_beta1_9", smooth_l1_loss, {"beta": 1 / 9}, golden_deltas["smooth_l1_beta1_9"]),
    ]
    gradients = [golden_deltas[f"{name}_grad"] for name, *_ in cases]
    for k, beta in enumerate(golden_deltas["focal_l1_beta"]):
        cases.append(
            ("focal_l1", focal_l1_loss, {"beta": float(beta)}, golden_deltas["focal_l1"][k])
        )
        gradients.append(golden_deltas["focal_l1_grad"][k])
    for (name, function, options, expected), gradient in zip(cases, gradients, strict=True):
        x = torch.tensor(golden_deltas["x"], dtype=dtype, requires_grad=True)
        loss = function(x, zero, **options)
        close = {"rtol": TOLERANCE[dtype], "atol": 1e-15, "msg": f"{name} {options}"}
        torch.testing.assert_close(loss.double(), torch.tensor(expected), **close)
        torch.testing.assert_close(gradient_of(loss, x), torch.tensor(gradient), **close)


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        pytest.param(iou_loss, {}, 1 / 2, id="IoU 8/16"),
        pytest.param(iou_loss, {"form": "log"}, math.log(2), id="-ln 1/2"),
        pytest.param(giou_loss, {}, 1 / 2, id="hull is the union"),
        pytest.param(diou_loss, {}, 1 / 2 + 1 / 32, id="centres 1 apart, diagonal^2 32"),
        pytest.param(eiou_loss, {}, 1 / 2 + 1 / 32 + 1 / 4, id="and height 2 of 4 off"),
        pytest.param(
            focal_eiou_loss, {"gamma": 1.0}, (1 / 2 + 1 / 32 + 1 / 4) / 2, id="half of EIoU"
        ),
        pytest.param(
            focal_eiou_star_loss,
            {"gamma": 1.0},
            math.log(2) / 2 * (1 / 2 + 1 / 32 + 1 / 4),
            id="(1 - 1/2) ln 2 EIoU",
        ),
        pytest.param(
            focal_eiou_v1_loss,
            {"beta": 1.0},
            -math.e * 0.78125**2 * (2 * math.log(0.78125) - 1) / 4,
            id="Eq. 9 of 0.78125",
        ),
        pytest.param(
            bounded_iou_loss,
            {"beta": 1.0},
            (1 - 0) ** 2 + (1 - 1 / 2) ** 2,
            id="cy: max(0, (2 - 2) / (2 + 2)), h: 2 / 4",
        ),
    ],
)
def test_equals_the_value_worked_out_by_hand(function, options, expected):
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]])
    loss = function(pred, target, **options)
    torch.testing.assert_close(loss, torch.tensor([expected]))


@pytest.mark.parametrize(
    ("ours", "oracle"),
    [
        (giou_loss, generalized_box_iou_loss),
        (diou_loss, distance_box_iou_loss),
        (ciou_loss, complete_box_iou_loss),
    ],
)
def test_agrees_with_torchvision_in_value_and_gradient(random_boxes, ours, oracle):
    pred, target = random_boxes(64, seed=0).requires_grad_(), random_boxes(64, seed=1)
    loss, expected = ours(pred, target), oracle(pred, target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient_of(loss, pred), gradient_of(expected, pred))


@pytest.mark.parametrize("name", [*ON_BOXES, *ON_DELTAS])
def test_gradient_equals_finite_differences(random_boxes, name):
    parameters = inspect.signature(LOSSES[name]).parameters
    options = {"detach_weight": False} if "detach_weight" in parameters else {}
    options |= {"alpha": "differentiated"} if name == "ciou" else {}
    scale = 1.0 if name in ON_BOXES else 0.02
    pred = (random_boxes(12, seed=0).double() * scale).requires_grad_()
    target = pred.detach() + 4 * scale * torch.rand(
        12, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    assert torch.autograd.gradcheck(lambda boxes: LOSSES[name](boxes, target, **options), pred)


def test_a_detached_weight_is_a_number(random_boxes):
    pred, target = random_boxes(20, seed=0).requires_grad_(), random_boxes(20, seed=0) + 3
    weight = (1 - iou_loss(pred, target)).detach().sqrt()
    expected = gradient_of(weight * eiou_loss(pred, target), pred)
    torch.testing.assert_close(gradient_of(focal_eiou_loss(pred, target), pred), expected)


def test_the_normaliser_makes_eq_11(random_boxes):
    pred, target = random_boxes(20, seed=0), random_boxes(20, seed=0) + 3
    loss = make_loss("focal_eiou", gamma=0.7)
    weights = (1 - iou_loss(pred, target)) ** 0.7
    torch.testing.assert_close(loss.normaliser(pred, target), weights.sum())
    torch.testing.assert_close(
        loss(pred, target).sum() / loss.normaliser(pred, target),
        (weights * eiou_loss(pred, target)).sum() / weights.sum(),
    )
    torch.testing.assert_close(
        normalised_focal_eiou_loss(pred, target, gamma=0.7),
        loss(pred, target).sum() / loss.normaliser(pred, target),
    )
    assert make_loss("eiou").normaliser is None
    apart = torch.tensor([[50.0, 50, 60, 60]])
    assert normalised_focal_eiou_loss(torch.tensor([[0.0, 0, 1, 1]]), apart) == 0
    assert focal_eiou_normaliser(torch.tensor([[0.0, 0, 1, 1]]), apart) == 0


def test_kl_loss_equals_eq_3_10_by_hand():
    pred, target = torch.tensor([[2.0, 0, 0, 3]]), torch.zeros(1, 4)
    log_variance = torch.tensor([[math.log(4.0), 0.0, math.log(9.0), 0.0]])
    # x = 2, sigma = 2: 4/8 + ln 4 / 2; x = 0: ln(sigma^2) / 2; x = 3, sigma = 1: 9/2
    expected = torch.tensor([[0.5 + math.log(2), 0, math.log(3), 4.5]])
    torch.testing.assert_close(kl_loss(pred, target, log_variance), expected)
    clipped = kl_loss(pred, target, log_variance, clipped=True)
    expected = torch.tensor([[1.5 / 4 + math.log(2), 0, math.log(3), 2.5]])  # |x| - 1/2
    torch.testing.assert_close(clipped, expected)


def test_overlap_balanced_losses_weigh_smooth_l1(random_boxes):
    boxes, truth = random_boxes(10, seed=0), random_boxes(10, seed=0) + 2
    deltas, target = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(0))
    deltas.requires_grad_()
    expected = smooth_l1_loss(deltas, target)
    iou, gaussian = 1 - iou_loss(boxes, truth), ggiou(boxes, truth)
    torch.testing.assert_close(
        iou_balanced_loss(deltas, target, boxes, truth, gamma=1.3, w_loc=2.5),
        2.5 * iou[:, None] ** 1.3 * expected,
    )
    torch.testing.assert_close(
        ggiou_balanced_loss(deltas, target, boxes, truth, gamma=1.4),
        gaussian[:, None] ** 1.4 * expected,
    )
    attached = ggiou_balanced_loss(
        deltas, target, boxes.requires_grad_(), truth, detach_weight=False
    )
    assert gradient_of(attached, boxes).abs().sum() > 0


def test_carl_gives_the_scores_a_gradient():
    scores = torch.tensor([0.2, 0.8], requires_grad=True)
    pred, target = torch.tensor([[3.0] * 4, [1.0] * 4]), torch.zeros(2, 4)
    # c = 0.8 p + 0.2: 0.36 and 0.84, of mean 0.6; smooth L1: 2.5 and 0.5
    loss = carl_loss(pred, target, scores)
    expected = torch.tensor([[0.36 / 0.6 * 2.5] * 4, [0.84 / 0.6 * 0.5] * 4])
    torch.testing.assert_close(loss, expected)
    gradient = gradient_of(loss, scores)
    assert gradient[0] > 0 > gradient[1]  # the example with the larger error should score lower


@pytest.mark.parametrize("name", ON_BOXES)
def test_boxes_that_touch_or_have_no_area_give_finite_values_and_gradients(name):
    boxes = [
        [0.0, 0, 4, 4],
        [0, 0, 0, 4],
        [2, 2, 2, 2],
        [4, 0, 8, 4],
        [4, 4, 8, 8],
        [90, 90, 99, 99],
    ]
    boxes = torch.tensor(boxes)
    pred = boxes.repeat_interleave(len(boxes), 0).requires_grad_()
    target = boxes.repeat(len(boxes), 1)
    loss = LOSSES[name](pred, target)
    assert loss.isfinite().all()
    assert gradient_of(loss, pred).isfinite().all()
    if "detach_weight" in inspect.signature(LOSSES[name]).parameters:
        loss = LOSSES[name](pred, target, detach_weight=False)
        assert gradient_of(loss, pred).isfinite().all()


@pytest.mark.parametrize("name", [*ON_BOXES, *ON_DELTAS])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_no_pairs_give_zero_and_a_gradient(name, reduction):
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = LOSSES[name](pred, torch.zeros(0, 4), reduction=reduction)
    assert loss.requires_grad
    assert loss.shape[:1] == (() if reduction != "none" else (0,))
    assert loss.sum() == 0
    assert gradient_of(loss, pred).shape == (0, 4)


@pytest.mark.parametrize("name", [*ON_BOXES, *ON_DELTAS])
def test_reductions_and_dtypes(random_boxes, name):
    pred, target = random_boxes(8, seed=0), random_boxes(8, seed=1)
    function = LOSSES[name]
    each = function(pred, target)
    assert each.shape == ((8,) if name in ON_BOXES else (8, 4))
    torch.testing.assert_close(function(pred, target, reduction="mean"), each.mean())
    torch.testing.assert_close(function(pred, target, reduction="sum"), each.sum())
    assert each.dtype == torch.float32
    assert function(pred.double(), target.double()).dtype == torch.float64
    in_bfloat16 = function(pred.bfloat16(), target.bfloat16())
    assert in_bfloat16.dtype == torch.float32
    torch.testing.assert_close(
        in_bfloat16,
        function(pred.bfloat16().float(), target.bfloat16().float()),
        rtol=0.01,
        atol=0.5,
    )


@pytest.mark.parametrize("name", [*ON_BOXES, *ON_DELTAS])
def test_bad_input_is_refused(name):
    function = LOSSES[name]
    with pytest.raises(ValueError, match=r"got \[3, 4\] and \[1, 4\]"):
        function(torch.zeros(3, 4), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="reduction must be one of"):
        function(torch.zeros(3, 4), torch.zeros(3, 4), reduction="avg")
    with pytest.raises(TypeError, match="floating point"):
        function(torch.zeros(3, 4).long(), torch.zeros(3, 4).long())


def test_bad_options_are_refused():
    boxes = torch.zeros(1, 4)
    with pytest.raises(ValueError, match="form"):
        iou_loss(boxes, boxes, form="square")
    with pytest.raises(ValueError, match="alpha"):
        ciou_loss(boxes, boxes, alpha="learned")
    with pytest.raises(ValueError, match="gamma"):
        focal_eiou_loss(boxes, boxes, gamma=-1)
    for beta in (0.3, 1.1):
        with pytest.raises(ValueError, match="beta of FocalL1"):
            focal_l1_loss(boxes, boxes, beta=beta)
    with pytest.raises(ValueError, match="scores"):
        carl_loss(boxes, boxes, torch.zeros(2))


def test_l1_is_the_absolute_error():
    assert l1_loss(torch.tensor([[1.0, -2, 0, 3]]), torch.zeros(1, 4)).tolist() == [[1, 2, 0, 3]]


@pytest.mark.parametrize("name", [*ON_BOXES, *ON_DELTAS])
def test_compiles_into_one_graph(random_boxes, name):
    function = LOSSES[name]
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    pred, target = random_boxes(8, seed=0), random_boxes(8, seed=1)
    torch.testing.assert_close(compiled(pred, target), function(pred, target))


def test_everything_exported_exists():
    assert set(losses.__all__) <= set(dir(losses))
