"""Sums over steps beside the matrix of all pairs; the quick search beside `torch.searchsorted`."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.losses import steps
from rebalance.losses.steps import BucketSearch, LabelledSteps, make_steps
from torch import Tensor

DELTAS = pytest.mark.parametrize("delta", [0.0, 0.5, 3.0])
DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)


def normal(*size: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=rng, dtype=torch.float64)


def matrix(anchors: Tensor, points: Tensor, delta: float) -> Tensor:
    """[P, M] float64: H of every pair."""
    x = points.double() - anchors[:, None]
    return (x >= 0).double() if delta == 0 else (x / (2 * delta) + 0.5).clamp(0, 1)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(steps, "CHUNK_OF_CACHE", 7)
    monkeypatch.setattr(steps, "MANY_POINTS", 1)


@pytest.mark.usefixtures("small_chunks")
@DTYPES
@DELTAS
def test_sums_equal_those_of_the_matrix(delta, dtype):
    anchors, points = normal(40).to(dtype).double(), normal(101, seed=1).to(dtype) * 2
    points[:40] = anchors.to(dtype)  # ties
    of_anchors, of_points = normal(40, seed=2), normal(101, seed=3)
    made = make_steps(anchors, delta)
    located = made.locate(points)
    pairs = matrix(anchors, points, delta)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(made.sum_over_points(located, of_points), pairs @ of_points, **close)
    torch.testing.assert_close(made.sum_over_points(located), pairs.sum(1), **close)
    sums = torch.ones(101, dtype=torch.float64)
    made.add_sums_over_steps(located, of_anchors, to=sums)
    torch.testing.assert_close(sums, 1 + of_anchors @ pairs, **close)


@pytest.mark.usefixtures("small_chunks")
@DELTAS
def test_points_may_be_left_out(delta):
    anchors, points = normal(10), normal(50, seed=1)
    among = normal(50, seed=2) > 0
    made = make_steps(anchors, delta)
    located = made.locate(points, among)
    pairs = matrix(anchors, points, delta) * among
    torch.testing.assert_close(made.sum_over_points(located), pairs.sum(1))
    sums = torch.zeros(50, dtype=torch.float64)
    made.add_sums_over_steps(located, torch.ones_like(anchors), to=sums)
    torch.testing.assert_close(sums, pairs.sum(0))


@pytest.mark.parametrize("many", [1, 10**9], ids=["table", "no table"])
@DTYPES
def test_points_next_to_a_knot_are_on_the_right_side_of_it(monkeypatch, dtype, many):
    monkeypatch.setattr(steps, "MANY_POINTS", many)
    made = make_steps(normal(50), delta=0.7)  # hardly a knot is a number of a smaller type
    nearest = made.knots.to(dtype)
    points = torch.cat(
        [nearest, *(nearest.nextafter(nearest.new_tensor(x)) for x in (-torch.inf, torch.inf))]
    )
    expected = (points.double()[:, None] >= made.knots).sum(1)
    assert made.locate(points).segment.tolist() == expected.tolist()


numbers = (
    st.integers(-4, 4).map(float)
    | st.floats(-(2**-10), 2**-10, width=32, allow_subnormal=False)
    | st.floats(allow_nan=False, allow_infinity=False, width=32, allow_subnormal=False)
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(numbers, min_size=1, max_size=40),
    st.lists(numbers, max_size=40),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_buckets_find_what_a_binary_search_finds(knots, points, dtype):
    ascending = torch.tensor(knots, dtype=dtype).sort().values
    points = torch.tensor(points + knots + [-torch.inf], dtype=dtype)
    found = BucketSearch.among(ascending).count(points)
    assert found.tolist() == torch.searchsorted(ascending, points, right=True).tolist()


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_buckets_stay_in_bounds_whatever_is_searched_for(odd):
    values = torch.tensor([0.0, 1.0, odd])
    for knots, points in ((values[:2], values), (values.sort().values, values)):
        found = BucketSearch.among(knots).count(points)
        assert ((found >= 0) & (found <= len(knots))).all()


def test_an_outlier_leaves_one_full_bucket_and_the_search_right():
    knots = torch.cat([normal(1000).float(), torch.tensor([1e6])]).sort().values
    points = normal(5000, seed=1).float()
    search = BucketSearch.among(knots)
    assert search.bits == 10
    assert (search.count(points) == torch.searchsorted(knots, points, right=True)).all()


@DELTAS
@pytest.mark.parametrize("size", [1, 2, 3, 8, 50])
@pytest.mark.parametrize("many", [1, 10**9], ids=["table", "no table"])
def test_sums_over_lower_and_higher_labels_equal_those_of_the_matrix(
    monkeypatch, delta, size, many
):
    monkeypatch.setattr(steps, "MANY_POINTS", many)
    scores, weights = normal(size).mul(4).round().div(2), normal(size, seed=1)
    labels = normal(size, seed=2).mul(3).round()  # ties in both
    pairs = matrix(scores, scores, delta) * (labels < labels[:, None])
    made = LabelledSteps.at(scores, labels, delta)
    torch.testing.assert_close(made.sum_over_lower(weights), pairs @ weights)
    torch.testing.assert_close(made.sum_over_higher(weights), weights @ pairs)
