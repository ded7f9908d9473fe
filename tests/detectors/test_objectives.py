"""Linear objectives and matching, against arithmetic by hand and loops."""

import math

import pytest
import torch
from rebalance.assigners import make_assigner
from rebalance.detectors.coders import DeltaCoder
from rebalance.detectors.inside import InsideRule
from rebalance.detectors.matching import match
from rebalance.detectors.objectives import make_objective
from rebalance.detectors.types import (
    Candidates,
    Matched,
    Matches,
    Predictions,
    make_candidates,
    make_truths,
    repeat_candidates,
)
from rebalance.errors import InputError
from rebalance.losses import ghm_c_loss, giou_loss, make_loss
from rebalance.samplers import make_sampler
from torch.nn.functional import smooth_l1_loss
from torchvision.ops import box_iou

from .conftest import make_target

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
TRUTHS = [[1.0, 0, 11, 12], [18, 20, 42, 38]]


def linear(box, class_name="sigmoid_cross_entropy", weight=1.0, **options):
    return make_objective("linear", **{"class": {"name": class_name, "weight": weight}},
                          box=box, **options)  # fmt: skip


def matched(logits, gt, deltas, boxes=ANCHORS, truths=TRUTHS, labels=(1, 3)):
    """One image; the first candidates lie on ``boxes``, the others anywhere."""
    anywhere = torch.tensor([[0.0, 0, 5, 5]]).expand(len(gt) - len(boxes), 4)
    candidates = make_candidates([torch.cat([boxes, anywhere])])
    targets = [make_target(truths, labels=list(labels[: len(truths)]))]
    matches = Matches(torch.arange(len(gt)), torch.tensor(gt), torch.zeros(len(gt)))
    return Matched(
        Predictions(logits, deltas[:, None]),
        candidates,
        make_truths(targets, (64, 64)),
        matches,
        DeltaCoder(),
    )


def both(objective, *arguments, **options):
    return tuple(objective(matched(*arguments, **options)).values())


@pytest.mark.parametrize(("per", "divisor"), [
    ("positives", 2), ("samples", 5), ("positives_of_images", 2), ("positives_and_images", 3),
    ("positives_or_images", 2),
])  # fmt: skip
def test_sums_are_divided_by_a_count(per, divisor):
    objective = linear({"name": "l1", "weight": 2.0}, weight=3.0, per=per)
    class_loss, box_loss = both(
        objective, torch.zeros(5, 3), [0, 1, -1, -1, -1], torch.ones(5, 4),
        truths=ANCHORS.tolist(),
    )  # fmt: skip
    # every one of the 15 logits is 0: cross entropy ln 2; target deltas are 0: l1 of 1 four times
    torch.testing.assert_close(class_loss, torch.tensor(3 * 15 * math.log(2) / divisor))
    torch.testing.assert_close(box_loss, torch.tensor(2 * 8.0 / divisor))


def test_an_image_without_positives_counts_one_in_positives_of_images():
    truths = make_truths([make_target(TRUTHS), make_target([])], (64, 64))
    candidates = make_candidates([ANCHORS, ANCHORS])
    matches = Matches(torch.arange(4), torch.tensor([0, 1, -1, -1]), torch.zeros(4))
    predictions = Predictions(torch.zeros(4, 1), torch.zeros(4, 1, 4))
    objective = linear({"name": "l1"}, per="positives_of_images")
    losses = objective(Matched(predictions, candidates, truths, matches, DeltaCoder()))
    torch.testing.assert_close(losses["class_loss"], torch.tensor(4 * math.log(2) / 3))


def test_without_positives_the_images_may_count():
    objective = linear({"name": "l1"}, per="positives_or_images")
    truths = make_truths([make_target([]) for _ in range(3)], (64, 64))
    candidates = make_candidates([ANCHORS] * 3)
    matches = Matches(torch.arange(6), torch.full((6,), -1), torch.zeros(6))
    predictions = Predictions(torch.zeros(6, 1), torch.zeros(6, 1, 4))
    losses = objective(Matched(predictions, candidates, truths, matches, DeltaCoder()))
    torch.testing.assert_close(losses["class_loss"], torch.tensor(6 * math.log(2) / 3))


def test_further_outputs_have_targets_of_their_name():
    """Centerness of a centred anchor is 1: cross entropy of logit x is ln(1 + exp(-x))."""
    objective = make_objective(
        "linear",
        centerness={"name": "sigmoid_cross_entropy"},
        iou={"name": "sigmoid_cross_entropy", "weight": 0.5},
    )
    scene = matched(torch.zeros(3, 3), [0, 1, -1], torch.zeros(3, 4), truths=ANCHORS.tolist())
    outputs = {"centerness": torch.tensor([1.0, 2.0, 9.0]), "iou": torch.tensor([-1.0, 0.0, 9.0])}
    scene = Matched(
        scene.predictions._replace(extra=outputs), scene.candidates, scene.truths, scene.matches,
        DeltaCoder(),
    )  # fmt: skip
    losses = objective(scene)  # the third is negative: it has no such target
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    torch.testing.assert_close(losses["centerness_loss"], torch.tensor(expected))
    # deltas of 0 on anchors that are ground truths: IoU 1
    expected = 0.5 * (math.log(1 + math.exp(1)) + math.log(2)) / 2
    torch.testing.assert_close(losses["iou_loss"], torch.tensor(expected))


def test_a_term_may_have_a_count_of_its_own():
    objective = linear({"name": "l1", "per": "samples"})
    class_loss, box_loss = both(objective, torch.zeros(4, 1), [0, 1, -1, -1], torch.ones(4, 4),
                                truths=ANCHORS.tolist())  # fmt: skip
    torch.testing.assert_close(class_loss, torch.tensor(4 * math.log(2) / 2))
    torch.testing.assert_close(box_loss, torch.tensor(8.0 / 4))


def test_a_loss_on_boxes_gets_decoded_boxes():
    deltas = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    _, box_loss = both(linear({"name": "giou"}), torch.zeros(2, 3), [0, 1], deltas)
    decoded = DeltaCoder().decode(deltas, ANCHORS)
    torch.testing.assert_close(box_loss, giou_loss(decoded, torch.tensor(TRUTHS)).sum() / 2)


def test_positives_may_be_weighed_and_divided_by_their_weights():
    """ATSS: sum(w L) / sum(w) with centerness; by hand for anchors inside their truths."""
    deltas = torch.zeros(2, 4)
    objective = linear({"name": "giou", "weight": 2.0, "weigh": "centerness"})
    truths = torch.tensor([[0.0, 0, 10, 30], [10, 20, 50, 40]])
    _, box_loss = both(objective, torch.zeros(2, 3), [0, 1], deltas, truths=truths.tolist())
    # centres (5, 5) and (30, 30): l, r = 5, 5 and t, b = 5, 25; l, r = 20, 20 and t, b = 10, 10
    weights = torch.tensor([math.sqrt(1 * 5 / 25), 1.0])
    expected = (giou_loss(ANCHORS, truths) * weights).sum() / weights.sum()
    torch.testing.assert_close(box_loss, 2 * expected)


def test_a_loss_with_its_own_normaliser_is_divided_by_it():
    focal = make_loss("focal_eiou", gamma=0.5)
    box = {"name": "focal_eiou", "gamma": 0.5, "weight": 2.5}
    _, box_loss = both(linear(box), torch.zeros(2, 3), [0, 1], torch.zeros(2, 4))
    truths = torch.tensor(TRUTHS)
    expected = 2.5 * focal(ANCHORS, truths).sum() / focal.normaliser(ANCHORS, truths)
    torch.testing.assert_close(box_loss, expected)


def test_ghm_c_is_a_mean_over_all_logits():
    logits = torch.tensor([[2.0, -1.0, 0.1], [0.5, -3.0, 4.0]])
    class_loss, _ = both(linear({"name": "l1"}, "ghm_c"), logits, [0, -1], torch.zeros(2, 4))
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    expected = ghm_c_loss(logits, targets, reduction="mean")
    torch.testing.assert_close(class_loss, expected)


def test_softmax_logits_have_a_background_column():
    objective = linear({"name": "l1"}, "softmax_cross_entropy", per="samples")
    assert objective.num_columns(2) == 3
    logits = torch.tensor([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0]])
    class_loss, _ = both(objective, logits, [0, -1], torch.zeros(2, 4), labels=(2, 1))
    torch.testing.assert_close(class_loss, torch.tensor(math.log(1 + 2 * math.exp(-2))))
    torch.testing.assert_close(objective.scores(logits), logits.softmax(1)[:, 1:])


@pytest.mark.parametrize("box_loss", ["l1", "giou", "focal_eiou", "ggiou_balanced"])
def test_without_positives_the_losses_are_finite_and_have_gradients(box_loss):
    logits = torch.zeros(3, 2, requires_grad=True)
    deltas = torch.zeros(3, 4, requires_grad=True)
    class_loss, box = both(linear({"name": box_loss}), logits, [-1, -1, -1], deltas, truths=[])
    assert box == 0
    # nothing to divide by: the sum itself, divided by 1
    torch.testing.assert_close(class_loss, torch.tensor(6 * math.log(2)))
    (class_loss + box).backward()
    assert logits.grad.abs().sum() > 0
    assert deltas.grad.abs().sum() == 0


def test_the_loss_of_each_candidate_adds_up_to_the_loss():
    rng = torch.Generator().manual_seed(0)
    logits, deltas = torch.randn(4, 3, generator=rng), torch.randn(4, 4, generator=rng) * 0.1
    objective = linear({"name": "giou", "weight": 2.0})
    scene = matched(logits, [0, 1, -1, -1], deltas)
    costs = objective.costs(scene)
    assert costs.shape == (4,)
    torch.testing.assert_close(costs.sum() / 2, sum(objective(scene).values()))
    of_classes = objective.costs(scene, tasks=["class"])
    torch.testing.assert_close(of_classes.sum() / 2, objective(scene)["class_loss"])


def test_an_overlap_balanced_loss_gets_deltas_and_boxes():
    deltas = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    box = {"name": "iou_balanced", "gamma": 1.5, "beta": 0.11, "weight": 2.5}
    _, box_loss = both(linear(box), torch.zeros(2, 3), [0, 1], deltas)
    truths = torch.tensor(TRUTHS)
    weights = box_iou(DeltaCoder().decode(deltas, ANCHORS), truths).diagonal() ** 1.5
    errors = smooth_l1_loss(
        deltas, DeltaCoder().encode(truths, ANCHORS), beta=0.11, reduction="none"
    )
    torch.testing.assert_close(box_loss, 2.5 * (weights * errors.sum(dim=1)).sum() / 2)


@pytest.mark.parametrize(("settings", "message"), [
    ({"name": "linaer"}, "objective must be one of"),
    ({"name": "linear", "box": {"name": "l1", "per": "image"}}, "per: must be one of"),
    ({"name": "linear", "box": {"name": "l1", "weigh": "size"}}, "instance weights must be one of"),
])  # fmt: skip
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        make_objective(**settings)


GRID = torch.tensor([[x, y, x + 10, y + 10] for y in (0.0, 10, 20) for x in (0.0, 10, 20)])


def matches_of(targets, inside=None, sampler=None, costs=None) -> tuple[Candidates, Matches]:
    candidates = repeat_candidates(GRID, [9], len(targets))
    return match(
        make_assigner("max_iou"),
        sampler or make_sampler("all"),
        candidates,
        make_truths(targets, (32, 32)),
        [torch.Generator() for _ in targets],
        costs,
        inside,
    )


def test_candidates_in_crowd_regions_take_no_part():
    target = make_target([[0, 0, 10, 10]], labels=[3], ignored=[[10, 10, 30, 30]])
    found = matches_of([target])
    assert found.rows.tolist() == [0, 1, 2, 3, 6]  # 4, 5, 7, 8 are in the crowd
    assert found.gt.tolist() == [0, -1, -1, -1, -1]


def test_candidates_outside_the_image_take_no_part_and_cannot_be_assigned():
    target = make_target([[10, 0, 20, 10]], size=(20, 15))
    inside = InsideRule()(GRID, (9,), (20, 15), (32, 32))
    assert inside.rows.tolist() == [0, 3]
    assert inside.level_sizes == (2,)
    found = matches_of([target], [inside])
    assert (found.rows.tolist(), found.gt.tolist()) == ([0, 3], [-1, -1])
    assert InsideRule()(GRID, (9,), (32, 32), (32, 32)) is None


@pytest.mark.parametrize(("options", "expected"), [
    ({"region": "padded"}, None),  # 20 x 15 padded to 32 x 32
    ({"region": "canvas", "border": 0}, [0]),  # x2 < 15 and y2 < 20
    ({"region": "canvas", "border": 6}, [0, 1, 3, 4]),
])  # fmt: skip
def test_other_rules_of_what_is_inside(options, expected):
    inside = InsideRule(**options)(GRID, (9,), (20, 15), (32, 32))
    assert (inside if inside is None else inside.rows.tolist()) == expected


def test_an_image_without_objects_has_only_negatives():
    found = matches_of([make_target([])])
    assert found.gt.tolist() == [-1] * 9


def test_matches_point_into_the_batch():
    targets = [make_target([[10, 0, 20, 10]]), make_target([[0, 0, 10, 10], [20, 20, 30, 30]])]
    found = matches_of(targets)
    assert found.rows.tolist() == list(range(18))
    assert found.gt.tolist() == [-1, 0, *[-1] * 7, 1, *[-1] * 7, 2]


def test_hard_negatives_are_chosen_by_costs():
    asked = []

    def costs(some):
        asked.append(some.rows.tolist())
        return torch.tensor([9.0 if row in (2, 7, 16) else 0.0 for row in some.rows.tolist()])

    sampler = make_sampler("combined", num=3, positive_fraction=0.34, negative="hard")
    target = make_target([[0, 0, 10, 10]])
    found = matches_of([target, target], sampler=sampler, costs=costs)
    assert found.rows.tolist()[:4] == [0, 2, 7, 9]
    assert 16 in found.rows.tolist()
    assert asked == [list(range(1, 9)), list(range(10, 18))]
