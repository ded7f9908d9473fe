"""Every assigner against a slow loop over its definition, and on the scenes nobody plans for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.assigners import IGNORED, NEGATIVE, make_assigner
from rebalance.assigners.paa import MAX_ROUNDS, TOLERANCE, VARIANCE_FLOOR
from rebalance.config.options import assigners as options

LEVELS = (256, 64, 16, 4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grid_boxes(scales=(1.0,)):
    """Anchors of a 128 px image at strides 8, 16, 32, 64, four times the stride wide."""
    levels = []
    for stride in (8, 16, 32, 64):
        at = (torch.arange(128 // stride) + 0.5) * stride
        y, x = torch.meshgrid(at, at, indexing="ij")
        centre = torch.stack([x.flatten(), y.flatten()], dim=1)
        half = torch.tensor(scales)[None, :, None] * stride * 2
        both = torch.cat([centre[:, None] - half, centre[:, None] + half], dim=2)
        levels.append(both.flatten(0, 1))
    return torch.cat(levels)


def random_gts(num, seed, size=128.0):
    rng = seeded(seed)
    centre = torch.rand(num, 2, generator=rng) * size
    half = torch.exp(torch.rand(num, 2, generator=rng) * 3) * 2
    return torch.cat([centre - half, centre + half], dim=1), torch.randint(
        1, 6, (num,), generator=rng
    )


def iou_of(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def iou_table(boxes, gts):
    """[N][G], in float64 from the float32 coordinates."""
    return [[iou_of(a, b) for b in gts.tolist()] for a in boxes.tolist()]


def costs_of(losses):
    """Costs of a candidate: its own number, whatever it is assigned to."""
    return lambda assignment: losses


def assign(name, boxes, gts, labels, **options):
    calls = {"level_sizes": LEVELS, "image_size": (128, 128)}
    if name == "paa":
        calls["costs"] = costs_of(torch.rand(len(boxes), generator=seeded(1)))
    if name == "foveabox":
        options = {"scale_ranges": [(1, 32), (16, 64), (32, 128), (64, 512)]} | options
    return make_assigner(name, **options)(boxes, gts, labels, **calls)


# ---------------------------------------------------------------- slow loops over the definitions


def loop_max_iou(boxes, gts, positive, negative, low_quality):
    table = iou_table(boxes, gts)
    answer = []
    for row in table:
        best = max(row)
        if best >= positive:
            answer.append(row.index(best))
        else:
            answer.append(NEGATIVE if best < negative else IGNORED)
    if low_quality:
        columns = list(zip(*table, strict=True))
        wanted = {}
        for g, column in enumerate(columns):
            for i, overlap in enumerate(column):
                if overlap == max(column) > 0 and overlap > wanted.get(i, (0.0, None))[0]:
                    wanted[i] = (overlap, g)
        for i, (_, g) in wanted.items():
            answer[i] = g
    return answer


def loop_atss(boxes, gts, top_k):
    centre = [((a[0] + a[2]) / 2, (a[1] + a[3]) / 2) for a in boxes.tolist()]
    best = {}
    for g, gt in enumerate(gts.tolist()):
        middle = ((gt[0] + gt[2]) / 2, (gt[1] + gt[3]) / 2)
        candidates, start = [], 0
        for size in LEVELS:
            level = range(start, start + size)
            level = sorted(level, key=lambda i: math.dist(centre[i], middle))
            candidates += level[:top_k]
            start += size
        ious = [iou_of(boxes[i].tolist(), gt) for i in candidates]
        threshold = np.mean(ious) + np.std(ious, ddof=1)
        for i, iou in zip(candidates, ious, strict=True):
            x, y = centre[i]
            inside = gt[0] < x < gt[2] and gt[1] < y < gt[3]
            if inside and iou >= threshold and iou > best.get(i, (-1.0, None))[0]:
                best[i] = (iou, g)
    return [best[i][1] if i in best else NEGATIVE for i in range(len(boxes))]


def loop_mixture(values):
    """Expectation maximisation for two Gaussians, one number at a time."""

    def log_normal(x, mean, variance):
        return -0.5 * ((x - mean) ** 2 / variance + math.log(2 * math.pi * variance))

    def joint(x):
        return [math.log(shares[c]) + log_normal(x, means[c], variances[c]) for c in (0, 1)]

    means, variances, shares = [min(values), max(values)], [1.0, 1.0], [0.5, 0.5]
    previous = -math.inf
    for _ in range(MAX_ROUNDS):
        likelihoods = [float(np.logaddexp(*joint(x))) for x in values]
        weights = [
            [math.exp(j - total) for j in joint(x)]
            for x, total in zip(values, likelihoods, strict=True)
        ]
        for c in (0, 1):
            mass = sum(w[c] for w in weights) + 10 * np.finfo(float).eps
            means[c] = sum(w[c] * x for w, x in zip(weights, values, strict=True)) / mass
            spread = sum(w[c] * (x - means[c]) ** 2 for w, x in zip(weights, values, strict=True))
            variances[c] = spread / mass + VARIANCE_FLOOR
            shares[c] = mass
        shares = [share / sum(shares) for share in shares]
        mean = sum(likelihoods) / len(values)
        if abs(mean - previous) < TOLERANCE:
            break
        previous = mean
    joints = [joint(x) for x in values]
    return [j[0] >= j[1] for j in joints], [float(np.logaddexp(*j)) for j in joints]


def loop_paa(boxes, gts, losses, top_k, candidate_iou):
    first = loop_max_iou(boxes, gts, candidate_iou, candidate_iou, low_quality=True)
    answer = [NEGATIVE] * len(boxes)
    for g in range(len(gts)):
        candidates, start = [], 0
        for size in LEVELS:
            level = [i for i in range(start, start + size) if first[i] == g]
            candidates += sorted(level, key=lambda i: losses[i])[:top_k]
            start += size
        candidates.sort(key=lambda i: losses[i])
        if len(candidates) < 2:
            chosen = candidates
        else:
            lower, likelihood = loop_mixture([losses[i] for i in candidates])
            members = [j for j in range(len(candidates)) if lower[j]]
            peak = max(members, key=lambda j: likelihood[j]) if members else -1
            chosen = [candidates[j] for j in members if j <= peak]
        for i in chosen:
            answer[i] = g
    return answer


def loop_foveabox(boxes, gts, ranges, positive_scale, negative_scale):
    answer, start = [], 0
    for size, (low, high) in zip(LEVELS, ranges, strict=True):
        for a in boxes[start : start + size].tolist():
            x, y = (a[0] + a[2]) / 2, (a[1] + a[3]) / 2
            inside, near = [], False
            for g, gt in enumerate(gts.tolist()):
                width, height = gt[2] - gt[0], gt[3] - gt[1]
                if not low <= math.sqrt(width * height) <= high:
                    continue
                dx = abs(x - (gt[0] + gt[2]) / 2) / (width / 2)
                dy = abs(y - (gt[1] + gt[3]) / 2) / (height / 2)
                if max(dx, dy) <= positive_scale:
                    inside.append((width * height, g))
                near |= max(dx, dy) <= negative_scale
            answer.append(min(inside)[1] if inside else (IGNORED if near else NEGATIVE))
        start += size
    return answer


def loop_published_foveabox(size, stride, gts, scale):
    """Ranges of cells of one square map, cut to the map; small objects last."""
    answer = [NEGATIVE] * size**2
    order = sorted(range(len(gts)), key=lambda g: -float((gts[g][2:] - gts[g][:2]).prod()))
    for g in order:
        x1, y1, x2, y2 = (float(value) / stride for value in gts[g])
        ranges = []
        for low, high in ((x1, x2), (y1, y2)):
            middle, half = (low + high) / 2, scale * (high - low) / 2
            ends = math.ceil(middle - half - 0.5), math.floor(middle + half - 0.5)
            first, last = (min(max(end, 0), size - 1) for end in ends)
            ranges.append(range(first, last + 1))
        for row in ranges[1]:
            for column in ranges[0]:
                answer[row * size + column] = g
    return answer


def loop_ssd(boxes, gts, positive):
    table = np.array(iou_table(boxes, gts))
    answer = [int(row.argmax()) if row.max() >= positive else NEGATIVE for row in table]
    free = table.copy()
    while free.max() > 0:
        i, g = np.unravel_index(free.argmax(), free.shape)
        answer[i] = int(g)
        free[i] = free[:, g] = 0
    return answer


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("low_quality", [0.0, None])
def test_max_iou_agrees_with_the_loop(seed, low_quality):
    boxes = grid_boxes()
    gts, labels = random_gts(1 + 4 * seed, seed)
    ours = assign("max_iou", boxes, gts, labels, low_quality_iou=low_quality)
    expected = loop_max_iou(boxes, gts, 0.5, 0.4, low_quality is not None)
    assert ours.gt_idxs.tolist() == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_atss_agrees_with_the_loop(seed):
    boxes = grid_boxes()
    gts, labels = random_gts(1 + 4 * seed, seed)
    ours = assign("atss", boxes, gts, labels)
    assert ours.gt_idxs.tolist() == loop_atss(boxes, gts, top_k=9)
    assert seed == 0 or ours.positives.any()  # the only object of seed 0 holds no centre


@pytest.mark.parametrize("seed", SEEDS)
def test_paa_agrees_with_the_loop(seed):
    boxes = grid_boxes()
    gts, labels = random_gts(1 + 4 * seed, seed)
    # Two heaps of losses, so that there is something to separate.
    losses = torch.rand(len(boxes), generator=seeded(seed), dtype=torch.float64)
    losses = losses + 2 * (torch.rand(len(boxes), generator=seeded(seed + 50)) < 0.6)
    ours = make_assigner("paa")(boxes, gts, labels, level_sizes=LEVELS, costs=costs_of(losses))
    assert ours.gt_idxs.tolist() == loop_paa(boxes, gts, losses.tolist(), 9, 0.1)
    assert ours.positives.any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("negative_scale", [0.4, 0.7])
def test_foveabox_agrees_with_the_loop(seed, negative_scale):
    boxes = grid_boxes()
    gts, labels = random_gts(1 + 4 * seed, seed)
    ranges = [(1, 32), (16, 64), (32, 128), (64, 512)]
    ours = assign("foveabox", boxes, gts, labels, negative_scale=negative_scale)
    assert ours.gt_idxs.tolist() == loop_foveabox(boxes, gts, ranges, 0.4, negative_scale)


@pytest.mark.parametrize("seed", SEEDS)
def test_foveabox_takes_outermost_points_as_published(seed):
    size, stride = 4, 32
    middles = (torch.arange(size) + 0.5) * stride
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    points = torch.stack((x, y, x, y), dim=-1).flatten(0, 1)
    corners = torch.rand(12, 2, 2, generator=seeded(seed)).sort(dim=1).values * 128
    gts = torch.cat((corners[:, 0], corners[:, 1]), dim=1)
    gts = torch.cat((gts, torch.tensor([[1.0, 2, 19, 126], [110, 112, 127, 128]])))  # at borders
    labels = torch.ones(len(gts), dtype=torch.int64)
    options = {"scale_ranges": [(0, 512)], "positive_scale": 0.4}
    ours = make_assigner("foveabox", outermost=True, **options)(points, gts, labels)
    assert ours.gt_idxs.tolist() == loop_published_foveabox(size, stride, gts, 0.4)
    without = make_assigner("foveabox", **options)(points, gts, labels)
    assert (without.gt_idxs != ours.gt_idxs).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_ssd_agrees_with_the_loop(seed):
    boxes = grid_boxes()
    gts, labels = random_gts(1 + 4 * seed, seed)
    assert assign("ssd", boxes, gts, labels).gt_idxs.tolist() == loop_ssd(boxes, gts, 0.5)


# ---------------------------------------------------------------- by hand


def test_max_iou_by_hand():
    gts = torch.tensor([[0.0, 0, 10, 10], [100, 0, 110, 10], [200, 0, 210, 10]])
    boxes = torch.tensor(
        [
            [0.0, 0, 10, 6],  # IoU 0.6 with 0: positive
            [0, 0, 10, 4.5],  # 0.45 with 0: between the thresholds
            [0, 0, 10, 3],  # 0.3: negative
            [100, 0, 110, 2],  # 0.2 with 1, its best: positive by low quality
            [300, 0, 310, 10],  # 0: negative
        ]
    )
    ours = make_assigner("max_iou")(boxes, gts, torch.tensor([3, 1, 2]))
    assert ours.gt_idxs.tolist() == [0, IGNORED, NEGATIVE, 1, NEGATIVE]
    assert ours.labels.tolist() == [3, 0, 0, 1, 0]
    torch.testing.assert_close(ours.overlaps, torch.tensor([0.6, 0.45, 0.3, 0.2, 0.0]))
    ours = make_assigner("max_iou", low_quality_iou=0.25)(boxes, gts, torch.tensor([3, 1, 2]))
    assert ours.gt_idxs.tolist() == [0, IGNORED, NEGATIVE, NEGATIVE, NEGATIVE]
    # bbgen Table 4: negatives only from 0.1 up
    ours = make_assigner("max_iou", negative_floor=0.1)(boxes, gts, torch.tensor([3, 1, 2]))
    assert ours.gt_idxs.tolist() == [0, IGNORED, NEGATIVE, 1, IGNORED]


def test_a_box_that_two_ground_truths_want_goes_to_the_larger_overlap():
    gts = torch.tensor([[0.0, 0, 10, 10], [0, 6, 10, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 9], [50, 50, 60, 60]])  # IoU 0.9 and 3 / 10
    ours = make_assigner("max_iou")(boxes, gts, torch.tensor([1, 2]))
    assert ours.gt_idxs.tolist() == [0, NEGATIVE]


def test_negatives_in_an_ignored_region_are_ignored_and_positives_stay():
    gts = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 8], [20, 0, 30, 10], [28, 0, 38, 10], [60, 0, 60, 0]])
    crowd = torch.tensor([[0.0, 0, 33, 50]])
    for name in ("max_iou", "ssd"):
        ours = make_assigner(name)(boxes, gts, torch.tensor([1]), ignored_boxes=crowd)
        # 8 and 10 of 10 px wide boxes lie in the region, then exactly half, then no area at all.
        assert ours.gt_idxs.tolist() == [0, IGNORED, IGNORED, NEGATIVE]
        ours = make_assigner(name, ignore_iof=0.6)(
            boxes, gts, torch.tensor([1]), ignored_boxes=crowd
        )
        assert ours.gt_idxs.tolist() == [0, IGNORED, NEGATIVE, NEGATIVE]


def test_published_ignored_regions_take_positives_too_and_need_an_object():
    gts = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 4], [28, 0, 38, 10], [60, 0, 70, 10]])
    crowd = torch.tensor([[0.0, 0, 33, 7]])
    assigner = make_assigner("max_iou", ignoring="boxes")
    ours = assigner(boxes, gts, torch.tensor([1]), ignored_boxes=crowd)
    # 7/8, 1, 35/100 and 0 of the boxes lie inside: the first, of IoU 0.8, is out, and with the
    # second gone nobody is left to be the ground truth's best.
    assert ours.gt_idxs.tolist() == [IGNORED, IGNORED, NEGATIVE, NEGATIVE]
    half = torch.tensor([[0.0, 0, 33, 4]])  # exactly half of the first, which is not more
    ours = assigner(boxes, gts, torch.tensor([1]), ignored_boxes=half)
    assert ours.gt_idxs.tolist() == [0, IGNORED, NEGATIVE, NEGATIVE]
    nobody = assigner(boxes, gts[:0], torch.zeros(0, dtype=torch.int64), ignored_boxes=crowd)
    assert nobody.gt_idxs.tolist() == [NEGATIVE] * 4


def test_of_boxes_that_tie_for_best_all_or_the_first_are_taken():
    gts = torch.tensor([[0.0, 0, 20, 10], [40, 0, 50, 10]])
    # Of IoU 0.4 with the first ground truth, twice; of 0.2; of 0.3 with the second.
    boxes = torch.tensor([[0.0, 0, 8, 10], [12, 0, 20, 10], [0, 0, 4, 10], [40, 0, 43, 10]])
    labels = torch.tensor([1, 2])
    assert make_assigner("max_iou")(boxes, gts, labels).gt_idxs.tolist() == [0, 0, -1, 1]
    one = make_assigner("max_iou", low_quality_ties=False, negative_iou=0.5)
    assert one(boxes, gts, labels).gt_idxs.tolist() == [0, -1, -1, 1]


def test_ggiou_gives_a_slender_object_more_boxes():
    # ggiou Fig. 1a: squares of side 18, 16, ..., 4 on a 6 x 16 object, all of IoU below 0.45.
    gts = torch.tensor([[-3.0, -8, 3, 8]])
    half = torch.arange(9, 1, -1.0)[:, None]
    boxes = torch.cat([-half, -half, half, half], dim=1)
    by_iou = make_assigner("max_iou")(boxes, gts, torch.tensor([1]))
    expected = torch.tensor([8 / 27, 3 / 8, 21 / 52, 3 / 7, 15 / 34, 3 / 7, 3 / 8, 1 / 6])
    torch.testing.assert_close(make_overlaps("iou", boxes, gts), expected)
    assert by_iou.gt_idxs.tolist() == [-1, -1, -2, -2, 0, -2, -1, -1]
    # All centred: Dc = 1 and GGIoU = IoU^0.7 (Eq. 4 with alpha 0.3).
    torch.testing.assert_close(make_overlaps("ggiou", boxes, gts), expected**0.7)
    overlap = {"name": "ggiou", "alpha": 0.3, "beta": 1 / 6}
    by_ggiou = make_assigner("max_iou", overlap=overlap)(boxes, gts, torch.tensor([1]))
    assert by_ggiou.gt_idxs.tolist() == [-2, 0, 0, 0, 0, 0, 0, -1]


def make_overlaps(name, boxes, gts):
    return make_assigner("max_iou", overlap={"name": name})(boxes, gts, torch.tensor([1])).overlaps


def test_ssd_gives_every_ground_truth_a_box_of_its_own():
    # Both ground truths overlap box 0 most; the second one has to take its next best.
    gts = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    boxes = torch.tensor([[0.0, 0, 10, 9.5], [0, 0, 10, 2]])
    ours = make_assigner("ssd")(boxes, gts, torch.tensor([1, 2]))
    # 9.5 / 10 = 0.95 with the first, 9 / 9.5 = 0.947 with the second
    assert ours.gt_idxs.tolist() == [0, 1]


def test_paa_separates_two_heaps_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(8, 1)
    losses = torch.tensor([0.30, 5.0, 0.32, 5.1, 0.31, 4.9, 0.33, 5.05])
    ours = make_assigner("paa")(boxes, boxes[:1], torch.tensor([4]), costs=costs_of(losses)).gt_idxs
    assert (ours[losses > 1] == NEGATIVE).all()
    # Ascending up to the most likely of the lower heap, 0.31 or 0.32 next to its mean of 0.315.
    assert ours[0] == 0
    assert ours[4] == 0
    assert ours[6] == NEGATIVE


@pytest.mark.parametrize(("lone", "expected"), [("positive", 0), ("negative", NEGATIVE)])
def test_paa_of_a_ground_truth_with_one_candidate(lone, expected):
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    assigner = make_assigner("paa", lone=lone)
    ours = assigner(boxes, boxes[:1], torch.tensor([4]), costs=costs_of(torch.tensor([0.3, 0.1])))
    assert ours.gt_idxs.tolist() == [expected, NEGATIVE]


@pytest.mark.parametrize(("contested", "labels"), [("strongest", [1]), ("last", [2])])
def test_paa_has_candidates_that_two_ground_truths_want(contested, labels):
    gts = torch.tensor([[0.0, 0, 100, 10], [0, 0, 100, 8]])
    boxes = torch.tensor([[0.0, 0, 5, 10]])  # IoU 0.05 and 40 / 810: best of both, below 0.1
    assigner = make_assigner("paa", contested=contested)
    costs = costs_of(torch.tensor([0.3]))
    assert assigner(boxes, gts, torch.tensor([1, 2]), costs=costs).labels.tolist() == labels


# ---------------------------------------------------------------- values, not errors

NAMES = sorted(options.Assigner.parts())


def check_answer(ours, boxes, labels):
    assert ours.gt_idxs.shape == ours.overlaps.shape == ours.labels.shape == (len(boxes),)
    assert ours.gt_idxs.dtype == ours.labels.dtype == torch.int64
    assert (ours.gt_idxs >= IGNORED).all()
    assert (ours.gt_idxs < max(len(labels), 1)).all()
    positive = ours.gt_idxs >= 0
    assert torch.equal(ours.labels[positive], labels[ours.gt_idxs[positive]])
    assert (ours.labels[~positive] == 0).all()
    assert ours.overlaps.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_no_objects(name):
    boxes = grid_boxes()
    ours = assign(name, boxes, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert (ours.gt_idxs == NEGATIVE).all()
    check_answer(ours, boxes, torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("name", NAMES)
def test_no_boxes(name):
    gts, labels = random_gts(3, 0)
    options = {"scale_ranges": [(1, 64)]} if name == "foveabox" else {}
    ours = make_assigner(name, **options)(
        torch.zeros(0, 4), gts, labels, costs=costs_of(torch.zeros(0))
    )
    check_answer(ours, torch.zeros(0, 4), labels)


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_objects(name):
    gts, labels = random_gts(1_000, 0)
    ours = assign(name, grid_boxes(), gts, labels)
    check_answer(ours, grid_boxes(), labels)
    assert ours.positives.any()


@pytest.mark.parametrize("name", NAMES)
def test_an_object_without_any_box_and_one_outside_the_image(name):
    boxes = grid_boxes()
    gts = torch.tensor([[20.0, 20, 60, 70], [900, 900, 950, 980], [-500, -500, -480, -470]])
    ours = assign(name, boxes, gts, torch.tensor([1, 2, 3]))
    check_answer(ours, boxes, torch.tensor([1, 2, 3]))
    assert set(ours.gt_idxs.unique().tolist()) <= {IGNORED, NEGATIVE, 0}
    assert (ours.gt_idxs == 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_boxes_and_objects_without_area(name):
    boxes = grid_boxes()
    boxes[3] = torch.tensor([5.0, 5, 5, 5])
    gts = torch.tensor([[20.0, 20, 60, 70], [5, 5, 5, 5], [30, 30, 30, 90]])
    ours = assign(name, boxes, gts, torch.tensor([1, 2, 3]))
    check_answer(ours, boxes, torch.tensor([1, 2, 3]))


coordinates = st.tuples(
    st.integers(-40, 160), st.integers(-40, 160), st.integers(0, 90), st.integers(0, 90)
)


@pytest.mark.parametrize("name", NAMES)
@given(raw=st.lists(coordinates, max_size=12), crowd=st.lists(coordinates, max_size=3))
@settings(max_examples=25, deadline=None)
def test_any_scene_gets_an_answer(name, raw, crowd):
    boxes = grid_boxes()
    gts = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in raw]).reshape(-1, 4).float()
    regions = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in crowd]).reshape(-1, 4).float()
    labels = torch.arange(len(gts)) % 5 + 1
    options = {"scale_ranges": [(1, 32), (16, 64), (32, 128), (64, 512)]}
    assigner = make_assigner(name, **(options if name == "foveabox" else {}))
    calls = {"level_sizes": LEVELS, "costs": costs_of(torch.rand(len(boxes), generator=seeded()))}
    plain = assigner(boxes, gts, labels, **calls)
    check_answer(plain, boxes, labels)
    ours = assigner(boxes, gts, labels, ignored_boxes=regions, **calls)
    # The regions only ever turn negatives into ignored.
    changed = ours.gt_idxs != plain.gt_idxs
    assert (plain.gt_idxs[changed] == NEGATIVE).all()
    assert (ours.gt_idxs[changed] == IGNORED).all()


@pytest.mark.parametrize("name", ["atss", "max_iou", "foveabox"])
def test_the_order_of_the_objects_does_not_matter(name):
    boxes = grid_boxes()
    gts, labels = random_gts(20, 3)
    order = torch.randperm(20, generator=seeded(1))
    ours = assign(name, boxes, gts, labels).gt_idxs
    permuted = assign(name, boxes, gts[order], labels[order]).gt_idxs
    restored = torch.where(permuted >= 0, order[permuted.clamp(min=0)], permuted)
    assert torch.equal(ours, restored)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ([5.0, 1, 4, 9], r"x2 < x1 in \[5.0, 1.0, 4.0, 9.0\]"),
        ([1.0, 9, 4, 5], "y2 < y1"),
        ([float("nan"), 9, 4, 5], "not finite"),
        ([1.0, 2, float("inf"), 5], "not finite"),
    ],
)
def test_a_bad_box_is_named_with_its_image(name, bad, problem):
    gts, labels = random_gts(3, 0)
    boxes = grid_boxes()
    assigner = make_assigner(name)
    calls = {"image": 139, "costs": costs_of(torch.zeros(len(boxes)))}
    worse = boxes.clone()
    worse[17] = torch.tensor(bad)
    with pytest.raises(ValueError, match=f"image 139, box 17: {problem}"):
        assigner(worse, gts, labels, **calls)
    gts[2] = torch.tensor(bad)
    with pytest.raises(ValueError, match=f"image 139, ground truth 2: {problem}"):
        assigner(boxes, gts, labels, **calls)


def test_what_is_missing_or_wrong_is_said():
    boxes = grid_boxes()
    gts, labels = random_gts(3, 0)
    with pytest.raises(ValueError, match="assigner 'paa' needs costs"):
        make_assigner("paa")(boxes, gts, labels)
    with pytest.raises(ValueError, match=r"costs must hold one value per box, \[340\]"):
        make_assigner("paa")(boxes, gts, labels, costs=costs_of(torch.zeros(3)))
    with pytest.raises(ValueError, match="level_sizes must add up to 340 boxes"):
        make_assigner("atss")(boxes, gts, labels, level_sizes=[100, 200])
    with pytest.raises(ValueError, match="scale_ranges must be one per level, got 5 for 1 levels"):
        make_assigner("foveabox")(boxes, gts, labels)
    with pytest.raises(ValueError, match="overlap must be one of iou, ggiou, got 'giuo'"):
        make_assigner("max_iou", overlap={"name": "giuo"})(boxes, gts, labels)
    with pytest.raises(ValueError, match="missing key 'name': overlap must be one of"):
        make_assigner("max_iou", overlap={"alpha": 0.3})(boxes, gts, labels)
    with pytest.raises(ValueError, match="got \\[2\\] labels and \\[3, 4\\] boxes"):
        make_assigner("max_iou")(boxes, gts, labels[:2])
    with pytest.raises(TypeError, match="gt_labels must be int64"):
        make_assigner("max_iou")(boxes, gts, labels.int())
    with pytest.raises(TypeError, match="box coordinates must be floating point"):
        make_assigner("max_iou")(boxes.long(), gts, labels)
    with pytest.raises(ValueError, match="assigner must be one of"):
        make_assigner("maxiou")
    with pytest.raises(ValueError, match=r"unknown key 'topk' .did you mean 'top_k'"):
        make_assigner("atss", topk=9)
