"""Objectives of ranking losses, against the loss functions and arithmetic by hand."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rebalance.boxes import paired_iou
from rebalance.config.options.objectives import Objective
from rebalance.config.parse import parse
from rebalance.detectors.coders import DeltaCoder, DistanceCoder
from rebalance.detectors.objectives import is_loss, make_objective, total_loss
from rebalance.detectors.objectives.log import spearman
from rebalance.detectors.types import (
    Matched,
    Matches,
    Predictions,
    Trained,
    make_candidates,
    make_truths,
)
from rebalance.errors import InputError
from rebalance.losses import (
    alrp_loss,
    ap_loss,
    dice_loss,
    giou_loss,
    rank_sort_loss,
    smooth_l1_loss,
)

from .conftest import make_target

RANK_SORT = {"name": "ranking", "class": {"name": "rank_sort"}, "box": {"name": "giou"}}
AP = {"name": "ranking", "class": {"name": "ap"}, "box": {"name": "giou"}}
ALRP = {"name": "coupled_ranking", "box": {"name": "giou"}}


def scene(num_positives=6, num=12, seed=0, coder=None, extra=None, images=1):
    """Images with ``num`` candidates each, ``num_positives`` of which are near ground truths."""
    rng = torch.Generator().manual_seed(seed)
    corners = torch.rand(images * num, 2, generator=rng) * 40
    boxes = torch.cat([corners, corners + 8 + torch.rand(len(corners), 2, generator=rng) * 10], 1)
    places = [image * num + index for image in range(images) for index in range(num_positives)]
    truths = boxes[places] + torch.randn(len(places), 4, generator=rng)
    labels = torch.randint(1, 4, (len(places),), generator=rng)
    gt = torch.full((len(boxes),), -1)
    gt[places] = torch.arange(len(places))
    predictions = Predictions(
        torch.randn(len(boxes), 3, generator=rng).requires_grad_(),
        (torch.randn(len(boxes), 1, 4, generator=rng) * 0.3).requires_grad_(),
        extra or {},
    )
    targets = [
        make_target(of_image.tolist(), labels=of_labels.tolist())
        for of_image, of_labels in zip(
            truths.split(num_positives) if num_positives else [truths] * images,
            labels.split(num_positives) if num_positives else [labels] * images,
            strict=True,
        )
    ]
    matches = Matches(torch.arange(len(boxes)), gt, torch.zeros(len(boxes)))
    return Matched(
        predictions,
        make_candidates(list(boxes.split(num))),
        make_truths(targets, (64, 64)),
        matches,
        coder or DeltaCoder((10.0, 10.0, 5.0, 5.0)),
        taken=True,
    )


def ranked(matched, values=None):
    """Logits and targets of the ranking, flat."""
    targets = torch.zeros_like(matched.logits)
    ones = torch.ones(len(matched.positives))
    targets[matched.positives, matched.positive_labels - 1] = ones if values is None else values
    return matched.logits.flatten(), targets.flatten()


def test_rank_and_sort_by_hand():
    """Thesis 8.4: labels are IoUs, boxes a mean weighted by scores, as large as the class loss."""
    matched = scene()
    losses = make_objective(**RANK_SORT, weigh="score", balance="value")(matched)
    expected = rank_sort_loss(*ranked(matched, matched.ious)).loss
    torch.testing.assert_close(losses["class_loss"], expected)
    torch.testing.assert_close(losses["box_loss"], expected)
    each = giou_loss(matched.pred_boxes, matched.target_boxes)
    weights = matched.logits[matched.positives].sigmoid().amax(1).detach()
    mean = (weights * each).sum() / weights.sum()
    deltas = matched.predictions.deltas
    (gradient,) = torch.autograd.grad(losses["box_loss"], deltas, retain_graph=True)
    (of_mean,) = torch.autograd.grad(mean, deltas)
    torch.testing.assert_close(gradient, of_mean * (expected / mean).detach())


@pytest.mark.parametrize("name", ["ap", "rank_sort"])
def test_a_gradient_of_the_class_loss_is_that_of_the_loss(name):
    loss = {"ap": ap_loss, "rank_sort": lambda *inputs: rank_sort_loss(*inputs).loss}[name]
    matched = scene()
    objective = make_objective(
        "ranking", **{"class": {"name": name, "weight": 2.0}}, box={"name": "l1"}
    )
    found = objective(matched)["class_loss"]
    inputs = ranked(matched, matched.ious if name == "rank_sort" else None)
    (gradient,) = torch.autograd.grad(found, matched.logits)
    (expected,) = torch.autograd.grad(2 * loss(*inputs), matched.logits)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("labels", ["binary", "iou", "dice", "mean"])
def test_what_positives_are_sorted_by(labels):
    masks = torch.randn(12, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    matched = scene(extra={"mask_logits": masks})
    matched.mask_targets = (
        torch.rand(6, 5, 5, generator=torch.Generator().manual_seed(2)) > 0.5
    ).float()
    dice = 1 - dice_loss(masks[:6, 0], matched.mask_targets)
    value = {
        "binary": torch.ones(6),
        "iou": matched.ious,
        "dice": dice,
        "mean": (dice + matched.ious) / 2,
    }[labels]
    found = make_objective(**RANK_SORT, labels=labels)(matched)["class_loss"]
    expected = rank_sort_loss(*ranked(matched, value.float())).loss
    torch.testing.assert_close(found, expected)


def test_constant_balance_is_the_weight_of_the_task():
    matched = scene()
    objective = make_objective("ranking", **{"class": {"name": "ap"}},
                               box={"name": "smooth_l1", "weight": 0.25})  # fmt: skip
    expected = smooth_l1_loss(matched.pred_deltas, matched.target_deltas).mean()
    torch.testing.assert_close(objective(matched)["box_loss"], expected)


def test_magnitude_balance_makes_gradients_equally_large():
    matched = scene()
    losses = make_objective(**RANK_SORT, balance="magnitude")(matched)
    (of_logits,) = torch.autograd.grad(losses["class_loss"], matched.logits, retain_graph=True)
    (of_deltas,) = torch.autograd.grad(losses["box_loss"], matched.pred_deltas)
    torch.testing.assert_close(of_logits.abs().sum(), of_deltas.abs().sum())
    with torch.no_grad():  # nothing to measure
        assert make_objective(**RANK_SORT, balance="magnitude")(scene())["box_loss"] > 0


def test_balance_of_epochs_beside_ap():
    matched = scene()
    balance = {"name": "epoch", "initial": 7.0, "period": 2}
    objective = make_objective(**AP, balance=balance)
    class_loss = ap_loss(*ranked(matched))
    mean = giou_loss(matched.pred_boxes, matched.target_boxes).mean()
    torch.testing.assert_close(objective(matched)["box_loss"], 7 * mean)
    with torch.no_grad():
        objective(matched)  # no training, no iteration
    torch.testing.assert_close(objective(matched)["box_loss"], class_loss)
    objective.eval()
    objective(matched)
    assert objective.balances["box"].epoch.iterations == 0


def test_alrp_by_hand():
    """Eq. 7.2-7.7; the balance multiplies the boxes' gradient and leaves that of the classes."""
    matched = scene()
    errors = giou_loss(matched.pred_boxes, matched.target_boxes) / (2 * (1 - 0.7))
    expected = alrp_loss(*ranked(matched), errors)
    losses = make_objective(**ALRP, tau=0.7, balance={"name": "epoch", "initial": 50.0})(matched)
    torch.testing.assert_close(losses["class_loss"], expected.classification)
    torch.testing.assert_close(losses["box_loss"], 50 * expected.localisation)
    logits, deltas = matched.logits, matched.predictions.deltas
    ours = torch.autograd.grad(total_loss(losses), [logits, deltas], retain_graph=True)
    theirs = torch.autograd.grad(expected.loss, [logits, deltas])
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], 50 * theirs[1])


def test_alrp_with_iou_is_eq_7_3():
    matched = scene()
    objective = make_objective("coupled_ranking", box={"name": "iou"}, error_range=1.0,
                               balance="constant")  # fmt: skip
    iou = paired_iou(matched.pred_boxes, matched.target_boxes)
    expected = alrp_loss(*ranked(matched), (1 - iou) / (1 - 0.5))
    torch.testing.assert_close(objective(matched)["box_loss"], expected.localisation)


@pytest.mark.parametrize("settings", [RANK_SORT, ALRP], ids=["rank_sort", "alrp"])
def test_unit_boxes_have_the_same_losses(settings):
    found = [make_objective(**settings, boxes=boxes)(scene()) for boxes in ("image", "unit")]
    for name in ("class_loss", "box_loss"):
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="unit boxes need the coder 'deltas', got DistanceCoder"):
        make_objective(**settings, boxes="unit")(scene(coder=DistanceCoder()))


@pytest.mark.parametrize("settings", [RANK_SORT, AP, ALRP], ids=["rank_sort", "ap", "alrp"])
@pytest.mark.parametrize("balance", ["constant", "value", "magnitude", "epoch"])
@pytest.mark.parametrize("positives", [0, 1, 12])
def test_any_number_of_positives(settings, balance, positives):
    matched = scene(num_positives=positives)
    losses = make_objective(**settings, balance=balance, log=True)(matched)
    assert losses["class_loss"].isfinite()
    assert losses["box_loss"].isfinite()
    total_loss(losses).backward()
    for output in (matched.predictions.logits, matched.predictions.deltas):
        assert output.grad.isfinite().all()
        assert output.grad.any() == (positives > 0)
    if positives == 0:
        assert losses["class_loss"] == losses["box_loss"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("settings", [RANK_SORT, AP, ALRP], ids=["rank_sort", "ap", "alrp"])
def test_logits_of_half_precision_have_the_losses_of_their_values(settings, dtype):
    """Labels are not rounded: in bfloat16 the IoUs 0.7812 and 0.7822 would be equal."""
    half, whole = scene(num=60, num_positives=40), scene(num=60, num_positives=40)
    logits = half.logits.detach().to(dtype).requires_grad_()
    exact = logits.detach().float().requires_grad_()
    half.predictions = half.predictions._replace(logits=logits)
    whole.predictions = whole.predictions._replace(logits=exact)
    found, expected = (make_objective(**settings)(one) for one in (half, whole))
    for name, loss in expected.items():
        assert found[name].dtype == torch.float32
        assert found[name].equal(loss)
    (gradient,) = torch.autograd.grad(found["class_loss"], logits)
    (of_whole,) = torch.autograd.grad(expected["class_loss"], exact)
    assert gradient.equal(of_whole.to(dtype))


@pytest.mark.parametrize("settings", [RANK_SORT, AP, ALRP], ids=["rank_sort", "ap", "alrp"])
@pytest.mark.parametrize("positives", [1, 6])
def test_a_logit_that_is_nan_makes_the_loss_nan(settings, positives):
    """The engine names losses that are not finite; here nothing waits for the device to look."""
    matched = scene(num_positives=positives)
    with torch.no_grad():
        matched.logits[-1, 0] = torch.nan  # of a negative
    losses = make_objective(**settings)(matched)
    assert losses["class_loss"].isnan()
    total_loss(losses).backward()
    assert matched.logits.grad.isnan().any()


def test_without_positives_the_published_losses_are_one():
    matched = scene(num_positives=0)
    losses = make_objective(**RANK_SORT, without_positives=1.0)(matched)
    assert losses["class_loss"] == 2  # ranking and sorting
    assert losses["box_loss"] == 1
    total_loss(losses).backward()
    assert not matched.predictions.logits.grad.any()


def masks_of(boxes, losses):
    """The positives of a box step, with masks."""
    rng = torch.Generator().manual_seed(3)
    positives = len(boxes.positives)
    logits = torch.randn(positives, 3, 4, 4, generator=rng).requires_grad_()
    rows = torch.arange(positives)
    masks = Matched(
        Predictions(extra={"mask_logits": logits}),
        boxes.candidates._replace(boxes=boxes.reference_boxes, image=boxes.image[boxes.positives]),
        boxes.truths,
        Matches(rows, boxes.gt, torch.zeros(positives)),
        DeltaCoder(),
        taken=True,
        of_boxes=Trained(boxes, losses),
    )
    masks.mask_targets = (torch.rand(positives, 4, 4, generator=rng) > 0.5).float()
    return masks


@pytest.mark.parametrize("balance", ["value", "magnitude"])
def test_masks_take_weights_and_class_loss_of_the_boxes(balance):
    boxes = scene()
    losses = make_objective(**RANK_SORT)(boxes)
    masks = masks_of(boxes, losses)
    objective = make_objective("ranking", mask={"name": "dice"}, weigh="score", balance=balance)
    found = objective(masks)
    assert list(found) == ["mask_loss"]
    weights = boxes.logits[boxes.positives].sigmoid().amax(1).detach()
    mean = (weights * dice_loss(masks.mask_logits, masks.mask_targets)).sum() / weights.sum()
    if balance == "value":
        torch.testing.assert_close(found["mask_loss"], losses["class_loss"])
    (gradient,) = torch.autograd.grad(found["mask_loss"], masks.mask_logits, retain_graph=True)
    (of_mean,) = torch.autograd.grad(mean, masks.mask_logits)
    if balance == "magnitude":
        (of_class,) = torch.autograd.grad(losses["class_loss"], boxes.logits)
        torch.testing.assert_close(gradient.abs().sum(), of_class.abs().sum())
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), of_mean.flatten(), dim=0)
    torch.testing.assert_close(cosine, torch.tensor(1.0))


def test_masks_need_a_box_step_with_classes():
    objective = make_objective("ranking", mask={"name": "dice"}, balance="value")
    masks = masks_of(scene(), {"box_loss": torch.tensor(1.0)})
    with pytest.raises(InputError, match="the box step before has no class_loss"):
        objective(masks)
    masks.of_boxes = None
    with pytest.raises(InputError, match="for mask steps with refined: false"):
        objective(masks)


def test_costs_are_those_of_another_objective():
    matched = scene()
    terms = {"class": {"name": "focal"}, "box": {"name": "giou", "weight": 2.0}}
    objective = make_objective(**RANK_SORT, costs_by=terms)
    torch.testing.assert_close(
        objective.costs(matched), make_objective("linear", **terms).costs(matched)
    )
    with pytest.raises(InputError, match=r"objective.costs_by: a ranking loss has no cost"):
        make_objective(**RANK_SORT).costs(matched)


def test_the_log_changes_no_loss():
    for settings in (RANK_SORT, AP, ALRP):
        plain = make_objective(**settings, balance="value")(scene())
        logged = make_objective(**settings, balance="value", log=True)(scene())
        assert plain.keys() == {name for name in logged if is_loss(name)}
        for name, loss in plain.items():
            assert logged[name].equal(loss)
        torch.testing.assert_close(total_loss(logged), total_loss(plain))


def test_what_is_logged():
    matched = scene()
    losses = make_objective(**RANK_SORT, balance="value", log=True)(matched)
    parts = rank_sort_loss(*ranked(matched, matched.ious))
    torch.testing.assert_close(losses["ranking"], parts.ranking)
    torch.testing.assert_close(losses["sorting"], parts.sorting)
    (gradient,) = torch.autograd.grad(losses["class_loss"], matched.logits, retain_graph=True)
    positive = matched.targets > 0
    torch.testing.assert_close(losses["positive_gradients"].float(), gradient[positive].abs().sum())
    torch.testing.assert_close(
        losses["negative_gradients"].float(), gradient[~positive].abs().sum()
    )
    scores = matched.logits[matched.positives, matched.positive_labels - 1]
    expected = spearman(scores.detach(), matched.ious)
    torch.testing.assert_close(losses["score_iou_correlation"], expected)


def test_linear_objectives_log_the_same():
    """Of logits 0, cross entropy has gradients -1/2 at positives and 1/2 elsewhere."""
    matched = scene()
    with torch.no_grad():
        matched.logits.zero_()
    objective = make_objective("linear", log=True, box={"name": "l1"},
                               **{"class": {"name": "sigmoid_cross_entropy"}})  # fmt: skip
    losses = objective(matched)
    assert losses["gradient_ratio"] == pytest.approx((36 - 6) / 6)
    assert losses["positive_gradients"] == pytest.approx(0.5 * 6 / 6)
    assert losses["score_iou_correlation"].isnan()  # equal scores have no order


@pytest.mark.parametrize("settings", [AP, ALRP], ids=["ap", "alrp"])
def test_positives_and_negatives_are_balanced(settings):
    for seed in range(5):
        logged = make_objective(**settings, log=True)(scene(seed=seed, num=60))
        torch.testing.assert_close(logged["positive_gradients"], logged["negative_gradients"])
        assert logged["gradient_ratio"] == pytest.approx(1)


def test_with_target_zero_positives_are_pushed_although_they_are_best():
    """Thesis L.3: positives that no negative comes near get gradient, by their box's error."""
    matched = scene()
    with torch.no_grad():
        matched.logits[matched.positives, matched.positive_labels - 1] += 100
    own, zero = (
        make_objective(**ALRP, **{"class": {"name": "alrp", "target": target}}, log=True)(matched)
        for target in ("own", "zero")
    )
    assert own["class_loss"] == zero["class_loss"] == 0  # the value is the same
    assert own["positive_gradients"] == zero["negative_gradients"] == 0
    assert zero["positive_gradients"] > 0


@pytest.mark.parametrize(("first", "second", "expected"), [
    ([1.0, 2, 3], [10.0, 20, 15], 0.5),  # 1 - 6 (0 + 1 + 1) / (3 * 8)
    ([1.0, 2, 3], [3.0, 2, 1], -1.0),
    ([1.0, 1, 2], [1.0, 2, 3], 3**0.5 / 2),  # ranks 1.5 1.5 3: covariance 1.5, squares 1.5 and 2
])  # fmt: skip
def test_spearman_by_hand(first, second, expected):
    found = spearman(torch.tensor(first), torch.tensor(second))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("settings", "message"), [
    ({**RANK_SORT, "over": "world"}, "f: over"),
    ({**RANK_SORT, "boxes": "units"}, "f: boxes"),
    ({**RANK_SORT, "labels": "ious"}, "f: labels"),
    ({**RANK_SORT, "balance": "values"}, "f: balance"),
    ({**RANK_SORT, "balance": {"name": "value", "initial": 1}}, "f: balance.initial: unknown key"),
    ({**RANK_SORT, "weigh": "scores"}, "f: weigh"),
    ({**RANK_SORT, "class": {"name": "focal"}}, "f: class"),
    ({**RANK_SORT, "box": {"name": "giou", "per": "samples"}}, "f: box.per: unknown key"),
    ({**ALRP, "class": {"name": "ap"}}, "f: class"),
    ({**ALRP, "tau": 1.0}, "f: tau"),
    ({**ALRP, "error_range": 0.0}, "f: error_range"),
    ({**ALRP, "normalise": "all"}, "f: normalise"),
])  # fmt: skip
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=f"^{message}"):
        parse(Objective, settings, "f")


OBJECTIVES = [
    {**RANK_SORT, "weigh": "ranking", "balance": "value"},
    {**RANK_SORT, "weigh": "centerness", "balance": "magnitude"},
    {**AP, "balance": {"name": "epoch", "period": 1}},
    ALRP,
]


def _check_batch(rank, folder):
    """In each of two processes: half of the images, ranked with the others or alone."""
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    found = []
    for settings in OBJECTIVES:
        for over in ("batch", "device"):
            own = scene(images=2)
            half = Matched(
                own.predictions.take(slice(12 * rank, 12 * rank + 12)),
                make_candidates([own.candidates.boxes[12 * rank : 12 * rank + 12]]),
                own.truths,
                Matches(
                    torch.arange(12), own.matches.gt[12 * rank : 12 * rank + 12], torch.zeros(12)
                ),
                own.coder,
                taken=True,
            )
            losses = make_objective(**settings, over=over)(half)
            total_loss(losses).backward()
            outputs = (own.predictions.logits, own.predictions.deltas)
            found.append(({k: v.detach() for k, v in losses.items()}, [o.grad for o in outputs]))
    empty = make_objective(**OBJECTIVES[0], over="batch")(scene(num_positives=0))
    assert total_loss(empty) == 0
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_one_ranking_of_two_processes_is_that_of_one_process(tmp_path):
    mp.spawn(_check_batch, args=(str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for place, settings in enumerate(OBJECTIVES):
        whole = scene(images=2)
        expected = make_objective(**settings)(whole)
        total_loss(expected).backward()
        outputs = (whole.predictions.logits, whole.predictions.deltas)
        together = [part[2 * place] for part in parts]
        for losses, _ in together:
            torch.testing.assert_close(losses, {k: v.detach() for k, v in expected.items()})
        for output, *of_ranks in zip(
            outputs, *(gradients for _, gradients in together), strict=True
        ):
            torch.testing.assert_close(sum(of_ranks) / 2, output.grad)  # DDP takes the mean
        alone = [part[2 * place + 1][0]["class_loss"] for part in parts]
        assert alone[0] != alone[1] != expected["class_loss"]
