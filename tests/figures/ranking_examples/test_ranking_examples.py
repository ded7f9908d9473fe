"""Gradients of our own examples: by hand, written out, and able to fail."""

import numpy as np
import pytest
from rebalance.figures.ranking_examples.compute import alrp_checks, alrp_gradients, alrp_shares


def test_gradients_of_the_alrp_example_by_hand():
    by_score, by_error = alrp_gradients()
    # p2: rank 3, one negative and E_loc 0.4 above; p3: rank 6, three negatives, 0.4 + 0.7 above
    p2, p3 = (1 + 0.4) / 3 / 3, (3 + 0.4 + 0.7) / 6 / 3
    n1, n2 = p2 + p3 / 3, p3 / 3
    assert by_score.tolist() == pytest.approx([0, n1, -p2, n2, n2, -p3, 0])
    assert by_error.tolist() == pytest.approx(
        [(1 + 1 / 3 + 1 / 6) / 3, (1 / 3 + 1 / 6) / 3, 1 / 6 / 3]
    )


@pytest.mark.parametrize("seed", range(12))
def test_shares_are_the_librarys_gradients_for_any_order(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(["p"] * 4 + ["n"] * 5)
    order = [f"{kind}{place}" for place, kind in enumerate(kinds)]
    errors = {name: float(rng.random()) for name in order if name.startswith("p")}
    shares = alrp_shares(order, errors)
    by_score, by_error = alrp_gradients(order, errors)
    positive = kinds == "p"
    np.testing.assert_allclose(
        -by_score[positive], shares.negatives + shares.localisation.sum(axis=1), atol=1e-12
    )
    np.testing.assert_allclose(by_score[~positive], shares.sent.sum(axis=0)[~positive], atol=1e-12)
    np.testing.assert_allclose(by_error, shares.weights.sum(axis=1), atol=1e-12)
    assert by_score.sum() == pytest.approx(0, abs=1e-12)


def test_formulas_that_forget_the_boxes_are_noticed(monkeypatch):
    def forgetful(*arguments, **options):
        shares = alrp_shares(*arguments, **options)
        return shares._replace(localisation=0 * shares.localisation)

    monkeypatch.setattr("rebalance.figures.ranking_examples.compute.alrp_shares", forgetful)
    failed = [claim.name for claim in alrp_checks({}) if not claim.holds]
    assert failed == ["(a) the score gradients of the positives are those of Eq. 7.7"]
