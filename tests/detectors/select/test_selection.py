"""Selection functions: loops over the definitions in float64, values by hand, properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.boxes import paired_iou
from rebalance.config.options.select import BoxSuppression
from rebalance.detectors.select import (
    Augmentation,
    View,
    best_anchors,
    best_of_classes,
    best_of_groups,
    best_pairs,
    fast_nms,
    make_suppression,
    matrix_nms,
    nms,
    score_voting,
    select_proposals,
    soft_nms,
    suppression,
    top_of_levels,
)
from rebalance.errors import InputError


@st.composite
def scored_boxes(draw, most=25):
    """float64 boxes on a coarse grid (touching, nested, equal, empty ones), scores, groups."""
    num = draw(st.integers(0, most))
    corner, side = st.integers(-6, 12), st.integers(0, 12)
    rows = [[draw(corner), draw(corner), draw(side), draw(side)] for _ in range(num)]
    boxes = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    # Different scores: among equals the order is a convention.
    scores = torch.tensor(draw(st.permutations(range(1, num + 1))), dtype=torch.float64) / 32
    groups = draw(st.lists(st.sampled_from([-3, 0, 1, 1000]), min_size=num, max_size=num))
    return boxes, scores, torch.tensor(groups, dtype=torch.int64)


def falling(scores):
    return scores.argsort(descending=True).tolist()


def nms_by_loop(boxes, scores, groups, iou):
    kept = []
    for row in falling(scores):
        rivals = [k for k in kept if groups[k] == groups[row]]
        if all(paired_iou(boxes[row], boxes[k]) <= iou for k in rivals):
            kept.append(row)
    return kept


def fast_nms_by_loop(boxes, scores, groups, iou, top_k):
    kept = []
    for row in falling(scores):
        better = [
            k for k in falling(scores) if groups[k] == groups[row] and scores[k] > scores[row]
        ]
        if len(better) < top_k and all(paired_iou(boxes[row], boxes[k]) <= iou for k in better):
            kept.append(row)
    return kept


def soft_nms_by_loop(boxes, scores, groups, decay, iou, sigma, threshold):
    """Figure 2 of the paper."""
    left, found = {row: float(score) for row, score in enumerate(scores)}, {}
    while left:
        best = max(left, key=left.get)
        found[best] = left.pop(best)
        for row in left:
            if groups[row] != groups[best]:
                continue
            overlap = float(paired_iou(boxes[best], boxes[row]))
            if decay == "gaussian":
                left[row] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= iou:
                left[row] *= 1 - overlap
    return {row: score for row, score in found.items() if score >= threshold}


THRESHOLDS = st.sampled_from([0.0, 0.25, 0.4, 0.5, 0.7, 1.0])


@settings(deadline=None)
@given(scored_boxes(), THRESHOLDS, st.sampled_from([1, 7, 1000]))
def test_nms_is_the_loop_over_boxes(inputs, iou, boxes_per_call):
    most = suppression.BOXES_PER_CALL["cpu"]
    suppression.BOXES_PER_CALL["cpu"] = boxes_per_call
    try:
        assert nms(*inputs, iou=iou).tolist() == nms_by_loop(*inputs, iou)
    finally:
        suppression.BOXES_PER_CALL["cpu"] = most


@settings(deadline=None)
@given(scored_boxes(), THRESHOLDS, st.integers(1, 6))
def test_fast_nms_is_the_loop_over_boxes(inputs, iou, top_k):
    assert fast_nms(*inputs, iou=iou, top_k=top_k).tolist() == fast_nms_by_loop(*inputs, iou, top_k)


@settings(deadline=None)
@given(
    scored_boxes(most=12),
    st.sampled_from(["linear", "gaussian"]),
    st.sampled_from([0.0, 0.3, 0.5]),
    st.sampled_from([0.1, 0.5]),
)
def test_soft_nms_is_the_loop_over_boxes(inputs, decay, threshold, sigma):
    rows, scores = soft_nms(*inputs, decay=decay, iou=0.3, sigma=sigma, threshold=threshold)
    expected = soft_nms_by_loop(*inputs, decay, 0.3, sigma, threshold)
    found = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    # A score that comes out at the threshold to the last bit may go either way.
    for row in found.keys() ^ expected.keys():
        assert found.get(row, expected.get(row)) == pytest.approx(threshold, abs=1e-12)
    for row in found.keys() & expected.keys():
        assert found[row] == pytest.approx(expected[row], abs=1e-12)


@settings(deadline=None)
@given(scored_boxes(), st.sampled_from(sorted(BoxSuppression.parts())))
def test_rows_are_unique_scores_fall_and_groups_do_not_meet(inputs, name):
    options = {} if name == "soft_nms" else {"iou": 0.5}
    boxes, scores, groups = inputs
    rows, found = make_suppression(name, **options)(*inputs)
    assert len(set(rows.tolist())) == len(rows)
    assert (found.diff() <= 0).all()
    assert (found <= scores[rows]).all()
    alone = set()
    for group in set(groups.tolist()):
        of_group = (groups == group).nonzero().squeeze(1)
        kept, _ = make_suppression(name, **options)(boxes[of_group], scores[of_group], of_group * 0)
        alone |= set(of_group[kept].tolist())
    assert set(rows.tolist()) == alone


@settings(deadline=None)
@given(scored_boxes(), THRESHOLDS)
def test_nms_of_what_stayed_drops_nothing(inputs, iou):
    boxes, scores, groups = inputs
    rows = nms(boxes, scores, groups, iou=iou)
    again = nms(boxes[rows], scores[rows], groups[rows], iou=iou)
    assert again.tolist() == list(range(len(rows)))
    # Fast NMS lets dropped boxes suppress: it never keeps more.
    assert set(fast_nms(boxes, scores, groups, iou=iou).tolist()) <= set(rows.tolist())


def test_many_groups_in_one_call_are_as_exact_as_one():
    """IoU 0.5 + 1e-6 in group 50,000: float32 offsets of published code cannot tell it from 0.5."""
    boxes = torch.tensor([[0, 0, 1000, 1000], [0, 0, 1000, 500.001]] * 2)
    groups = torch.tensor([0, 0, 50_000, 50_000])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert nms(boxes, scores, groups, iou=0.5).tolist() == [0, 2]
    assert nms(boxes, scores, groups, iou=0.50001).tolist() == [0, 1, 2, 3]


def test_equal_scores_come_by_row():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 10, 10]])
    assert nms(boxes, torch.ones(3), torch.zeros(3).long(), iou=0.5).tolist() == [0, 2]


def test_boxes_without_area_stay_and_suppress_nothing():
    boxes = torch.tensor([[2.0, 2, 2, 6], [2, 2, 2, 6], [0, 0, 4, 4]])
    inputs = boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long()
    assert nms(*inputs, iou=0.0).tolist() == [0, 1, 2]
    assert suppression.box_rows_of_size(boxes).tolist() == [2]
    assert suppression.box_rows_of_size(boxes, 4.5).tolist() == []


def test_soft_nms_by_hand():
    """IoU of the first two is 8 / 16 = 0.5; the third is alone."""
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [8, 8, 9, 9]])
    inputs = boxes, torch.tensor([0.9, 0.8, 0.5]), torch.zeros(3).long()
    rows, scores = soft_nms(*inputs, decay="linear", iou=0.5)
    assert rows.tolist() == [0, 2, 1]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.5, 0.8 * 0.5]))
    rows, scores = soft_nms(*inputs, decay="gaussian", sigma=0.5)
    assert rows.tolist() == [0, 2, 1]
    torch.testing.assert_close(scores, torch.tensor([0.9, 0.5, 0.8 * math.exp(-0.5)]))


EMPTY = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
ONE = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0.6]), torch.tensor([7])


@pytest.mark.parametrize("name", sorted(BoxSuppression.parts()))
def test_no_box_and_one_box(name):
    options = {} if name == "soft_nms" else {"iou": 0.5}
    rows, scores = make_suppression(name, **options)(*EMPTY)
    assert rows.dtype == torch.int64
    assert len(rows) == len(scores) == 0
    rows, scores = make_suppression(name, **options)(*ONE)
    assert rows.tolist() == [0]
    assert torch.equal(scores, ONE[1])


# ------------------------------------------------------------------------------- matrix NMS


def matrix_nms_by_loop(masks, scores, groups, kernel, sigma):
    """Eq. of the paper for each mask; every better mask of the class may decay it."""

    def iou(one, other):
        union = (masks[one] | masks[other]).sum()
        return float((masks[one] & masks[other]).sum() / union) if union else 0.0

    def f(overlap):
        return 1 - overlap if kernel == "linear" else math.exp(-sigma * overlap**2)

    order, decayed = falling(scores), {}
    for place, row in enumerate(order):
        shares = [1.0]
        for before, better in enumerate(order[:place]):
            rivals = [iou(better, k) for k in order[:before] if groups[k] == groups[better]]
            of_better = f(max(rivals, default=0.0))
            overlap = iou(better, row) if groups[better] == groups[row] else 0.0
            if of_better > 0:
                shares.append(f(overlap) / of_better)
        decayed[row] = float(scores[row]) * min(shares)
    return decayed


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(0, 10_000), st.sampled_from(["linear", "gaussian"]))
def test_matrix_nms_is_the_loop_over_masks(num, seed, kernel):
    rng = torch.Generator().manual_seed(seed)
    masks = torch.rand(num, 3, 4, generator=rng) > 0.4
    masks[num // 2] = masks[0]  # equal masks: 0 / 0 in the published linear kernel
    groups = torch.randint(0, 2, (num,), generator=rng)
    scores = torch.rand(num, generator=rng, dtype=torch.float64)
    rows, found = matrix_nms(masks, scores, groups, kernel=kernel, sigma=2.0, threshold=0.0)
    expected = matrix_nms_by_loop(masks, scores, groups, kernel, 2.0)
    assert sorted(rows.tolist()) == list(range(num))
    torch.testing.assert_close(
        found, found.new_tensor([expected[row] for row in rows.tolist()]), rtol=1e-5, atol=1e-6
    )
    assert (found.diff() <= 0).all()
    some, _ = matrix_nms(masks, scores, groups, kernel=kernel, pre_nms=3, threshold=0.0)
    assert sorted(some.tolist()) == sorted(falling(scores)[:3])
    high, _ = matrix_nms(masks, scores, groups, kernel=kernel, threshold=0.5)
    assert high.tolist() == rows[found >= 0.5].tolist()


def test_three_equal_masks_leave_one():
    """The third: 0 by the first, 0 / 0 by the second, which is itself nothing."""
    masks = torch.ones(3, 2, 2, dtype=torch.bool)
    scores, groups = torch.tensor([0.7, 0.9, 0.8]), torch.zeros(3).long()
    rows, found = matrix_nms(masks, scores, groups, kernel="linear", threshold=0.0)
    assert rows.tolist() == [1, 0, 2]
    torch.testing.assert_close(found, torch.tensor([0.9, 0, 0]))


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_no_mask_and_one_mask(kernel):
    none = matrix_nms(torch.zeros(0, 4, 4, dtype=torch.bool), *EMPTY[1:], kernel=kernel)
    assert [len(part) for part in none] == [0, 0]
    rows, scores = matrix_nms(torch.ones(1, 4, 4, dtype=torch.bool), *ONE[1:], kernel=kernel)
    assert rows.tolist() == [0]
    assert torch.equal(scores, ONE[1])


# ------------------------------------------------------------------------------- score voting


@settings(deadline=None)
@given(scored_boxes(most=10), scored_boxes())
def test_score_voting_is_the_loop_over_detections(detections, candidates):
    boxes, _, groups = detections
    voters, scores, voter_groups = candidates
    voted = score_voting(boxes, groups, voters, scores, voter_groups)
    published = score_voting(boxes, groups, voters, scores, voter_groups, without_votes="nan")
    for index in range(len(boxes)):
        overlaps = paired_iou(boxes[index], voters)
        votes = (voter_groups == groups[index]) & (overlaps > 0.01)
        weights = (torch.exp(-(1 - overlaps).square() / 0.025) * scores)[votes]
        if votes.any():
            expected = (weights[:, None] * voters[votes]).sum(0) / weights.sum()
            torch.testing.assert_close(voted[index], expected)
            torch.testing.assert_close(published[index], expected)
        else:
            assert torch.equal(voted[index], boxes[index])
            assert published[index].isnan().all()


# ------------------------------------------------------------------------------- levels, proposals


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 3),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.integers(0, 1000),
)
def test_choices_of_a_level_are_the_loops(batch, sizes, num, threshold, seed):
    rng = torch.Generator().manual_seed(seed)
    scores = torch.rand(batch, sum(sizes), 3, generator=rng)
    pairs, anchors, classes = set(), set(), set()
    for image in range(batch):
        for level, size in enumerate(sizes):
            rows = range(sum(sizes[:level]), sum(sizes[: level + 1]))
            assert len(rows) == size
            of_level = sorted(
                ((float(scores[image, n, c]), n, c) for n in rows for c in range(3)), reverse=True
            )
            pairs |= {(image, n, c + 1) for score, n, c in of_level[:num] if score > threshold}
            best = sorted(rows, key=lambda n: -float(scores[image, n].max()))[:num]
            anchors |= {
                (image, n, c + 1) for n in best for c in range(3) if scores[image, n, c] > threshold
            }
        for c in range(3):
            of_class = sorted(range(sum(sizes)), key=lambda n: -float(scores[image, n, c]))[:num]
            classes |= {(image, n, c + 1) for n in of_class if scores[image, n, c] > threshold}
    choices = {best_pairs: pairs, best_anchors: anchors, best_of_classes: classes}
    for choose, expected in choices.items():
        rows, labels = choose(scores, sizes, num=num, threshold=threshold)
        image = rows // sum(sizes)
        assert (image.diff() >= 0).all()
        found = zip(image.tolist(), (rows % sum(sizes)).tolist(), labels.tolist(), strict=True)
        found = list(found)
        assert len(found) == len(expected)
        assert set(found) == expected


@pytest.mark.parametrize("choose", [best_pairs, best_anchors, best_of_classes])
def test_scores_must_exceed_the_threshold(choose):
    rows, labels = choose(torch.tensor([[[0.25, 0.5]]]), [1], num=None, threshold=0.25)
    assert rows.tolist() == [0]
    assert labels.tolist() == [2]


def test_anchors_can_be_ranked_by_another_score():
    scores = torch.tensor([[[0.9, 0.1], [0.5, 0.6]]])
    rows, labels = best_anchors(
        scores, [2], num=1, threshold=0.2, rank_by=torch.tensor([[0.1, 0.2]])
    )
    assert rows.tolist() == [1, 1]
    assert labels.tolist() == [1, 2]


def test_rows_and_levels_of_the_best():
    rows, levels = top_of_levels(torch.tensor([[1.0, 3, 2, 5, 4], [3, 2, 1, 4, 5]]), [3, 2], 2)
    assert rows.tolist() == [[1, 2, 3, 4], [0, 1, 4, 3]]
    assert levels.tolist() == [0, 0, 1, 1]


def test_a_level_may_be_empty():
    rows, levels = top_of_levels(torch.tensor([[0.3, 0.4]]), [0, 2, 0], 1)
    assert rows.tolist() == [[1]]
    assert levels.tolist() == [1]
    rows, labels = best_pairs(torch.zeros(2, 0, 3), [0], num=5, threshold=0.1)
    assert len(rows) == len(labels) == 0


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 3),
    st.integers(0, 8),
    st.integers(0, 1000),
    st.sampled_from([None, 0.0, 3.0]),
    st.integers(1, 6),
)
def test_proposals_are_the_loop_over_images(batch, num, seed, min_size, post_nms):
    rng = torch.Generator().manual_seed(seed)
    boxes = torch.randint(0, 10, (batch, num, 4), generator=rng).double()
    boxes = torch.cat(
        (boxes[..., :2].minimum(boxes[..., 2:]), boxes[..., :2].maximum(boxes[..., 2:])), dim=2
    )
    scores = torch.rand(batch, num, generator=rng)
    levels = torch.randint(0, 3, (num,), generator=rng).sort().values
    rows = select_proposals(boxes, scores, levels, iou=0.3, post_nms=post_nms, min_size=min_size)
    expected = []
    for image in range(batch):
        sides = boxes[image, :, 2:] - boxes[image, :, :2]
        large = [
            row
            for row in range(num)
            if min_size is None or (sides[row].min() > 0 and sides[row].min() >= min_size)
        ]
        kept = nms_by_loop(boxes[image, large], scores[image, large], levels[large], 0.3)
        expected += [image * num + large[row] for row in kept[:post_nms]]
    assert rows.tolist() == expected


@settings(deadline=None)
@given(scored_boxes(), st.integers(1, 5))
def test_best_of_each_group(inputs, num):
    _, scores, groups = inputs
    expected = []
    for group in sorted(set(groups.tolist())):
        expected += [row for row in falling(scores) if groups[row] == group][:num]
    assert best_of_groups(scores, groups, num).tolist() == expected


# ------------------------------------------------------------------------------- test-time views


def test_a_box_of_a_view_by_hand():
    """Of a 10 x 20 (height x width) image, doubled and mirrored, and of one that is not resized."""
    view = View([(10, 20), (8, 16)], [(20, 40), (8, 16)], flip=True)
    boxes, image = torch.tensor([[1.0, 2, 5, 4], [1.0, 2, 5, 4]]), torch.tensor([0, 1])
    assert view.from_original(boxes, image).tolist() == [[30, 4, 38, 8], [11, 2, 15, 4]]
    assert torch.equal(view.to_original(view.from_original(boxes, image), image), boxes)


def test_boxes_and_pixels_of_a_view_go_together():
    """An image with one bright rectangle, in a canvas that it does not fill."""
    images = torch.zeros(1, 3, 12, 16)
    images[0, :, 1:3, 2:7] = 1
    view = View([(6, 9)], [(6, 9)], flip=True)
    seen = view.seen(images)
    rows, columns = seen[0, 0].nonzero().unbind(1)
    box = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
    assert view.to_original(box[None], torch.tensor([0])).tolist() == [[2, 1, 7, 3]]
    assert torch.equal(view.seen(seen), images)


def test_a_resized_view_stays_in_its_part_of_the_canvas():
    images = torch.zeros(1, 3, 32, 64)
    images[0, :, :20, :30] = 1
    seen = View([(20, 30)], [(40, 61)]).seen(images)
    assert seen.shape == (1, 3, 64, 64)
    assert torch.allclose(seen[0, :, :40, :61], torch.ones(3, 40, 61))
    assert seen.sum() == pytest.approx(3 * 40 * 61)


def test_the_views_of_an_augmentation():
    views = Augmentation(flip=True, scales=[1.0, 0.5]).views([(10, 21)])
    assert [(view.sizes, view.flip) for view in views] == [
        ([(10, 21)], False), ([(10, 21)], True), ([(5, 10)], False), ([(5, 10)], True)
    ]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), [
    pytest.param(lambda: soft_nms(*ONE, decay="cubic"),
                 r"decay of soft_nms must be one of \['linear', 'gaussian'\], got 'cubic'",
                 id="decay"),
    pytest.param(lambda: soft_nms(*ONE, sigma=0), "sigma of soft_nms must be > 0, got 0",
                 id="soft sigma"),
    pytest.param(lambda: matrix_nms(torch.ones(1, 2, 2).bool(), *ONE[1:], kernel="box"),
                 r"kernel of matrix_nms must be one of \['gaussian', 'linear'\], got 'box'",
                 id="kernel"),
    pytest.param(lambda: matrix_nms(torch.ones(1, 2, 2).bool(), *ONE[1:], sigma=-1),
                 "sigma of matrix_nms must be > 0, got -1", id="matrix sigma"),
    pytest.param(lambda: score_voting(ONE[0], ONE[2], *ONE, without_votes="zero"),
                 r"without_votes must be one of \['keep', 'nan'\], got 'zero'", id="votes"),
    pytest.param(lambda: score_voting(ONE[0], ONE[2], *ONE, sigma=0),
                 "sigma of score_voting must be > 0, got 0", id="voting sigma"),
])  # fmt: skip
def test_bad_options_are_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()
