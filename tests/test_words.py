"""Names of files and code, as a reader sees them."""

import pytest
from rebalance.words import in_words, indexed


@pytest.mark.parametrize(("name", "words"), [
    ("AP50", "AP<sub>50</sub>"),
    ("mask_oLRP_Loc", "mask oLRP<sub>Loc</sub>"),
    ("params_k", "params (thousands)"),
    ("model_size_mb", "model size (MB)"),
    ("n_hyperparameters", "number of hyperparameters"),
    ("alrp_loss of C & R1", "aLRP loss of C &amp; R1"),
    ("PQ_error of X, Y", "PQ error of X, Y"),
    ("1 - PQ over 2 N_TP + N_FP", "1 - PQ over 2 N<sub>TP</sub> + N<sub>FP</sub>"),
    ("share_above_0.9", "share above 0.9"),
    ("iou of green", "IoU of green"),
    ("w_r", "w<sub>r</sub>"),
    ("initial_w_r", "initial w<sub>r</sub>"),
    ("aLRP_IoU", "aLRP IoU"),
    ("x_of_max", "x of max"),
])  # fmt: skip
def test_names_in_words(name, words):
    assert in_words(name) == words


def test_of_a_formula_only_indices_change():
    assert indexed("T*(beta_hat-beta) < LRP_FP") == "T*(beta_hat-beta) &lt; LRP<sub>FP</sub>"
