"""Criterion and matching, against arithmetic by hand and loops."""

import math

import pytest
import torch
from rebalance.assigners import make_assigner
from rebalance.detectors.box_coder import BoxCoder
from rebalance.detectors.criterion import make_criterion, one_hot
from rebalance.detectors.matching import centres_inside, join_matches, match_candidates
from rebalance.errors import InputError
from rebalance.losses import giou_loss, make_loss
from rebalance.samplers import make_sampler
from torch.nn.functional import smooth_l1_loss
from torchvision.ops import box_iou

from .conftest import make_target

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
TRUTHS = torch.tensor([[1.0, 0, 11, 12], [18, 20, 42, 38]])


def criterion(box_loss, average_over="positives", class_loss="sigmoid_cross_entropy", weight=1.0):
    return make_criterion(
        {"name": class_loss, "weight": weight}, box_loss, BoxCoder(), average_over
    )


def test_one_hot_by_hand():
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(("average_over", "divisor"), [("positives", 2), ("sampled", 5)])
def test_sums_are_divided_by_positives_or_by_sampled(average_over, divisor):
    logits, labels = torch.zeros(5, 3), torch.tensor([1, 3, 0, 0, 0])
    both = criterion({"name": "l1", "weight": 2.0}, average_over, weight=3.0)
    class_loss, box_loss = both(logits, labels, torch.ones(2, 4), ANCHORS, ANCHORS)
    # every one of the 15 logits is 0: cross entropy ln 2; target deltas are 0: l1 of 1 four times
    torch.testing.assert_close(class_loss, torch.tensor(3 * 15 * math.log(2) / divisor))
    torch.testing.assert_close(box_loss, torch.tensor(2 * 8.0 / divisor))


def test_a_loss_on_boxes_gets_decoded_boxes():
    deltas = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    _, box_loss = criterion({"name": "giou"})(
        torch.zeros(2, 3), torch.tensor([1, 1]), deltas, ANCHORS, TRUTHS
    )
    decoded = BoxCoder().decode(deltas, ANCHORS)
    torch.testing.assert_close(box_loss, giou_loss(decoded, TRUTHS).sum() / 2)


def test_a_loss_with_its_own_normaliser_is_divided_by_it():
    deltas = torch.zeros(2, 4)
    focal = make_loss("focal_eiou", gamma=0.5)
    _, box_loss = criterion({"name": "focal_eiou", "gamma": 0.5, "weight": 2.5})(
        torch.zeros(2, 3), torch.tensor([1, 1]), deltas, ANCHORS, TRUTHS
    )
    expected = 2.5 * focal(ANCHORS, TRUTHS).sum() / focal.normaliser(ANCHORS, TRUTHS)
    torch.testing.assert_close(box_loss, expected)


def test_softmax_logits_have_a_background_column():
    both = criterion({"name": "l1"}, "sampled", class_loss="softmax_cross_entropy")
    assert both.classes.extra_columns == 1
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    class_loss, _ = both(logits, torch.tensor([0, 2]), torch.zeros(1, 4), ANCHORS[:1], ANCHORS[:1])
    torch.testing.assert_close(class_loss, torch.tensor(math.log(1 + 2 * math.exp(-2))))
    torch.testing.assert_close(both.classes.scores(logits), logits.softmax(1)[:, 1:])


@pytest.mark.parametrize("box_loss", ["l1", "giou", "focal_eiou", "ggiou_balanced"])
def test_without_positives_the_losses_are_finite_and_have_gradients(box_loss):
    logits = torch.zeros(3, 2, requires_grad=True)
    deltas = torch.zeros(0, 4, requires_grad=True)
    class_loss, box = criterion({"name": box_loss})(
        logits, torch.zeros(3, dtype=torch.int64), deltas, torch.zeros(0, 4), torch.zeros(0, 4)
    )
    assert box == 0
    # nothing to divide by: the sum itself, divided by 1
    torch.testing.assert_close(class_loss, torch.tensor(6 * math.log(2)))
    (class_loss + box).backward()
    assert logits.grad.abs().sum() > 0
    assert deltas.grad.shape == (0, 4)


def test_the_loss_of_each_candidate_adds_up_to_the_loss():
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 3, generator=rng), torch.tensor([0, 2, 0, 1])
    deltas = torch.randn(2, 4, generator=rng) * 0.1
    both = criterion({"name": "giou", "weight": 2.0})
    each = both.of_each(logits, labels, deltas, ANCHORS, TRUTHS)
    total = sum(both(logits, labels, deltas, ANCHORS, TRUTHS))
    assert each.shape == (4,)
    torch.testing.assert_close(each.sum() / 2, total)


def test_a_loss_in_the_wrong_place_is_refused():
    with pytest.raises(InputError, match="box_loss must be a loss that takes one of"):
        criterion({"name": "focal"})
    with pytest.raises(InputError, match="class_loss must be"):
        criterion({"name": "l1"}, class_loss="giou")


def match(boxes, target, inside=None, sampler=None):
    return match_candidates(
        make_assigner("max_iou"),
        sampler or make_sampler("all"),
        criterion({"name": "l1"}),
        boxes,
        target,
        torch.Generator(),
        predict=lambda rows: (torch.zeros(len(rows), 3), torch.zeros(len(rows), 1, 4)),
        inside=inside,
    )


GRID = torch.tensor([[x, y, x + 10, y + 10] for y in (0.0, 10, 20) for x in (0.0, 10, 20)])


def test_candidates_in_crowd_regions_take_no_part():
    target = make_target([[0, 0, 10, 10]], labels=[3], ignored=[[10, 10, 30, 30]])
    found = match(GRID, target)
    assert found.positive_idxs.tolist() == [0]
    assert found.labels.tolist() == [3]
    assert found.negative_idxs.tolist() == [1, 2, 3, 6]  # 4, 5, 7, 8 are in the crowd


def test_candidates_outside_the_image_take_no_part_and_cannot_be_assigned():
    target = make_target([[10, 0, 20, 10]], size=(20, 15))
    inside = centres_inside(GRID, (20, 15), (32, 32))
    assert inside.nonzero().squeeze(1).tolist() == [0, 3]
    found = match(GRID, target, inside)
    assert found.positive_idxs.tolist() == []
    assert found.negative_idxs.tolist() == [0, 3]
    assert centres_inside(GRID, (32, 32), (32, 32)) is None


def test_an_image_without_objects_has_only_negatives():
    found = match(GRID, make_target([]))
    assert len(found.positive_idxs) == 0
    assert len(found.negative_idxs) == 9
    assert found.boxes.shape == (0, 4)


def test_hard_negatives_are_chosen_by_the_criterions_losses():
    target = make_target([[0, 0, 10, 10]])
    logits = torch.zeros(9, 3)
    logits[[2, 7]] = 4.0  # wrong with confidence: the largest losses among negatives
    found = match_candidates(
        make_assigner("max_iou"),
        make_sampler("combined", num=3, positive_fraction=0.34, negative="hard"),
        criterion({"name": "l1"}),
        GRID,
        target,
        torch.Generator(),
        predict=lambda rows: (logits[rows], torch.zeros(len(rows), 1, 4)),
    )
    assert found.positive_idxs.tolist() == [0]
    assert sorted(found.negative_idxs.tolist()) == [2, 7]


def test_joined_matches_point_into_the_batch():
    one = match(GRID, make_target([[10, 0, 20, 10]], labels=[2]))
    other = match(GRID, make_target([[0, 0, 10, 10]], labels=[1]))
    joined = join_matches([one, other], [9, 9])
    assert joined.num_positives == 2
    assert joined.rows[:2].tolist() == [1, 9]
    assert joined.labels.tolist() == [2, 1] + [0] * 16
    assert sorted(joined.rows.tolist()) == list(range(18))


def test_an_overlap_balanced_loss_gets_deltas_and_boxes():
    deltas = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    logits, labels = torch.zeros(2, 3), torch.tensor([1, 1])
    both = criterion({"name": "iou_balanced", "gamma": 1.5, "beta": 0.11, "weight": 2.5})
    _, box_loss = both(logits, labels, deltas, ANCHORS, TRUTHS)
    weights = box_iou(BoxCoder().decode(deltas, ANCHORS), TRUTHS).diagonal() ** 1.5
    errors = smooth_l1_loss(deltas, BoxCoder().encode(TRUTHS, ANCHORS), beta=0.11, reduction="none")
    torch.testing.assert_close(box_loss, 2.5 * (weights * errors.sum(dim=1)).sum() / 2)
    each = both.of_each(logits, labels, deltas, ANCHORS, TRUTHS)
    assert each.shape == (2,)
