"""The box generator against golden data, exact areas and brute force."""

import numpy as np
import pytest
import torch
from rebalance.generators import boxes as boxes_module
from rebalance.generators import feasible_area, generate_boxes
from rebalance.generators.regions import corner_region
from scipy import stats

REFERENCE = torch.tensor([0.3, 0.3, 0.6, 0.6], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def paired_iou(a, b):
    a, b = a.double(), b.double()
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return inter / (area_a + area_b - inter)


def many_references(num, seed, spread):
    """Sizes 2 to 2000 px, aspect ratios 1:10 to 10:1, centres within +-spread."""
    rng = seeded(seed)
    numbers = torch.rand(4, num, generator=rng, dtype=torch.float64)
    ratio = 10 ** (2 * numbers[0] - 1)
    longest = 2 * torch.maximum(ratio, 1 / ratio)
    longest = longest * (2000 / longest) ** numbers[1]
    width = torch.where(ratio > 1, longest, longest * ratio)
    height = torch.where(ratio > 1, longest / ratio, longest)
    centre = (numbers[2:].T * 2 - 1) * spread
    size = torch.stack([width, height], dim=1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=1)


@pytest.mark.parametrize(
    ("dtype", "spread"),
    [(torch.float64, 1e3), (torch.float64, 1e8), (torch.float32, 1e3), (torch.float32, 1e6)],
)
def test_every_box_reaches_its_threshold(dtype, spread):
    references = many_references(250_000, 1, spread).to(dtype)
    references = references[(references[:, 2:] > references[:, :2]).all(1)]
    assert len(references) > 240_000  # float32 at 1e6 rounds some of the thinnest boxes to nothing
    thresholds = torch.empty(len(references), dtype=torch.float64).uniform_(
        0.3, 0.95, generator=seeded(2)
    )
    generated = generate_boxes(references, thresholds, seeded(3))
    assert generated.dtype == dtype
    assert (paired_iou(generated, references) >= thresholds).all()


def test_published_histograms_by_order_agree(shared_dir):
    golden = np.load(shared_dir / "golden" / "bbgen_0.npz")
    edges = torch.from_numpy(golden["iou_bin_edges"])
    references = REFERENCE.repeat(60_000, 1)
    for t, threshold in enumerate(golden["iou_threshold"]):
        for o, order in enumerate(("top_left", "bottom_right")):
            ious = paired_iou(generate_boxes(references, threshold, seeded(t), order), references)
            ours = torch.histogram(ious.clamp(max=1 - 1e-12), bins=edges).hist.numpy()
            table = np.stack([ours, golden["iou_histogram_by_order"][t, o]])
            # The published polygons let a few boxes fall below T, into a bin that is empty for us.
            table = table[:, table.sum(0) > 20]
            assert stats.chi2_contingency(table).pvalue > 1e-4, (threshold, order)


def test_corners_agree_with_two_million_reference_draws(shared_dir):
    golden = np.load(shared_dir / "golden" / "bbgen_0.npz")
    num = 100_000
    references = REFERENCE.repeat(num, 1)
    for t, threshold in enumerate(golden["iou_threshold"]):
        generated = generate_boxes(references, threshold, seeded(t)).numpy()
        cov = golden["ref_box_cov"][t]
        error = np.sqrt(np.diag(cov) / num)
        assert np.abs((generated.mean(0) - golden["ref_box_mean"][t]) / error).max() < 4.5
        # The spread of a sample covariance is about cov_ii cov_jj / n.
        scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)) * 2 / num)
        assert np.abs((np.cov(generated.T) - cov) / scale).max() < 4.5
        ious = paired_iou(torch.from_numpy(generated), references).numpy()
        shares = np.histogram(ious, bins=golden["iou_bin_edges"])[0] / num
        expected = golden["ref_iou_prob"][t]
        assert np.abs(shares - expected).max() < 4.5 * np.sqrt(0.25 / num)


def test_corners_stay_in_the_extents_of_the_published_boxes(shared_dir):
    golden = np.load(shared_dir / "golden" / "bbgen_0.npz")
    references = REFERENCE.repeat(25_000, 1)
    for t, threshold in enumerate(golden["iou_threshold"]):
        for o, order in enumerate(("top_left", "bottom_right")):
            generated = generate_boxes(references, threshold, seeded(t), order).numpy()
            for corner, columns in (("tl", slice(0, 2)), ("br", slice(2, 4))):
                published = golden[f"{corner}_extent_by_order"][t, o]
                low, high = generated[:, columns].min(0), generated[:, columns].max(0)
                size = published[2:] - published[:2]
                # Extremes of 25,000 draws; the tips of the regions are seldom reached.
                assert np.abs(low - published[:2]).max() < 0.1 * size.max()
                assert np.abs(high - published[2:]).max() < 0.1 * size.max()


def unit_area(threshold):
    square = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64)
    return feasible_area(square, torch.tensor([threshold], dtype=torch.float64)).item()


def table_6_interval(x, t):
    """Feasible y of the top-left corner (unit square, other corner fixed): bbgen Table 6.

    ``x`` < 0 is left of the square. Row II with T * A in place of the printed I * A.
    """
    inside = x >= 0
    low = np.where(
        inside,
        1 - ((1 - x) / t + (1 - x) - 1) / np.where(inside, 1 - x, 1),  # I: Y from X
        1 - 1 / (t * (1 - np.minimum(x, 0))),  # IV, solved for Y
    )
    high = np.where(
        inside,
        1 - t / (1 - np.maximum(x, 0)),  # II, solved for Y
        1 - 1 / (1 / t + 1 - (1 - np.minimum(x, 0))),  # III, solved for Y
    )
    return low, high


def exact_cell_areas(edges_x, edges_y, t, points=400):
    """Area of the region in each cell, by Gauss-Legendre over x between the kinks."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    areas = np.zeros((len(edges_x) - 1, len(edges_y) - 1))
    for i in range(len(edges_x) - 1):
        x = (edges_x[i] + edges_x[i + 1]) / 2 + nodes * (edges_x[i + 1] - edges_x[i]) / 2
        low, high = table_6_interval(x, t)
        for j in range(len(edges_y) - 1):
            length = np.minimum(high, edges_y[j + 1]) - np.maximum(low, edges_y[j])
            areas[i, j] = (weights * length.clip(min=0)).sum() * (edges_x[i + 1] - edges_x[i]) / 2
    return areas


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("order", ["top_left", "bottom_right"])
def test_first_corner_is_uniform_over_its_exact_region(threshold, order):
    num = 100_000
    reference = torch.tensor([10.0, 20.0, 14.0, 26.0], dtype=torch.float64)
    generated = generate_boxes(reference.repeat(num, 1), threshold, seeded(4), order)
    if order == "top_left":
        offsets = (generated[:, :2] - reference[:2]) / (reference[2:] - reference[:2])
    else:
        offsets = (reference[2:] - generated[:, 2:]) / (reference[2:] - reference[:2])
    edges = np.concatenate(
        [np.linspace(1 - 1 / threshold, 0, 9)[:-1], np.linspace(0, 1 - threshold, 9)]
    )
    areas = exact_cell_areas(edges, edges, threshold)
    np.testing.assert_allclose(areas.sum(), unit_area(threshold), rtol=1e-4)
    counts = np.histogram2d(*offsets.numpy().T, bins=[edges, edges])[0]
    assert counts.sum() == num
    expected = areas / areas.sum() * num
    large = expected > 5
    assert counts[~large].sum() <= 5 + 4 * expected[~large].sum()
    scale = counts[large].sum() / expected[large].sum()
    assert stats.chisquare(counts[large], expected[large] * scale).pvalue > 1e-4


@pytest.mark.parametrize("other", [(0.4, 0.1), (-0.2, -0.1), (0.3, -0.15), (-0.15, 0.3)])
def test_second_corner_is_uniform_over_what_the_first_leaves(other):
    threshold, num = 0.5, 100_000
    other_x, other_y = torch.tensor(other, dtype=torch.float64)[:, None].expand(2, num)
    inverse = torch.full((num,), 1 / threshold, dtype=torch.float64)
    numbers = torch.rand(2, num, generator=seeded(5), dtype=torch.float64)
    region = corner_region(torch, other_x, other_y, inverse)
    drawn = torch.stack(boxes_module._draw_uniform(region, *numbers)).numpy()
    # Brute force: IoU on a grid of midpoints, for the box from -other to 1 + (x, y).
    size = 2400
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, axis, indexing="ij")
    inter = (1 + np.minimum(x, 0) + min(other[0], 0)) * (1 + np.minimum(y, 0) + min(other[1], 0))
    area = (1 + x + other[0]) * (1 + y + other[1])
    feasible = inter / (1 + area - inter) >= threshold
    bins = np.linspace(-1, 1, 41)
    cells = np.histogram2d(x[feasible], y[feasible], bins=[bins, bins])[0]
    counts = np.histogram2d(*drawn, bins=[bins, bins])[0]
    assert counts.sum() == num
    expected = cells / cells.sum() * num
    large = expected > 20
    scale = counts[large].sum() / expected[large].sum()
    # The grid itself is off by up to a border of midpoints, so compare by size, not by chi-square.
    error = np.sqrt(expected[large]) * 5 + 0.02 * expected[large]
    assert (np.abs(counts[large] - expected[large] * scale) < error).all()


@pytest.mark.parametrize(("threshold", "tolerance"), [(0.05, 1e-5), (0.3, 1e-8), (0.9, 1e-8)])
def test_x_inverts_its_distribution_function(threshold, tolerance):
    num = 20_001
    inverse = torch.full((num,), 1 / threshold, dtype=torch.float64)
    along = torch.linspace(0, 1, num, dtype=torch.float64)
    region = corner_region(torch, torch.zeros_like(along), torch.zeros_like(along), inverse)
    x = boxes_module._draw_uniform(region, along, along)[0].numpy()
    # Closed-form integral of the interval lengths of Table 6 from the inner end, w = 1 + x.
    t, w = threshold, 1 + x
    inner = (1 + 1 / t) * (np.minimum(w, 1) - t) - (1 + t) * np.log(np.minimum(w, 1) / t)
    outer = np.log(np.maximum(w, 1)) / t + np.log((1 + 1 / t - np.maximum(w, 1)) * t)
    area = unit_area(t)
    np.testing.assert_allclose((inner + outer) / area, along.numpy(), atol=tolerance)


def test_random_order_is_symmetric_under_swapping_the_corners():
    num = 200_000
    generated = generate_boxes(REFERENCE.repeat(num, 1), 0.6, seeded(6))
    offsets_tl = REFERENCE[:2] - generated[:, :2]
    offsets_br = generated[:, 2:] - REFERENCE[2:]
    for axis in (0, 1):
        assert stats.ks_2samp(offsets_tl[:, axis], offsets_br[:, axis]).pvalue > 1e-4
    fixed = generate_boxes(REFERENCE.repeat(num, 1), 0.6, seeded(6), "top_left")
    assert stats.ks_2samp(REFERENCE[0] - fixed[:, 0], fixed[:, 2] - REFERENCE[2]).pvalue < 1e-10, (
        "a fixed order is not isotropic"
    )


def test_the_reversed_order_is_the_reflection():
    references = many_references(1_000, 7, 100)
    forward = generate_boxes(references, 0.5, seeded(8), "top_left")
    backward = generate_boxes(references, 0.5, seeded(8), "bottom_right")
    centre_sum = references[:, :2] + references[:, 2:]
    reflected = torch.cat([centre_sum - forward[:, 2:], centre_sum - forward[:, :2]], dim=1)
    torch.testing.assert_close(backward, reflected)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_same_seed_same_boxes_whatever_the_blocks_and_threads(monkeypatch, num_threads):
    references = many_references(1_000, 9, 100).float()
    whole = generate_boxes(references, 0.5, seeded(10))
    monkeypatch.setattr(boxes_module, "BLOCK", 64)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        assert torch.equal(whole, generate_boxes(references, 0.5, seeded(10)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("order", ["random", "top_left", "bottom_right"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numpy_and_torch_give_the_same_boxes(threshold, order, dtype):
    references = many_references(2_000, 16, 1_000).to(dtype)
    numbers = torch.rand(5, 2_000, generator=seeded(17), dtype=torch.float64)
    inverse = torch.full((2_000,), 1 / threshold, dtype=torch.float64)
    boxes = []
    for xp, convert in ((torch, torch.asarray), (np, np.asarray)):
        rows, draws, inverses = convert(references.T), convert(numbers), convert(inverse)
        corners = boxes_module._draw_corners(xp, inverses, draws)
        drawn = boxes_module._to_boxes(xp, rows, corners, draws[4], order)
        boxes.append(torch.asarray(drawn))
    assert boxes[0].dtype == boxes[1].dtype == dtype
    tolerance = {"rtol": 1e-9, "atol": 1e-7} if dtype == torch.float64 else {}
    torch.testing.assert_close(*boxes, **tolerance)


def test_threshold_one_gives_the_reference_back():
    references = many_references(1_000, 11, 1e4).float()
    assert torch.equal(generate_boxes(references, 1.0, seeded()), references)


def test_one_threshold_per_box():
    references = REFERENCE.repeat(4, 1)
    generated = generate_boxes(references, torch.tensor([0.3, 0.5, 0.9, 1.0]), seeded())
    assert (paired_iou(generated, references) >= torch.tensor([0.3, 0.5, 0.9, 1.0])).all()
    assert paired_iou(generated, references)[0] < 1


def test_generated_boxes_carry_no_gradient():
    references = REFERENCE.repeat(4, 1).requires_grad_()
    assert not generate_boxes(references, 0.5, seeded()).requires_grad


def test_no_references_give_no_boxes():
    assert generate_boxes(torch.zeros(0, 4), 0.5, seeded()).shape == (0, 4)


def test_a_proposal_is_restricted_to_the_region():
    num = 20_000
    reference = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)

    def narrow(low, high, rng):
        return torch.randn(low.shape, generator=rng, dtype=torch.float64) * 0.1

    generated = generate_boxes(
        reference.repeat(num, 1), 0.5, seeded(12), "top_left", proposal=narrow
    )
    assert (paired_iou(generated, reference.repeat(num, 1)) >= 0.5).all()
    # Brute force: the same normal points, kept where the IoU with the other corner fixed is >= T.
    points = torch.randn(200_000, 2, generator=seeded(13), dtype=torch.float64) * 0.1
    candidates = torch.cat([-points, torch.ones_like(points)], dim=1)
    kept = points[paired_iou(candidates, reference.repeat(len(points), 1)) >= 0.5]
    assert len(kept) < len(points)
    for axis in (0, 1):
        assert stats.ks_2samp(-generated[:, axis], kept[:, axis]).pvalue > 1e-4


def test_a_uniform_proposal_equals_the_exact_draw():
    num = 50_000
    references = REFERENCE.repeat(num, 1)

    def rectangle(low, high, rng):
        return low + (high - low) * torch.rand(low.shape, generator=rng, dtype=torch.float64)

    rejected = generate_boxes(references, 0.5, seeded(14), proposal=rectangle)
    exact = generate_boxes(references, 0.5, seeded(15))
    pvalue = stats.ks_2samp(paired_iou(rejected, references), paired_iou(exact, references)).pvalue
    assert pvalue > 1e-4


def test_a_proposal_that_misses_is_an_error_that_names_the_box():
    with pytest.raises(ValueError, match=r"proposal: no point of 1000 .* box 0"):
        generate_boxes(REFERENCE[None], 0.5, seeded(), proposal=lambda low, high, rng: high + 1)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([5.0, 5.0, 5.0, 8.0], r"image 139, box 1: x2 <= x1 in \[5.0, 5.0, 5.0, 8.0\]"),
        ([5.0, 8.0, 6.0, 5.0], "image 139, box 1: y2 <= y1"),
        ([5.0, float("nan"), 6.0, 9.0], "image 139, box 1: not finite"),
        ([5.0, 1.0, float("inf"), 9.0], "image 139, box 1: not finite"),
    ],
)
def test_a_bad_reference_is_named(box, message):
    with pytest.raises(ValueError, match=message):
        generate_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0], box]), 0.5, seeded(), image=139)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan")])
def test_a_threshold_outside_0_1_is_named(threshold):
    thresholds = torch.tensor([0.5, threshold])
    with pytest.raises(ValueError, match=r"box 1: min_ious must be in \(0, 1\]"):
        generate_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(2, 1), thresholds, seeded())


def test_wrong_arguments_are_refused():
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match="order must be one of"):
        generate_boxes(box, 0.5, seeded(), order="both")
    with pytest.raises(ValueError, match=r"min_ious must be one number or \[1\]"):
        generate_boxes(box, torch.tensor([0.5, 0.6]), seeded())
    with pytest.raises(ValueError, match=r"must be \[N, 4\] xyxy"):
        generate_boxes(box[0], 0.5, seeded())
    with pytest.raises(TypeError, match="float32 or float64"):
        generate_boxes(box.long(), 0.5, seeded())
