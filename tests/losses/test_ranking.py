"""AP, aLRP and Rank & Sort: golden data, loops over the equations, invariants, odd input."""

from pathlib import Path

import numpy as np
import pytest
import ranking_oracle as oracle
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.losses import alrp_loss, ap_loss, rank_sort_loss, ranking_weights
from rebalance.losses.ranking import (
    Gradient,
    LowerLabelsAbove,
    NegativesAbove,
    PrimaryTerms,
    Ranks,
    identity_update,
)
from torch import Tensor

GOLDEN_CASES = range(17)
NO_POSITIVE = 13  # the published code raises
UNSTABLE_SORT = (
    12  # the published code sorts its equal scores in another order than it does elsewhere
)
EPS_REGION = 15  # a negative with H of 1e-7, below the resolution of the published float32 code
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def relative_error(got: Tensor, expected: object) -> float:
    """|got - expected|_2 / |expected|_2, absolute where the expected value is 0."""
    expected = torch.as_tensor(expected, dtype=torch.float64)
    scale = expected.norm()
    return float((got.detach().double() - expected).norm() / (scale if scale > 0 else 1))


class Golden:
    """One golden case in one precision."""

    def __init__(self, shared_dir: Path, case: int, dtype: torch.dtype) -> None:
        with np.load(shared_dir / "golden" / f"ranking_losses_{case}.npz") as file:
            self.fields = dict(file)
        self.tolerance = TOLERANCE[dtype]
        self.logits = torch.tensor(self.fields["logits"], dtype=dtype)
        self.rs_targets = torch.tensor(self.fields["rs_targets"], dtype=dtype)
        self.labels = torch.tensor(self.fields["labels"])
        self.errors = torch.tensor(self.fields["regression_losses"], dtype=dtype)
        self.delta_rs, self.delta_ap = (
            float(self.fields["delta_rs"]),
            float(self.fields["delta_ap"]),
        )

    def check(self, field: str, value: Tensor) -> None:
        error = relative_error(value, self.fields[field])
        assert error <= self.tolerance, f"{field}: {error}"

    def check_gradient(self, field: str, loss: Tensor, logits: Tensor) -> None:
        (gradient,) = torch.autograd.grad(loss, logits)
        if field in self.fields:
            self.check(field, gradient)
        else:
            self.check(f"{field}_at_index", gradient[torch.tensor(self.fields["f64_index"])])
            assert gradient.abs().sum() == pytest.approx(self.fields[f"{field}_abs_sum"])

    def variable(self) -> Tensor:
        return self.logits.clone().requires_grad_()


@pytest.fixture
def golden(shared_dir, request) -> Golden:
    return Golden(shared_dir, *request.param)


def golden_cases(*left_out: int) -> pytest.MarkDecorator:
    cases = [
        pytest.param((case, dtype), id=f"{case}-{str(dtype)[6:]}")
        for case in GOLDEN_CASES
        if case not in left_out
        for dtype in TOLERANCE
    ]
    return pytest.mark.parametrize("golden", cases, indirect=True)


@golden_cases(NO_POSITIVE)
def test_rank_sort_equals_the_published_code_and_the_thesis(golden):
    logits = golden.variable()
    loss = rank_sort_loss(logits, golden.rs_targets, golden.delta_rs)
    golden.check("th_rs_ranking_loss", loss.ranking)
    golden.check("th_rs_sorting_loss", loss.sorting)
    golden.check("th_rs_loss", loss.loss)
    golden.check_gradient("th_rs_grad", loss.loss, logits)
    if golden.tolerance == TOLERANCE[torch.float32]:
        loss = rank_sort_loss(logits, golden.rs_targets, golden.delta_rs)
        golden.check("off_rs_ranking_loss", loss.ranking)
        golden.check("off_rs_sorting_loss", loss.sorting)
        golden.check_gradient("off_rs_grad", loss.loss, logits)


@golden_cases(NO_POSITIVE)
@pytest.mark.parametrize(("count_self", "prefix"), [("one", "th_self1"), ("step", "th_selfH")])
def test_ap_and_alrp_equal_the_thesis_in_both_conventions_of_self_counting(
    golden, count_self, prefix
):
    options = {"delta": golden.delta_ap, "count_self": count_self}
    logits = golden.variable()
    loss = ap_loss(logits, golden.labels, interpolated=False, **options)
    golden.check(f"{prefix}_ap_loss", loss)
    golden.check_gradient(f"{prefix}_ap_grad", loss, logits)

    errors = golden.errors.clone().requires_grad_()
    alrp = alrp_loss(logits, golden.labels, errors, eps=0.0, ties="both", **options)
    golden.check(f"{prefix}_alrp_cls", alrp.classification)
    golden.check(f"{prefix}_alrp_loc_unit_step", alrp.localisation)
    golden.check_gradient(f"{prefix}_alrp_grad", alrp.loss, logits)
    alrp = alrp_loss(logits, golden.labels, errors, eps=0.0, ties="both", **options)
    (weights,) = torch.autograd.grad(alrp.loss, errors)
    golden.check(f"{prefix}_alrp_loc_weights_unit_step", weights)

    smoothed = alrp_loss(
        logits, golden.labels, errors, delta_loc=golden.delta_ap, eps=0.0, **options
    )
    golden.check(f"{prefix}_alrp_loc", smoothed.localisation)
    golden.check(f"{prefix}_alrp_loss", smoothed.loss)


@golden_cases(NO_POSITIVE)
def test_ap_and_alrp_equal_the_published_code_by_default(golden):
    in_single = golden.tolerance == TOLERANCE[torch.float32]
    if in_single and golden.fields["name"] == "alrp_eps_region":
        pytest.skip("the published float32 value is a rounding error, 6e-8 for 1.1e-7")
    # Of the published code in float64, step functions and guards are in float32: compare to 1e-7.
    golden.tolerance = max(golden.tolerance, 1e-7)
    prefix = "off" if in_single else "off64"
    logits, errors = golden.variable(), golden.errors.clone().requires_grad_()
    loss = ap_loss(logits, golden.labels, golden.delta_ap)
    golden.check(f"{prefix}_ap_loss", loss)
    golden.check_gradient(f"{prefix}_ap_grad", loss, logits)
    alrp = alrp_loss(logits, golden.labels, errors, golden.delta_ap)
    golden.check(f"{prefix}_alrp_cls_loss", alrp.classification)
    golden.check_gradient(f"{prefix}_alrp_grad", alrp.loss, logits)


@golden_cases(NO_POSITIVE, UNSTABLE_SORT)
def test_alrp_localisation_equals_the_published_code(golden):
    errors = golden.errors.clone().requires_grad_()
    alrp = alrp_loss(golden.logits, golden.labels, errors, golden.delta_ap)
    golden.check("off64_alrp_loc_loss", alrp.localisation)
    (weights,) = torch.autograd.grad(alrp.loss, errors)
    golden.check("off64_alrp_loc_grad", weights)


@golden_cases(*(case for case in GOLDEN_CASES if case != NO_POSITIVE))
def test_without_positives_the_golden_case_is_zero(golden):
    logits = golden.variable()
    loss = rank_sort_loss(logits, golden.rs_targets, golden.delta_rs).loss
    assert loss == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize(("delta", "count_self"), [(0.0, "step"), (0.0, "one"), (0.5, "one")])
def test_rank_sort_prints_thesis_figure_m_1(shared_dir, delta, count_self):
    figure = figure_of(shared_dir, "thesis/figure_M_1")["numbers"]
    logits = torch.tensor(figure["logits"], dtype=torch.float64)
    loss = rank_sort_loss(
        logits, torch.tensor(figure["labels"], dtype=torch.float64), delta, count_self=count_self
    )
    assert f"{loss.loss:.2f}" == f"{figure['printed']['rs_loss']:.2f}"
    assert loss.loss.item() == pytest.approx(figure["exact"]["rs_loss"], abs=1e-6)
    assert loss.ranking.item() == pytest.approx(figure["exact"]["rs_loss_ranking_part"], abs=1e-6)
    assert loss.sorting.item() == pytest.approx(figure["exact"]["rs_loss_sorting_part"], abs=1e-6)


def test_rank_sort_gradients_are_those_of_thesis_figure_m_2(shared_dir):
    inputs = figure_of(shared_dir, "thesis/figure_M_1")["numbers"]
    expected = figure_of(shared_dir, "thesis/figure_M_2")["numbers"]["gradients"]
    logits = torch.tensor(inputs["logits"], dtype=torch.float64, requires_grad=True)
    loss = rank_sort_loss(logits, torch.tensor(inputs["labels"]), delta=0.0).loss
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = torch.tensor(list(expected.values()), dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_ap_and_alrp_print_thesis_figure_7_1(shared_dir, delta):
    figure = figure_of(shared_dir, "thesis/figure_7_1")["numbers"]
    scores = torch.tensor([anchor["score"] for anchor in figure["anchors"]])
    targets = torch.tensor([float(anchor["positive"]) for anchor in figure["anchors"]])
    positives = [anchor for anchor in figure["anchors"] if anchor["positive"]]
    for row, localiser in zip(figure["losses"], ("R1", "R2", "R3"), strict=True):
        ious = torch.tensor([anchor[f"{localiser}_iou"] for anchor in positives])
        loss = alrp_loss(scores, targets, (1 - ious) / (1 - 0.5), delta)
        # 0.6925 and 0.8925 are printed 0.69 and 0.89
        assert loss.loss.item() == pytest.approx(row["alrp_loss"], abs=0.005)
        assert round(ap_loss(scores, targets, delta).item(), 2) == row["ap_loss"]


def figure_of(shared_dir: Path, identifier: str) -> dict:
    registry = yaml.safe_load((shared_dir / "paper" / "thesis_b.yaml").read_text())
    return next(figure for figure in registry["figures"] if figure["id"] == identifier)


# --- loops over the equations ----------------------------------------------------------------

# A grid of logits makes ties, and differences at exactly +-delta; 7 and 13 are far apart.
logits_on_a_grid = st.integers(-16, 16).map(lambda k: k / 8) | st.sampled_from([-7.0, 13.0])
targets_with_ties = st.sampled_from([-1.0, 0.0, 0.0, 0.0, 0.3, 0.5, 0.5, 0.75, 1.0])
deltas = st.sampled_from([0.0, 0.125, 0.5, 1.0, 3.0])
counting = st.sampled_from(["one", "step"])
batches = st.lists(st.tuples(logits_on_a_grid, targets_with_ties), min_size=1, max_size=24)


def evaluate(function, logits, targets, *args, **options):
    variable = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    result = function(variable, torch.tensor(targets, dtype=torch.float64), *args, **options)
    loss = result if isinstance(result, Tensor) else result.loss
    (gradient,) = torch.autograd.grad(loss, variable)
    return result, gradient


def assert_equal(got: object, expected: object) -> None:
    torch.testing.assert_close(
        torch.as_tensor(got, dtype=torch.float64).detach(),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=1e-9,
        atol=1e-13,
    )


@settings(deadline=None, max_examples=150)
@given(batches, deltas, counting)
def test_rank_sort_equals_the_loop(batch, delta, count_self):
    logits, targets = zip(*batch, strict=True)
    loss, gradient = evaluate(rank_sort_loss, logits, targets, delta, count_self=count_self)
    expected = oracle.rank_sort(logits, targets, delta, count_self)
    assert_equal(loss.loss, expected.loss)
    assert_equal(torch.stack(loss[1:]), expected.parts)
    assert_equal(gradient, expected.gradient)


@settings(deadline=None, max_examples=100)
@given(batches, deltas, counting, st.booleans())
def test_ap_equals_the_loop(batch, delta, count_self, interpolated):
    logits, targets = zip(*batch, strict=True)
    loss, gradient = evaluate(ap_loss, logits, targets, delta, interpolated, count_self)
    expected = oracle.ap(logits, targets, delta, interpolated, count_self)
    assert_equal(loss, expected.loss)
    assert_equal(gradient, expected.gradient)


@settings(deadline=None, max_examples=100)
@given(batches, deltas, deltas, counting, st.data())
def test_alrp_equals_the_loop(batch, delta, delta_loc, count_self, data):
    both_ways = {"delta_loc": delta_loc, "count_self": count_self, "ties": "both"}
    logits, targets = zip(*batch, strict=True)
    positives = sum(target > 0 for target in targets)
    errors = data.draw(st.lists(st.floats(0, 2), min_size=positives, max_size=positives))
    variable = torch.tensor(errors, dtype=torch.float64, requires_grad=True)
    loss, gradient = evaluate(alrp_loss, logits, targets, variable, delta, **both_ways)
    expected = oracle.alrp(logits, targets, errors, delta, delta_loc, count_self)
    assert_equal(loss.loss, expected.loss)
    assert_equal(torch.stack(loss[1:]), expected.parts)
    assert_equal(gradient, expected.gradient)


def test_alrp_hands_the_localisation_errors_their_weights():
    logits, targets = [0.5, 2.0, -1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0, 0.0]
    errors = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64, requires_grad=True)
    loss = alrp_loss(torch.tensor(logits), torch.tensor(targets), errors, delta_loc=0.7).loss
    (weights,) = torch.autograd.grad(loss, errors)
    expected = oracle.alrp(logits, targets, errors.tolist(), 1.0, 0.7)
    torch.testing.assert_close(weights.tolist(), expected.localisation_weights)


@pytest.mark.parametrize(("ties", "expected"), [
    pytest.param("both", [1, 1], id="rank 1 + 1/2 + 1/2: each has 1/2 of both"),
    pytest.param("sorted", [1 / 2, 1], id="the second has 1/2 of both, the first of itself"),
])  # fmt: skip
def test_positives_of_equal_scores_weigh_each_other_s_errors(ties, expected):
    errors = torch.tensor([0.2, 0.6], dtype=torch.float64, requires_grad=True)
    loss = alrp_loss(torch.zeros(3), torch.tensor([1.0, 1, 0]), errors, ties=ties).loss
    (weights,) = torch.autograd.grad(loss, errors)
    torch.testing.assert_close(weights, torch.tensor(expected).double() / 2)


@pytest.mark.parametrize("seed", range(4))
def test_hundreds_of_positives_equal_the_loop(seed):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(800, generator=rng, dtype=torch.float64) * 3
    targets = torch.rand(800, generator=rng, dtype=torch.float64) * (logits > 2.0 * (seed - 2))
    loss, gradient = evaluate(rank_sort_loss, logits.tolist(), targets.tolist(), 0.5)
    expected = oracle.rank_sort(logits.tolist(), targets.tolist(), 0.5)
    assert_equal(loss.loss, expected.loss)
    assert relative_error(gradient, expected.gradient) < 1e-9


def test_ranking_weights_equal_the_loop():
    logits, targets = [0.5, 2.0, -1.0, 1.0, 0.0], [0.9, 0.0, 0.3, 0.6, 0.0]
    for delta_loc, own in ((0.0, 1.0), (1.5, 0.5)):
        weights = ranking_weights(
            torch.tensor(logits, dtype=torch.float64), torch.tensor(targets), 0.5, delta_loc
        )
        ranks = {i: sum(oracle.step(x - logits[i], 0.5) for x in logits) for i in (0, 2, 3)}
        expected = [
            sum(
                (own if k == i else oracle.step(logits[i] - logits[k], delta_loc)) / ranks[k] / 3
                for k in ranks
            )
            for i in ranks
        ]
        assert_equal(weights, expected)


# --- invariants ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(-50, 50), st.sampled_from([-1.0, 0.0]) | st.floats(0.01, 1)),
        min_size=1,
        max_size=60,
    ),
    deltas,
)
def test_positives_and_negatives_get_opposite_net_gradients(batch, delta):
    # Theorem 2; the sums of magnitudes (Eq. 6.37) differ for Rank & Sort, see thesis_b.yaml.
    logits, targets = zip(*batch, strict=True)
    targets = torch.tensor(targets, dtype=torch.float64)
    errors = torch.linspace(0, 1, int((targets > 0).sum()), dtype=torch.float64)
    for function, args in ((rank_sort_loss, ()), (ap_loss, ()), (alrp_loss, (errors,))):
        _, gradient = evaluate(function, logits, targets.tolist(), *args, delta=delta)
        net = gradient[targets > 0].sum(), gradient[targets == 0].sum()
        assert net[0] <= 1e-12
        assert abs(net[0] + net[1]) <= 1e-9 * max(1, abs(net[0]))
        assert (gradient[targets == -1] == 0).all()


@settings(deadline=None, max_examples=50)
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(batch, random):
    shuffled = random.sample(batch, len(batch))
    logits, targets = zip(*batch, strict=True)
    shuffled_logits, shuffled_targets = zip(*shuffled, strict=True)
    for function in (rank_sort_loss, ap_loss):
        loss, gradient = evaluate(function, logits, targets)
        again, again_gradient = evaluate(function, shuffled_logits, shuffled_targets)
        assert_equal(
            again if isinstance(again, Tensor) else again.loss, getattr(loss, "loss", loss)
        )
        of_example = sorted(zip(logits, targets, gradient.tolist(), strict=True))
        again_of_example = sorted(
            zip(shuffled_logits, shuffled_targets, again_gradient.tolist(), strict=True)
        )
        assert_equal([g for *_, g in again_of_example], [g for *_, g in of_example])


def test_a_descent_step_ranks_and_sorts():
    rng = torch.Generator().manual_seed(0)
    targets = torch.cat([torch.rand(10, generator=rng) * 0.5 + 0.5, torch.zeros(90)])
    logits = torch.randn(100, generator=rng, requires_grad=True)
    for _ in range(200):
        loss = rank_sort_loss(logits, targets).loss
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient * 10).detach().requires_grad_()
    assert logits[:10].min() > logits[10:].max()
    assert (logits[:10].argsort() == targets[:10].argsort()).float().mean() > 0.7
    assert loss < 0.05


@pytest.mark.parametrize(("target", "last_ratio"), [("own", 1.0), ("zero", 0.0)])
def test_with_target_zero_a_descent_never_ends(target, last_ratio):
    """Thesis L.3: like the right target until positives are ranked well; then they go on rising."""
    targets = torch.cat([torch.ones(4), torch.zeros(16)])
    logits = torch.linspace(-1, 1, 20).flip(0).roll(8).requires_grad_()
    errors, positives = torch.full((4,), 0.5), logits.detach()[:4].clone()
    ratios, gains = [], []
    for _ in range(400):
        loss = alrp_loss(logits, targets, errors, target=target).classification
        (gradient,) = torch.autograd.grad(loss, logits)
        pushed_up, pushed_down = -gradient[:4].sum(), gradient[4:].sum()
        ratios.append(float(pushed_down / pushed_up) if pushed_up > 0 else 1.0)
        with torch.no_grad():
            logits -= gradient
        gains.append(float((logits.detach()[:4] - positives).min()))
    assert ratios[0] == pytest.approx(1)
    assert ratios[-1] == pytest.approx(last_ratio)
    assert (gains[-1] - gains[-101] > 1) == (target == "zero")


def test_the_loss_scales_its_gradient_and_its_parts_are_detached():
    logits = torch.randn(20, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.tensor([0.5, 0.9] + [0.0] * 18)
    first = torch.autograd.grad(rank_sort_loss(logits, targets).loss, logits)[0]
    loss = rank_sort_loss(logits, targets)
    torch.testing.assert_close(torch.autograd.grad(3 * loss.loss, logits)[0], 3 * first)
    assert not loss.ranking.requires_grad
    assert not loss.sorting.requires_grad
    torch.testing.assert_close(loss.loss, loss.ranking + loss.sorting)


# --- one core for new losses -----------------------------------------------------------------


def test_a_new_loss_needs_errors_and_a_pmf_only():
    class HarderNegatives:
        """p(j|i) proportional to the square of H: hard negatives get more than their share."""

        def __init__(self, logits: Tensor, ranks: Ranks) -> None:
            self.eps = 0.0
            x = logits.detach().double() - ranks.scores[:, None]
            self.shares = (x / (2 * ranks.delta) + 0.5).clamp(0, 1).square() * ranks.negative
            self.mass = self.shares.sum(1)

        def spread(self, weights: Tensor, gradient: Gradient) -> None:
            gradient.examples.add_(weights @ self.shares)

    logits = torch.tensor([1.0, 2.0, 1.2, -3.0], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0.8, 0.0, 0.0, 0.0])
    ranks = Ranks(logits, targets, delta=1.0)
    error = ranks.false_positives.log1p()  # H is 1 and 0.6: ln 2.6
    loss = identity_update(ranks, PrimaryTerms(error, HarderNegatives(logits, ranks)))
    (gradient,) = torch.autograd.grad(loss, logits)
    shared = torch.tensor([1, 0.36]) / 1.36 * torch.tensor(2.6).log()
    expected = torch.tensor([-shared.sum(), shared[0], shared[1], 0])
    torch.testing.assert_close(gradient.float(), expected)


def test_rank_sort_is_its_two_terms():
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(50, generator=rng, dtype=torch.float64).requires_grad_()
    targets = torch.where(torch.rand(50, generator=rng) < 0.3, torch.rand(50, generator=rng), 0)
    ranks = Ranks(logits, targets, 0.5)
    lower = LowerLabelsAbove(ranks)
    loss = rank_sort_loss(logits, targets)
    ranking = identity_update(
        ranks, PrimaryTerms(ranks.false_positives / ranks.rank, NegativesAbove(ranks))
    )
    above = ranks.over_positives(1 - ranks.labels)
    sorting_error = above / ranks.positive_rank - (above - lower.sum(1 - ranks.labels)) / (
        ranks.positive_rank - lower.mass
    )
    sorting = identity_update(ranks, PrimaryTerms(sorting_error, lower))
    torch.testing.assert_close(ranking.detach(), loss.ranking)
    torch.testing.assert_close(sorting.detach(), loss.sorting)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, logits)[0] for value in (ranking + sorting, loss.loss))
    )


# --- nothing, and nonsense -------------------------------------------------------------------

NOTHING = {
    "no elements": [],
    "no positives": [0.0, 0.0, -1.0],
    "no negatives": [1.0, -1.0, 1.0],
    "all ignored": [-1.0, -1.0],
}


@DTYPES
@pytest.mark.parametrize("targets", NOTHING.values(), ids=NOTHING)
def test_nothing_to_rank_is_zero_with_a_gradient(targets, dtype):
    logits = torch.arange(len(targets), dtype=dtype).requires_grad_()
    targets = torch.tensor(targets, dtype=dtype)
    errors = torch.zeros(int((targets > 0).sum()), dtype=dtype, requires_grad=True)
    losses = (
        rank_sort_loss(logits, targets),
        ap_loss(logits, targets),
        alrp_loss(logits, targets, errors),
    )
    for result in losses:
        loss = result if isinstance(result, Tensor) else result.loss
        assert loss == 0
        assert loss.dtype == dtype
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient == 0).all()
        assert gradient.shape == logits.shape


def test_one_positive_shares_its_error_by_h():
    # H = 0.5, 1, 0: N_FP = 1.5, rank = 0.5 + 1.5
    logits = torch.tensor([0.0, 0.0, 2.0, -2.0], requires_grad=True)
    loss = rank_sort_loss(logits, torch.tensor([0.7, 0.0, 0.0, 0.0]), delta=1.0)
    assert loss.loss.item() == loss.ranking.item() == 0.75
    (gradient,) = torch.autograd.grad(loss.loss, logits)
    torch.testing.assert_close(gradient, torch.tensor([-0.75, 0.25, 0.5, 0.0]))


def test_positives_alone_are_sorted_by_their_labels():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(60, generator=rng, dtype=torch.float64)
    targets = torch.rand(60, generator=rng, dtype=torch.float64) * 0.9 + 0.1
    loss, gradient = evaluate(rank_sort_loss, logits.tolist(), targets.tolist())
    expected = oracle.rank_sort(logits.tolist(), targets.tolist(), 0.5)
    assert_equal(torch.stack(loss[1:]), expected.parts)
    assert loss.ranking == 0
    assert loss.sorting > 0.1
    assert_equal(gradient, expected.gradient)


def test_100_000_positives_have_the_ranks_of_the_pairs():
    rng = torch.Generator().manual_seed(0)
    targets = torch.rand(150_000, generator=rng) * (torch.arange(150_000) % 3 > 0)
    logits = (torch.randn(150_000, generator=rng) + targets).requires_grad_()
    ranks = Ranks(logits, targets, 0.5)
    lower = LowerLabelsAbove(ranks)
    scores, labels = logits.detach().double(), targets.double()
    assert len(ranks.valid) == 100_000
    for i in (0, 17, 50_000, 99_999):
        above = (scores - ranks.scores[i] + 0.5).clamp(0, 1)
        false_positives = above[targets == 0].sum()
        lower_above = above[(targets > 0) & (labels < ranks.labels[i])].sum()
        torch.testing.assert_close(ranks.false_positives[i], false_positives)
        torch.testing.assert_close(ranks.positive_rank[i], above[targets > 0].sum())
        torch.testing.assert_close(lower.mass[i], lower_above)
    loss = rank_sort_loss(logits, targets)
    (gradient,) = torch.autograd.grad(loss.loss, logits)
    net = gradient.double()[targets > 0].sum(), gradient.double()[targets == 0].sum()
    torch.testing.assert_close(-net[0], net[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(net[1], loss.ranking.double(), rtol=1e-6, atol=0)


def test_100_000_positives_of_ap_and_alrp_pull_as_much_as_the_negatives():
    """Theorem 2; the sum is the loss of AP, and what aLRP's target leaves of its error."""
    rng = torch.Generator().manual_seed(0)
    targets = (torch.arange(150_000) % 3 > 0).float()
    logits = (torch.randn(150_000, generator=rng) + targets).requires_grad_()
    errors = torch.rand(100_000, generator=rng)
    ranks = Ranks(logits, targets, 1.0, count_self="one")
    above = ranks.over_other_positives(errors.double())
    of_alrp = ranks.mean((ranks.false_positives + above) / ranks.rank)
    ap = ap_loss(logits, targets)
    for loss, pulled in ((ap, ap), (alrp_loss(logits, targets, errors).classification, of_alrp)):
        (gradient,) = torch.autograd.grad(loss, logits)
        net = gradient.double()[targets > 0].sum(), gradient.double()[targets == 0].sum()
        torch.testing.assert_close(-net[0], net[1], rtol=1e-6, atol=0)
        torch.testing.assert_close(net[1], pulled.detach().double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1], ids=["positive", "negative"])
@pytest.mark.parametrize("delta", [0.0, 0.5])
@pytest.mark.parametrize("size", [10, 5000])
def test_an_unchecked_logit_that_is_not_finite_does_not_go_unseen(odd, place, delta, size):
    logits, targets = torch.zeros(size), torch.zeros(size)
    targets[0] = targets[2] = 0.5
    logits[place] = odd
    logits.requires_grad_()
    errors = torch.tensor([0.3, 0.4])
    for loss in (
        rank_sort_loss(logits, targets, delta, check=False).loss,
        rank_sort_loss(logits, targets, delta, max_positives=2, check=False).loss,
        ap_loss(logits, targets, delta, check=False),
        alrp_loss(logits, targets, errors, delta, check=False).loss,
    ):
        assert loss.isnan()
        assert torch.autograd.grad(loss, logits)[0].isnan().any()


def test_a_positive_of_label_zero_is_a_negative():
    logits = torch.tensor([1.0, 0.0])
    assert rank_sort_loss(logits, torch.tensor([0.0, 0.5])).ranking > 0


@pytest.mark.parametrize(
    ("logits", "targets", "error", "message"),
    [
        ([1.0, float("nan")], [1.0, 0.0], ValueError, "logits must be finite"),
        ([1.0, float("inf")], [1.0, 0.0], ValueError, "logits must be finite"),
        ([1.0, 2.0], [1.0, 0.0, 0.0], ValueError, r"got \[2\] and \[3\]"),
        ([[1.0, 2.0]], [[1.0, 0.0]], ValueError, r"got \[1, 2\]"),
        ([1.0, 2.0], [1.5, 0.0], ValueError, "targets must be in"),
        ([1.0, 2.0], [-0.5, 0.0], ValueError, "targets must be in"),
        ([1.0, 2.0], [float("nan"), 0.0], ValueError, "targets must be in"),
        ([1, 2], [1.0, 0.0], TypeError, "logits must be floating point"),
        ([1.0, 2.0], [1j, 0], TypeError, "targets must be real"),
    ],
)
def test_bad_input_is_refused(logits, targets, error, message):
    logits, targets = torch.tensor(logits), torch.tensor(targets)
    for function, args in (
        (rank_sort_loss, ()),
        (ap_loss, ()),
        (alrp_loss, (torch.zeros(1),)),
        (ranking_weights, ()),
    ):
        with pytest.raises(error, match=message):
            function(logits, targets, *args)


def test_bad_options_are_refused():
    logits, targets = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    with pytest.raises(ValueError, match="delta must be >= 0"):
        rank_sort_loss(logits, targets, delta=-0.5)
    with pytest.raises(ValueError, match="count_self"):
        ap_loss(logits, targets, count_self="half")
    with pytest.raises(ValueError, match="at most, got 1"):
        rank_sort_loss(logits, targets, max_positives=0)
    with pytest.raises(ValueError, match=r"localisation_errors must be \[1\]"):
        alrp_loss(logits, targets, torch.zeros(2))
    with pytest.raises(ValueError, match=r"localisation_errors must be \[1\]"):
        alrp_loss(logits, targets, torch.zeros(0))
    with pytest.raises(ValueError, match=r"localisation_errors must be \[P\]"):
        alrp_loss(logits, targets, torch.zeros(1, 1))
    with pytest.raises(ValueError, match="finite"):
        alrp_loss(logits, targets, torch.tensor([float("nan")]))
    with pytest.raises(TypeError, match="localisation_errors"):
        alrp_loss(logits, targets, torch.zeros(1, dtype=torch.int64))


# --- precision, shapes known beforehand, memory ----------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
def test_half_precision_logits_are_ranked_exactly_and_give_a_float32_loss(dtype):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(200, generator=rng).to(dtype).requires_grad_()
    targets = (torch.rand(200, generator=rng) < 0.2).float()
    exact = logits.detach().double().requires_grad_()
    errors = torch.rand(int(targets.sum()), generator=rng)
    for function, *args in ((rank_sort_loss,), (ap_loss,), (alrp_loss, errors)):
        losses = [function(x, targets, *args) for x in (logits, exact)]
        got, expected = (loss if isinstance(loss, Tensor) else loss.loss for loss in losses)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=0)
        (gradient,) = torch.autograd.grad(got, logits)
        (exact_gradient,) = torch.autograd.grad(expected, exact)
        torch.testing.assert_close(gradient, exact_gradient.to(dtype))


def test_labels_may_be_integers_or_booleans():
    logits = torch.tensor([0.3, 1.0, -1.0])
    expected = ap_loss(logits, torch.tensor([1.0, 0.0, 0.0]))
    assert ap_loss(logits, torch.tensor([1, 0, 0], dtype=torch.int8)) == expected
    assert ap_loss(logits, torch.tensor([True, False, False])) == expected


@pytest.mark.parametrize("function", [rank_sort_loss, ap_loss])
@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_bound_on_the_positives_changes_nothing(function, room):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(300, generator=rng, dtype=torch.float64).requires_grad_()
    targets = torch.rand(300, generator=rng) * (torch.rand(300, generator=rng) < 0.2)
    bound = int((targets > 0).sum()) + room
    losses = [
        function(logits, targets, max_positives=bound, check=False),
        function(logits, targets),
    ]
    losses = [loss if isinstance(loss, Tensor) else loss.loss for loss in losses]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in losses))


@pytest.mark.parametrize("shift", [-3.0, 3.0], ids=["most negatives matter", "few do"])
def test_negatives_that_no_positive_meets_change_nothing(shift):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(500, generator=rng, dtype=torch.float64)
    targets = torch.rand(500, generator=rng) * (torch.arange(500) % 10 == 0)
    targets[5::10] = -1
    logits += shift * (targets > 0)
    assert (Ranks(logits, targets, 0.5).negative_idxs is None) == (shift < 0)
    for delta in (0.0, 0.5):
        loss, gradient = evaluate(rank_sort_loss, logits.tolist(), targets.tolist(), delta)
        bounded = evaluate(
            rank_sort_loss, logits.tolist(), targets.tolist(), delta, max_positives=60, check=False
        )
        expected = oracle.rank_sort(logits.tolist(), targets.tolist(), delta)
        for got, of_logits in ((loss, gradient), bounded):
            assert_equal(torch.stack(got[1:]), expected.parts)
            assert_equal(of_logits, expected.gradient)


def losses_without_checks(logits: Tensor, targets: Tensor, errors: Tensor) -> tuple[Tensor, ...]:
    bound = len(errors)
    return (
        rank_sort_loss(logits, targets, max_positives=bound, check=False).loss,
        ap_loss(logits, targets, max_positives=bound, check=False),
        alrp_loss(logits, targets, errors, check=False).loss,
    )


def test_nothing_waits_for_the_device_without_checks():
    # A meta tensor has no values: reading one, as a synchronisation does, raises.
    logits = torch.zeros(100, device="meta", requires_grad=True)
    targets, errors = torch.zeros(100, device="meta"), torch.zeros(7, device="meta")
    torch.stack(losses_without_checks(logits, targets, errors)).sum().backward()
    with pytest.raises(RuntimeError):
        rank_sort_loss(logits, targets)


def test_compiles_into_one_graph():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(100, generator=rng, requires_grad=True)
    targets = torch.zeros(100)
    targets[::9] = torch.rand(12, generator=rng)
    errors = torch.rand(12, generator=rng)
    compiled = torch.compile(losses_without_checks, backend="aot_eager", fullgraph=True)
    got, expected = (f(logits, targets, errors) for f in (compiled, losses_without_checks))
    torch.testing.assert_close(got, expected)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(
            *(torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (one, other))
        )
