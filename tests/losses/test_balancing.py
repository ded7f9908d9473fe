"""Balancing of tasks and of instances."""

import pytest
import torch
from rebalance.errors import InputError
from rebalance.losses import (
    INSTANCE_WEIGHTS,
    EpochBalance,
    carl_weights,
    constant_weight,
    guided_weight,
    iou_loss,
    magnitude_weight,
    make_instance_weights,
    pisa_weights,
    ranking_weights,
    value_weight,
    weighted_mean,
)


def test_value_weight_brings_a_task_to_the_classification_loss():
    class_loss, box_loss = torch.tensor(0.6, requires_grad=True), torch.tensor(0.2)
    weight = value_weight(class_loss, box_loss)
    torch.testing.assert_close(weight * box_loss, class_loss.detach())
    assert not weight.requires_grad
    assert value_weight(class_loss, torch.tensor(0.0)) == 0


def test_magnitude_weight_makes_the_gradients_equally_large():
    logits = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    outputs = torch.tensor([3.0, 4.0], requires_grad=True)
    class_loss, box_loss = (logits**2).sum(), (outputs * torch.tensor([1.0, -1.0])).sum()
    weight = magnitude_weight(class_loss, box_loss, logits, outputs)
    assert weight == 7 / 2  # |2| + |-4| + |1| over |1| + |-1|
    assert magnitude_weight(class_loss, (outputs * 0).sum(), logits, outputs) == 0
    (class_loss + weight * box_loss).backward()  # the graph is still there
    assert logits.grad.abs().sum() == outputs.grad.abs().sum()


def test_guided_weight_brings_classification_to_the_box_loss():
    class_loss, box_loss = torch.tensor(4.0), torch.tensor(0.5)
    assert guided_weight(class_loss, box_loss, box_weight=2.0) * class_loss == 2 * box_loss
    assert guided_weight(torch.tensor(0.0), box_loss) == 0


def test_constant_weight_is_constant():
    assert constant_weight(torch.tensor(1.0), torch.tensor(2.0), weight=1.5) == 1.5


def test_epoch_balance_uses_the_last_epoch():
    balance = EpochBalance(initial=50.0, period=2)
    for total, localisation, expected in (
        (0.9, 0.1, 50.0),
        (0.7, 0.3, 1.6 / 0.4),  # the iteration that completes an epoch is weighed by it
        (1.0, 0.0, 1.6 / 0.4),
        (1.0, 0.0, 1.6 / 0.4),  # an epoch without localisation loss
        (1.0, 0.5, 1.6 / 0.4),
        (2.0, 0.5, 3.0),
    ):
        balance.update(torch.tensor(total), torch.tensor(localisation))
        torch.testing.assert_close(balance.weight, torch.tensor(expected))


def test_an_iteration_without_positives_is_no_part_of_an_epoch():
    balance = EpochBalance(period=1)
    balance.update(torch.tensor(0.9), torch.tensor(0.1), counts=torch.tensor(False))
    assert balance.weight == 50
    assert balance.iterations == balance.total == balance.localisation == 0


def test_an_epoch_has_iterations():
    with pytest.raises(InputError, match="period must be at least 1, got 0"):
        EpochBalance(period=0)


def test_epoch_balance_travels_in_checkpoints():
    balance, restored = EpochBalance(period=2), EpochBalance(period=2)
    balance.update(torch.tensor(0.8), torch.tensor(0.2))
    restored.load_state_dict(balance.state_dict())
    restored.update(torch.tensor(0.8), torch.tensor(0.2))
    torch.testing.assert_close(restored.weight, torch.tensor(4.0))


@pytest.fixture
def positives():
    """Two positives, by the names of ``Matched``."""
    return {
        "positive_logits": torch.tensor([[0.0, -1.0], [2.0, 3.0]], requires_grad=True),
        "points": torch.tensor([[2.0, 2], [2, 1]]),
        "pred_boxes": torch.tensor([[0.0, 0, 4, 2], [0, 0, 8, 2]], requires_grad=True),
        "target_boxes": torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 8, 2]]),
        "logits": torch.tensor([[0.0, 1.0], [3.0, -2.0]]),
        "targets": torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
    }


def weights_of(positives, name, **options):
    weigh = make_instance_weights(name, **options)
    return weigh(*(positives[one] for one in weigh.inputs))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", [1, 1]),
        # the second point is 2 and 6 from the sides, 1 and 1 from top and bottom
        ("centerness", [1, (2 / 6) ** 0.5]),
        ("score", [0.5, torch.tensor(3.0).sigmoid().item()]),
        ("iou", [0.5, 1]),
        # ranks 0.5 + 1 + 1 and 0.5; the unit step counts the better one in both
        ("ranking", [1 / 2.5 / 2, (1 / 2.5 + 1 / 0.5) / 2]),
    ],
)
def test_instance_weights_by_hand(positives, name, expected):
    weights = weights_of(positives, name)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))
    assert not weights.requires_grad


def test_every_way_of_instance_weighting_was_checked():
    assert list(INSTANCE_WEIGHTS) == ["none", "centerness", "score", "iou", "ranking"]


def test_ranking_weights_take_options(positives):
    torch.testing.assert_close(
        weights_of(positives, "ranking", delta_loc=2.0),
        ranking_weights(positives["logits"].flatten(), positives["targets"].flatten(), 0.5, 2.0),
    )
    with pytest.raises(InputError, match=r"unknown key 'delta'; instance weights 'score'"):
        make_instance_weights("score", delta=1.0)
    with pytest.raises(InputError, match=r"instance weights must be one of .* got 'rank'"):
        make_instance_weights("rank")


def test_weighted_mean_is_eq_8_11():
    losses, weights = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 3.0])
    assert weighted_mean(losses, weights) == 10 / 4
    assert weighted_mean(losses, torch.zeros(2)) == 0
    assert weighted_mean(torch.zeros(0), torch.zeros(0)) == 0


def test_pisa_weights_are_those_of_thesis_table_3_1():
    # one positive class with 2 examples, ranked by IoU; negatives ranked by foreground score;
    # N_max is that of the larger group, so both go into one call
    values = torch.tensor([0.95, 0.55, 0.9, 0.7, 0.4, 0.0])
    groups = torch.tensor([1, 1, 0, 0, 0, 0])
    expected = torch.tensor([1, 0.75, 1, 0.75, 0.5, 0.25])
    torch.testing.assert_close(pisa_weights(values, groups, gamma=1.0), expected)


def test_pisa_weights_equal_the_loop():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(40, generator=rng)
    classes = torch.randint(5, (40,), generator=rng)
    weights = pisa_weights(values, classes, gamma=2.0, beta=0.2)
    largest = max(int((classes == c).sum()) for c in range(5))
    for i in range(40):
        rank = int(((classes == classes[i]) & (values > values[i])).sum())
        expected = (0.8 * (largest - rank) / largest + 0.2) ** 2
        assert weights[i].item() == pytest.approx(expected)


def test_pisa_weights_of_nothing_and_of_nonsense():
    assert pisa_weights(torch.zeros(0), torch.zeros(0, dtype=torch.int64)).shape == (0,)
    with pytest.raises(ValueError, match=r"got \[3\] and \[2\]"):
        pisa_weights(torch.zeros(3), torch.zeros(2, dtype=torch.int64))


def test_carl_weights_have_mean_1_and_a_gradient():
    scores = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    weights = carl_weights(scores, gamma=2.0)
    torch.testing.assert_close(weights.mean(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(weights[2] / weights[0], torch.tensor((0.92 / 0.28) ** 2).double())
    assert torch.autograd.gradcheck(lambda p: carl_weights(p, gamma=2.0), scores)
    assert carl_weights(torch.zeros(0)).shape == (0,)


def test_iou_weights_are_one_minus_the_loss(positives):
    loss = iou_loss(positives["pred_boxes"], positives["target_boxes"])
    torch.testing.assert_close(weights_of(positives, "iou"), 1 - loss.detach())
