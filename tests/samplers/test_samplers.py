"""Every sampler on scenes that hypothesis makes up, and each by hand or by its definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.assigners import IGNORED, NEGATIVE, Assignment
from rebalance.samplers import SAMPLERS, make_sampler
from scipy import stats

# One of every sampler, and of every combination of schemes.
CASES = [
    ("all", {}),
    ("random", {"num": 16, "positive_fraction": 0.25}),
    ("random", {"num": 16, "positive_fraction": 0.25, "pad_with_negatives": False}),
    ("ofb", {"num": 16}),
    ("iou_balanced_negatives", {"num": 16}),
    ("ohem", {"num": 16}),
    ("ohem", {"num": 16, "nms_iou": None}),
    ("ohpm", {"num": 16}),
    ("hard_negative", {"ratio": 3.0}),
    *(
        ("combined", {"num": 16, "positive": positive, "negative": negative})
        for positive in ("random", "hard", "ofb", "instance_balanced")
        for negative in ("random", "hard", "iou_balanced", "iou_balanced_published")
    ),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scene(gt_idxs, seed=0, num_classes=4):
    gt_idxs = torch.tensor(gt_idxs, dtype=torch.int64)
    rng = seeded(seed)
    overlaps = torch.rand(len(gt_idxs), generator=rng)
    labels = torch.where(gt_idxs >= 0, gt_idxs % num_classes + 1, 0)
    corner = torch.rand(len(gt_idxs), 2, generator=rng) * 50
    boxes = torch.cat([corner, corner + 1 + torch.rand(len(gt_idxs), 2, generator=rng) * 50], 1)
    losses = torch.rand(len(gt_idxs), generator=rng)
    return Assignment(gt_idxs, overlaps, labels), boxes, losses


def draw(name, options, assignment, boxes, losses, seed=0):
    """The positives and the negatives of a sample."""
    rows = make_sampler(name, **options)(
        assignment, rng=seeded(seed), boxes=boxes, losses=lambda rows: losses[rows]
    )
    assert rows.dtype == torch.int64
    assert (rows.diff() > 0).all()  # ascending, no duplicates
    return split(assignment, rows)


def split(assignment, rows):
    return rows[assignment.positives[rows]], rows[~assignment.positives[rows]]


def positive_limit(name, options, num_positives):
    if name in ("all", "hard_negative"):
        return num_positives
    return options["num"] if name == "ohem" else int(options["num"] * 0.25)


gt_idxs_lists = st.lists(st.sampled_from([IGNORED, NEGATIVE, NEGATIVE, 0, 1, 2, 5]), max_size=60)


@pytest.mark.parametrize(("name", "options"), CASES)
@given(gt_idxs=gt_idxs_lists, seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_holds_for_every_sampler(name, options, gt_idxs, seed):
    assignment, boxes, losses = scene(gt_idxs, seed)
    positives, negatives = draw(name, options, assignment, boxes, losses, seed)
    assert assignment.negatives[negatives].all()  # nothing ignored
    # Never more than asked.
    num_positives = int(assignment.positives.sum())
    num_negatives = int(assignment.negatives.sum())
    assert len(positives) <= positive_limit(name, options, num_positives)
    if "num" in options:
        assert len(positives) + len(negatives) <= options["num"]
    # No fewer than there are, but for suppression.
    if options.get("nms_iou", 0.7) is None or name not in ("ohem", "ohpm"):
        if name == "ohem":
            assert len(positives) + len(negatives) == min(16, num_positives + num_negatives)
        elif name == "hard_negative":
            assert len(positives) == num_positives
            assert len(negatives) == min(3 * num_positives, num_negatives)
        elif name == "all":
            assert (len(positives), len(negatives)) == (num_positives, num_negatives)
        else:
            assert len(positives) == min(4, num_positives)
            wanted = 16 - len(positives) if options.get("pad_with_negatives", True) else 12
            assert len(negatives) == min(wanted, num_negatives)
    # Seeded is repeatable.
    again = draw(name, options, assignment, boxes, losses, seed)
    assert torch.equal(positives, again[0])
    assert torch.equal(negatives, again[1])


def test_every_sampler_is_tested():
    assert {name for name, _ in CASES} == set(SAMPLERS)


def test_random_takes_every_candidate_equally_often():
    assignment, _, _ = scene([0] * 12 + [NEGATIVE] * 12)
    counts = torch.zeros(24)
    rounds, sampler = 3_000, make_sampler("random", num=8, positive_fraction=0.5)
    rng = seeded()
    for _ in range(rounds):
        counts[sampler(assignment, rng=rng)] += 1
    # Every candidate is drawn with probability 4 / 12; draws of a round exclude each other.
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_hard_takes_the_largest_losses_by_hand():
    assignment, _, _ = scene([0, 0, 0, NEGATIVE, NEGATIVE, NEGATIVE, IGNORED])
    losses = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.8, 0.7, 9.0])
    options = {"num": 4, "positive_fraction": 0.5, "positive": "hard", "negative": "hard"}
    sample = draw("combined", options, assignment, None, losses)
    assert sample[0].tolist() == [1, 2]
    assert sample[1].tolist() == [4, 5]


def test_ohem_takes_the_largest_losses_of_both_kinds_by_hand():
    assignment, _, _ = scene([0, 0, 0, NEGATIVE, NEGATIVE, NEGATIVE, IGNORED])
    losses = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.8, 0.7, 9.0])
    sample = draw("ohem", {"num": 3, "nms_iou": None}, assignment, None, losses)
    assert sample[0].tolist() == [1]
    assert sample[1].tolist() == [4, 5]


def test_ohpm_drops_the_neighbours_of_larger_losses_by_hand():
    # Boxes 0 and 1 overlap by 90 / 110 = 0.82, 2 and 3 lie apart.
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [80, 80, 90, 90], [0, 0, 5, 5]]
    )
    assignment = Assignment(
        torch.tensor([0, 0, 0, 1, NEGATIVE]), torch.zeros(5), torch.tensor([1, 1, 1, 2, 0])
    )
    losses = torch.tensor([0.7, 0.9, 0.1, 0.3, 5.0])
    options = {"num": 8, "positive_fraction": 0.5}
    sample = draw("ohpm", options, assignment, boxes, losses)
    assert sample[0].tolist() == [1, 2, 3]  # 4 places, and 3 survive
    sample = draw("ohpm", options | {"num": 4}, assignment, boxes, losses)
    assert sample[0].tolist() == [1, 3]
    sample = draw("ohpm", options | {"num": 4, "nms_iou": None}, assignment, boxes, losses)
    assert sample[0].tolist() == [0, 1]


def test_hard_negatives_are_three_for_each_positive_by_hand():
    assignment, _, _ = scene([0] + [NEGATIVE] * 6)
    losses = torch.tensor([9.0, 0.1, 0.6, 0.3, 0.5, 0.2, 0.4])
    sample = draw("hard_negative", {}, assignment, None, losses)
    assert sample[1].tolist() == [2, 4, 6]
    none, _, _ = scene([NEGATIVE] * 6)
    assert len(draw("hard_negative", {}, none, None, losses[1:])[1]) == 0
    sample = draw("hard_negative", {"least": 2}, none, None, losses[1:])
    assert sample[1].tolist() == [1, 3]
    sample = draw("hard_negative", {"all_without_positives": True}, none, None, losses[1:])
    assert sample[1].tolist() == [0, 1, 2, 3, 4, 5]
    sample = draw("hard_negative", {"all_without_positives": True}, assignment, None, losses)
    assert sample[1].tolist() == [2, 4, 6]


def test_ofb_first_draws_follow_one_over_c_k():
    # Classes 1, 2, 3 with 20, 5 and 1 positives; one draw has probability 1 / 3 for each class.
    labels = torch.tensor([1] * 20 + [2] * 5 + [3])
    assignment = Assignment(torch.zeros(26, dtype=torch.int64), torch.ones(26), labels)
    rounds, rng = 6_000, seeded()
    sampler = make_sampler("ofb", num=1, positive_fraction=1.0)
    drawn = torch.cat([split(assignment, sampler(assignment, rng=rng))[0] for _ in range(rounds)])
    counts = torch.bincount(drawn, minlength=26).numpy()
    expected = np.array([1 / 20] * 20 + [1 / 5] * 5 + [1]) / 3 * rounds
    assert stats.chisquare(counts, expected).pvalue > 1e-4


def test_ofb_is_the_multinomial_draw_without_replacement():
    labels = torch.tensor([1] * 6 + [2] * 3 + [3])
    assignment = Assignment(torch.zeros(10, dtype=torch.int64), torch.ones(10), labels)
    weights = torch.tensor([1 / 6] * 6 + [1 / 3] * 3 + [1.0], dtype=torch.float64)
    rounds, rng = 6_000, seeded()
    sampler = make_sampler("ofb", num=4, positive_fraction=1.0)
    ours = torch.zeros(10)
    for _ in range(rounds):
        ours[split(assignment, sampler(assignment, rng=rng))[0]] += 1
    # torch's sequential draw is the oracle.
    oracle = torch.multinomial(weights.expand(rounds, 10), 4, generator=seeded(1))
    theirs = torch.bincount(oracle.flatten(), minlength=10)
    assert (ours - theirs).abs().max() < 4.5 * (2 * rounds * 0.25) ** 0.5


def test_iou_balanced_negatives_fill_the_bins_equally_by_hand():
    # Bins of [0, 0.6]: 40 negatives below 0.2, 10 in the middle, 2 on top.
    overlaps = torch.cat(
        [torch.linspace(0, 0.19, 40), torch.linspace(0.21, 0.39, 10), torch.tensor([0.5, 0.6])]
    )
    assignment = Assignment(
        torch.full((52,), NEGATIVE), overlaps, torch.zeros(52, dtype=torch.int64)
    )
    options = {"num": 13, "positive_fraction": 0.0}
    lowest = 0
    for seed in range(200):
        idxs = draw("iou_balanced_negatives", options, assignment, None, None, seed)[1]
        # 13 // 3 = 4 each; the last bin has 2, so 3 more come from anywhere.
        bins = torch.bincount((overlaps[idxs] / 0.2).floor().clamp(max=2).long(), minlength=3)
        assert len(idxs) == 13
        assert bins[2] == 2
        assert bins[0] >= 4
        assert bins[1] >= 4
        lowest += int(bins[0])
    # Those 3 are drawn from all 36 + 6 that are left.
    assert abs(lowest / 200 - (4 + 3 * 36 / 42)) < 0.2


def test_iou_balanced_negatives_that_overlap_nothing():
    assignment = Assignment(
        torch.full((30,), NEGATIVE), torch.zeros(30), torch.zeros(30, dtype=torch.int64)
    )
    sample = draw("iou_balanced_negatives", {"num": 9}, assignment, None, None)
    assert len(sample[1]) == 9


@pytest.mark.parametrize(("num_positives", "num_negatives"), [(0, 5), (2, 10), (3, 13), (8, 12)])
def test_negatives_per_positive(num_positives, num_negatives):
    """5 for each of them; for 3 the sample of 16 is full before, of 8 only 4 may be positive."""
    assignment, boxes, losses = scene([0] * num_positives + [NEGATIVE] * 50)
    options = {"num": 16, "positive_fraction": 0.25, "negatives_per_positive": 5}
    positives, negatives = draw("combined", options, assignment, boxes, losses)
    assert (len(positives), len(negatives)) == (min(num_positives, 4), num_negatives)


def test_published_bins_reach_up_to_the_positives_and_leave_out_what_overlaps_nothing():
    # Of 9, 3 from each bin of [0, 0.9], where the positive is: below 0.3 there are 30, below 0.6
    # there are 10, above none. Scaled to the negatives, 0.35 ... 0.5 would be two bins.
    overlaps = torch.cat([torch.zeros(20), torch.linspace(0.01, 0.29, 30),
                          torch.linspace(0.35, 0.5, 10), torch.tensor([0.9])])  # fmt: skip
    gt_idxs = torch.tensor([NEGATIVE] * 60 + [0])
    assignment = Assignment(gt_idxs, overlaps, (gt_idxs >= 0).long())
    options = {"num": 9, "positive_fraction": 0.0, "negative": "iou_balanced_published"}
    shares = torch.zeros(2)
    for seed in range(200):
        idxs = draw("combined", options, assignment, None, None, seed)[1]
        assert len(idxs) == 9
        assert idxs.min() >= 20
        bins = torch.stack([(idxs < 50).sum(), (idxs >= 50).sum()])
        assert bins.min() >= 3
        shares += bins
    # 27 and 7 are left for the other 3, which are drawn from all.
    expected = torch.tensor([3 + 3 * 27 / 34, 3 + 3 * 7 / 34])
    assert (shares / 200 - expected).abs().max() < 0.2
    few = draw("combined", {**options, "num": 45}, assignment, None, None)[1]
    assert set(range(20, 60)) < set(few.tolist())  # all 40 that overlap something, and 5 others
    assert len(few) == 45


def test_instance_balanced_positives_by_hand():
    # round(8 / 3) + 1 = 4 of each ground truth; there are 1, 40 and 40.
    gt_idxs = torch.tensor([0] + [1] * 40 + [2] * 40)
    assignment = Assignment(gt_idxs, torch.ones(81), torch.ones(81, dtype=torch.int64))
    options = {"num": 8, "positive_fraction": 1.0, "positive": "instance_balanced"}
    with_first = 0
    for seed in range(300):
        idxs = draw("combined", options, assignment, None, None, seed)[0]
        counts = torch.bincount(gt_idxs[idxs], minlength=3).tolist()
        assert counts in ([1, 3, 4], [1, 4, 3], [0, 4, 4])
        with_first += counts[0]
    # 8 of the 9 candidates below their share, each as likely to stay out.
    assert abs(with_first / 300 - 8 / 9) < 0.07
    # round(12 / 2) + 1 = 7 of each, and there are 40 and 2: 3 more of the first.
    gt_idxs = torch.tensor([0] * 40 + [1] * 2)
    assignment = Assignment(gt_idxs, torch.ones(42), torch.ones(42, dtype=torch.int64))
    idxs = draw("combined", {**options, "num": 12}, assignment, None, None)[0]
    assert torch.bincount(gt_idxs[idxs]).tolist() == [10, 2]


def test_losses_are_worked_out_for_the_choice_only_and_when_needed():
    asked = []

    def losses(rows):
        asked.append(rows.tolist())
        return rows.double()

    def draw_hard(num, **options):
        asked.clear()
        make_sampler("combined", num=num, **options)(
            assignment, rng=seeded(), boxes=boxes, losses=losses
        )
        return asked

    assignment, boxes, _ = scene([0] * 10 + [NEGATIVE] * 10 + [IGNORED] * 5)
    positives, negatives = list(range(10)), list(range(10, 20))
    assert draw_hard(8, positive="hard", negative="hard") == [positives, negatives]
    assert draw_hard(8, positive="hard") == [positives]
    assert draw_hard(80, positive="hard", negative="hard") == []
    assert draw_hard(8) == []


def test_what_is_missing_or_wrong_is_said():
    assignment, boxes, losses = scene([0] * 10 + [NEGATIVE] * 10)
    with pytest.raises(ValueError, match="the sampler needs losses"):
        make_sampler("ohem", num=4)(assignment, rng=seeded(), boxes=boxes)
    with pytest.raises(ValueError, match="needs boxes"):
        make_sampler("ohem", num=4)(assignment, rng=seeded(), losses=lambda rows: losses[rows])
    with pytest.raises(ValueError, match=r"losses must hold one value per candidate, \[20\]"):
        make_sampler("ohem", num=4, nms_iou=None)(
            assignment, rng=seeded(), losses=lambda rows: losses[:3]
        )
    with pytest.raises(
        ValueError,
        match=r"positive must be one of \['hard', 'instance_balanced', ",
    ):
        draw("combined", {"positive": "easy"}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="positive_fraction must be in"):
        draw("random", {"positive_fraction": 1.5}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="num must be 0 or more"):
        draw("random", {"num": -1}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="num must be 0 or more"):
        draw("ohem", {"num": -1}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="ratio and least"):
        draw("hard_negative", {"ratio": -1.0}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="num_iou_bins must be 1 or more"):
        draw("combined", {"num_iou_bins": 0}, assignment, boxes, losses)
    with pytest.raises(ValueError, match="sampler must be one of"):
        make_sampler("ohme")
    with pytest.raises(ValueError, match="sampler 'ohem' has options"):
        make_sampler("ohem", nms=0.7)
