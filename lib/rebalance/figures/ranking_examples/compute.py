"""Worked examples of ranking losses (thesis Figures 6.1, 7.1, 7.2, 8.1, M.1, M.2).

The terms of single examples are written out here from their definitions, with the unit step, and
must add up to what ``rebalance.losses`` computes in one go.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rebalance.figures.checks import Check, named_numbers, printed_claim, printed_number
from rebalance.losses.ranking import alrp_loss, ap_loss, rank_sort_loss
from rebalance.metrics import area_average_precision, precision_recall

Numbers = NDArray[np.float64]

# --- Figure 7.1: one classifier, three localisers -----------------------------------------------

SCORES = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
POSITIVES = np.array([0, 2, 5, 9])
LOCALISERS = {
    "R1": np.array([0.95, 0.80, 0.65, 0.50]),
    "R2": np.array([0.80, 0.65, 0.50, 0.95]),
    "R3": np.array([0.50, 0.65, 0.80, 0.95]),
}
"""IoUs of the positives a1, a3, a6 and a10."""
NUM_GROUND_TRUTHS = 5
"""Not printed: with one object that no anchor finds, all printed APs come out."""
TAU = 0.5


def localiser_aps(name: str, thresholds: Sequence[float] = (0.5, 0.65, 0.8, 0.95)) -> Numbers:
    """AP (area under the interpolated curve) of the ten anchors at each IoU threshold."""
    ious = np.zeros(len(SCORES))
    ious[POSITIVES] = LOCALISERS[name]
    return np.array([
        area_average_precision(
            *precision_recall(ious >= threshold - 1e-9, ious < threshold - 1e-9, NUM_GROUND_TRUTHS)
        )
        for threshold in thresholds
    ])  # fmt: skip


def localiser_losses(name: str) -> dict[str, float]:
    """Cross entropy, AP loss, IoU loss and aLRP loss of the classifier with a localiser."""
    scores = torch.tensor(SCORES)
    targets = torch.zeros(len(SCORES), dtype=torch.float64)
    targets[POSITIVES] = 1.0
    ious = torch.tensor(LOCALISERS[name])
    entropy = torch.nn.functional.binary_cross_entropy(scores, targets)
    return {
        "cross_entropy": float(entropy),
        "ap_loss": float(ap_loss(scores, targets, delta=0.0, interpolated=False)),
        "iou_loss": round(float((1 - ious).mean()), 9),  # the order of the sum must not show
        "alrp_loss": float(alrp_loss(scores, targets, (1 - ious) / (1 - TAU), delta=0.0).loss),
    }


def performance_table() -> pd.DataFrame:
    """output, AP50, AP65, AP80, AP95, AP."""
    lines = []
    for name in LOCALISERS:
        aps = localiser_aps(name)
        columns = dict(zip(("AP50", "AP65", "AP80", "AP95"), aps, strict=True))
        lines.append({"output": f"C & {name}"} | columns | {"AP": aps.mean()})
    return pd.DataFrame(lines)


def loss_table() -> pd.DataFrame:
    """output, cross_entropy, ap_loss, iou_loss, alrp_loss."""
    return pd.DataFrame([{"output": f"C & {name}"} | localiser_losses(name) for name in LOCALISERS])


def localiser_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 7.1: fifteen AP cells and the columns of five losses.

    The L1 column needs box coordinates, which the thesis leaves out: it is not measured.
    """
    found = []
    for table, key in ((performance_table(), "performance"), (loss_table(), "losses")):
        ours = table.set_index("output")
        found += [
            printed_number(f"{column} of {row['output']}", float(ours.loc[row["output"], column]),
                           row[column], 2)
            for row in numbers[key]
            for column in ours.columns
        ]  # fmt: skip
    found += [
        printed_number(f"l1_loss of {row['output']}", float("nan"), row["l1_loss"],
                       note="needs the coordinates of the boxes, which are not printed")
        for row in numbers["losses"]
    ]  # fmt: skip
    aps = performance_table()["AP"]
    return [
        *found,
        printed_claim(
            "AP falls by 17 points from R1 to R3 while only aLRP rises",
            round(float(aps[0] - aps[2]), 2) == 0.17
            and bool(
                loss_table().drop(columns=["output", "alrp_loss"]).round(9).nunique().eq(1).all()
            )
            and loss_table()["alrp_loss"].is_monotonic_increasing,
            f"{100 * (aps[0] - aps[2]):.1f} points",
        ),
    ]


# --- Figure 7.2: how aLRP hands out gradients ---------------------------------------------------

ALRP_ORDER = ("p1", "n1", "p2", "n2", "n3", "p3", "n4")
ALRP_ERRORS = {"p1": 0.4, "p2": 0.7, "p3": 0.2}
"""Examples in order of falling score, and E_loc of the positives; ours."""


class AlrpShares(NamedTuple):
    """Who causes which gradient of the aLRP loss; rows are the positives i.

    Attributes:
        negatives: [P] part of a positive's score gradient due to negatives scored higher.
        localisation: [P, P] part due to E_loc of positive k, scored higher.
        sent: [P, n] what it sends to each example, in ALRP_ORDER.
        weights: [P, P] weight of E_loc(i) in the loss of positive k.
    """

    negatives: Numbers
    localisation: Numbers
    sent: Numbers
    weights: Numbers


def alrp_shares(
    order: Sequence[str] = ALRP_ORDER, errors: Mapping[str, float] = ALRP_ERRORS
) -> AlrpShares:
    """Thesis Eq. 7.7 and the weights of Eq. K.3, written out with the unit step.

    Args:
        order: examples by falling score; the names of positives begin with p.
        errors: E_loc of each positive.
    """
    positives = [place for place, name in enumerate(order) if name.startswith("p")]
    num = len(positives)
    negatives, localisation = np.zeros(num), np.zeros((num, num))
    sent, weights = np.zeros((num, len(order))), np.zeros((num, num))
    for i, place in enumerate(positives):
        above = [j for j in range(place) if j not in positives]
        rank = place + 1
        weights[: i + 1, i] = 1 / rank / num  # whoever scores at least as high as i is in l_LRP(i)
        if not above:
            continue  # nobody to hand the error to
        negatives[i] = len(above) / rank / num
        for k in range(i):
            localisation[i, k] = errors[order[positives[k]]] / rank / num
        sent[i, above] = (negatives[i] + localisation[i].sum()) / len(above)
    return AlrpShares(negatives, localisation, sent, weights)


def alrp_gradients(
    order: Sequence[str] = ALRP_ORDER, errors: Mapping[str, float] = ALRP_ERRORS
) -> tuple[Numbers, Numbers]:
    """The library's aLRP loss, by autograd: [n] by the scores, [P] by the localisation errors."""
    scores = torch.arange(len(order), 0, -1, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([float(name.startswith("p")) for name in order], dtype=torch.float64)
    located = torch.tensor(
        [errors[name] for name in order if name.startswith("p")],
        dtype=torch.float64, requires_grad=True,
    )  # fmt: skip
    loss = alrp_loss(scores, targets, located, delta=0.0).loss
    by_score, by_error = torch.autograd.grad(loss, [scores, located])
    return by_score.numpy(), by_error.numpy()


def alrp_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 7.2: the formulas are what the library computes, and say what the caption says."""
    shares = alrp_shares()
    by_score, by_error = alrp_gradients()
    names = np.array(ALRP_ORDER)
    positive = np.char.startswith(names, "p")
    causes = shares.negatives + shares.localisation.sum(axis=1)
    weights = shares.weights.sum(axis=1)
    worse, _ = alrp_gradients(errors=ALRP_ERRORS | {"p1": 0.9})
    longer = (*ALRP_ORDER[:1], "n0", *ALRP_ORDER[1:])
    crowded, _ = alrp_gradients(longer)
    last = ALRP_ORDER.index("p3")
    return [
        printed_claim("(a) the score gradients of the positives are those of Eq. 7.7",
                      np.allclose(-by_score[positive], causes),
                      _named(names[positive], by_score[positive])),
        printed_claim("(a) a larger E_loc of p1 pushes p2 and p3 up harder",
                      bool((-worse[positive][1:] > -by_score[positive][1:]).all()),
                      f"p2 from {-by_score[2]:.4f} to {-worse[2]:.4f} with E_loc(p1) at 0.9"),
        printed_claim("(a) so does one more negative above them",
                      bool((-crowded[[longer.index("p2"), longer.index("p3")]]
                            > -by_score[[2, last]]).all()),
                      f"p2 from {-by_score[2]:.4f} to {-crowded[longer.index('p2')]:.4f}"),
        printed_claim("(b) a negative sums up the equal shares of the positives below it",
                      np.allclose(by_score[~positive], shares.sent.sum(axis=0)[~positive]),
                      _named(names[~positive], by_score[~positive])),
        printed_claim("(b) positives and negatives get equal amounts (Theorem 2)",
                      math.isclose(-by_score[positive].sum(), by_score[~positive].sum()),
                      f"{by_score[positive].sum():.4f} and {by_score[~positive].sum():.4f}"),
        printed_claim("(c) the weights of the box errors are those of the formula",
                      np.allclose(by_error, weights),
                      _named(names[positive], by_error)),
        printed_claim("(c) the higher the score, the larger the weight",
                      bool((np.diff(by_error) < 0).all()),
                      f"p1 weighs {by_error[0] / by_error[-1]:.1f} times as much as p3"),
        printed_claim("(c) p3, the last, counts once, divided by the largest rank",
                      math.isclose(by_error[-1], 1 / (last + 1) / len(by_error)),
                      f"{by_error[-1]:.4f} = 1 / ({last + 1} · {len(by_error)})"),
    ]  # fmt: skip


def _named(names: NDArray[np.str_], values: Numbers) -> str:
    return named_numbers(dict(zip(names.tolist(), values.tolist(), strict=True)), 4)


# --- Figures 8.1, M.1 and M.2: Rank & Sort ------------------------------------------------------

LOGITS = np.array([3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0])
LABELS = np.array([0.9, 0.4, 0.0, 0.0, 0.8, 0.0, 0.1, 0.0])


class Terms(NamedTuple):
    """Errors of one positive, and how it hands its loss to others.

    Attributes:
        ranking, sorting: current errors.
        target_ranking, target_sorting: what they should be.
        primary: [n] L_ij, the loss that example j owes to this positive.
    """

    ranking: float
    sorting: float
    target_ranking: float
    target_sorting: float
    primary: Numbers

    @property
    def ranking_loss(self) -> float:
        """Current minus target ranking error."""
        return self.ranking - self.target_ranking

    @property
    def sorting_loss(self) -> float:
        """Current minus target sorting error."""
        return self.sorting - self.target_sorting


def rank_sort_terms(logits: Numbers = LOGITS, labels: Numbers = LABELS) -> dict[int, Terms]:
    """Thesis Eq. 8.2 to 8.8 for each positive by its index, with the unit step."""
    positives = [j for j in range(len(labels)) if labels[j] > 0]
    negatives = [j for j in range(len(labels)) if labels[j] == 0]
    terms = {}
    for i in positives:
        above_p = [j for j in positives if logits[j] >= logits[i]]
        above_n = [j for j in negatives if logits[j] >= logits[i]]
        at_least = [j for j in above_p if labels[j] >= labels[i]]
        lower = [j for j in above_p if labels[j] < labels[i]]
        ranking = len(above_n) / (len(above_n) + len(above_p))
        sorting = sum(1 - labels[j] for j in above_p) / len(above_p)
        target = sum(1 - labels[j] for j in at_least) / len(at_least)
        primary = np.zeros(len(labels))
        primary[above_n] += ranking / max(len(above_n), 1)
        primary[lower] += (sorting - target) / max(len(lower), 1)
        terms[i] = Terms(ranking, sorting, 0.0, target, primary)
    return terms


def ap_terms(logits: Numbers = LOGITS, labels: Numbers = LABELS) -> dict[int, Numbers]:
    """[n] primary terms of the AP loss for each positive: its precision error, shared equally."""
    return {
        i: np.where((labels == 0) & (logits >= logits[i]), 1.0, 0.0) / (logits >= logits[i]).sum()
        for i in range(len(labels))
        if labels[i] > 0
    }


def gradient(primary: Mapping[int, Numbers]) -> Numbers:
    """dL/ds_i = (sum_j L_ji - sum_j L_ij) / |P| (Eq. 6.24)."""
    matrix = np.stack(list(primary.values()))
    total = matrix.sum(axis=0)
    total[list(primary)] -= matrix.sum(axis=1)
    return total / len(primary)


def library_gradient(loss: str) -> Numbers:
    """Gradient by the logits of the library's AP or Rank & Sort loss with the unit step."""
    logits = torch.tensor(LOGITS, requires_grad=True)
    labels = torch.tensor(LABELS)
    if loss == "ap":
        value = ap_loss(logits, (labels > 0).double(), delta=0.0, interpolated=False)
    else:
        value = rank_sort_loss(logits, labels, delta=0.0, eps=0.0).loss
    (found,) = torch.autograd.grad(value, logits)
    return found.numpy()


def error_table() -> pd.DataFrame:
    """Figure M.1: one line per positive."""
    return pd.DataFrame([
        {
            "i": i, "logit": LOGITS[i], "label": LABELS[i],
            "current_ranking_error": term.ranking, "current_sorting_error": term.sorting,
            "target_ranking_error": term.target_ranking,
            "target_sorting_error": term.target_sorting,
            "ranking_loss": term.ranking_loss, "sorting_loss": term.sorting_loss,
            "total_loss": term.ranking_loss + term.sorting_loss,
        }
        for i, term in rank_sort_terms().items()
    ])  # fmt: skip


def rank_sort_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure M.1: every printed cell, and the total."""
    printed = numbers["printed"]
    ours = error_table().set_index("i")
    found = []
    for column, cells in printed.items():
        if column == "rs_loss":
            continue
        for i, value in cells.items():
            exact = float(ours.loc[int(i), column])
            found.append(printed_number(f"{column}, i = {i}", exact, value, 2))
    parts = rank_sort_loss(torch.tensor(LOGITS), torch.tensor(LABELS), delta=0.0)
    return [
        *found,
        printed_number("RS loss, library", float(parts.loss), printed["rs_loss"], 2),
        printed_number("RS loss, mean of the column", float(ours["total_loss"].mean()),
                       printed["rs_loss"], 2),
    ]  # fmt: skip


def primary_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure M.2: who pays whom, and that it adds up to the library's gradient."""
    terms = {i: term.primary for i, term in rank_sort_terms().items()}
    ours, theirs = gradient(terms), library_gradient("rank_sort")
    positive = LABELS > 0
    sums = [float(np.abs(ours[mask]).sum()) for mask in (positive, ~positive)]
    return [
        printed_claim("primary terms add up to the library's gradient", np.allclose(ours, theirs)),
        printed_claim("gradients of all examples add up to 0", abs(ours.sum()) < 1e-12),
        printed_claim(
            "i = 4 and i = 6 are promoted, i = 1 is demoted by a sorting error",
            ours[4] < 0 and ours[6] < 0 and ours[1] > 0,
            named_numbers({f"gradient of {i}:": float(ours[i]) for i in (4, 6, 1)}, 4),
        ),
        printed_claim("i = 0, the best positive, gets no gradient", ours[0] == 0),
        printed_claim(
            "magnitudes of positives and negatives are equal (Eq. 6.37)",
            math.isclose(*sums), f"{sums[0]:.4f} against {sums[1]:.4f}",
        ),
    ]  # fmt: skip


def update_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 6.1: three steps give the library's gradient; Algorithm 3 reverses its sign."""
    ours, theirs = gradient(ap_terms()), library_gradient("ap")
    positive = LABELS > 0
    sums = [float(np.abs(ours[mask]).sum()) for mask in (positive, ~positive)]
    return [
        printed_claim("primary terms of the AP loss add up to the library's gradient",
                      np.allclose(ours, theirs)),
        printed_claim("magnitudes of positives and negatives are equal (Eq. 6.37)",
                      math.isclose(*sums), f"{sums[0]:.4f} and {sums[1]:.4f}"),
        printed_claim(
            "the gradient that Algorithm 3 returns lowers the loss",
            bool((-ours[positive] <= 0).all()), "positives would be pushed down",
        ),
    ]  # fmt: skip


def target_ranking(sort: bool) -> list[list[int]]:
    """Figure 8.1: groups of examples from first to last; the order within a group is free."""
    positives = [i for i in range(len(LABELS)) if LABELS[i] > 0]
    negatives = [i for i in range(len(LABELS)) if LABELS[i] == 0]
    if not sort:
        return [positives, negatives]
    return [[i] for i in sorted(positives, key=lambda i: -LABELS[i])] + [negatives]


def target_checks(numbers: Mapping[str, Any]) -> list[Check]:
    """Figure 8.1: the Rank & Sort loss is 0 in its own target ranking, not in the plain one."""
    values = {}
    for name, order in (
        ("sorted", [i for group in target_ranking(True) for i in group]),
        ("unsorted", [i for group in target_ranking(False) for i in group]),
    ):
        logits = torch.zeros(len(LABELS), dtype=torch.float64)
        logits[order] = torch.arange(len(order), 0, -1, dtype=torch.float64)
        labels = torch.tensor(LABELS)
        values[name] = (
            float(rank_sort_loss(logits, labels, delta=0.0).loss),
            float(ap_loss(logits, (labels > 0).double(), delta=0.0)),
        )
    return [
        printed_claim("the sorted target ranking has no Rank & Sort loss",
                      abs(values["sorted"][0]) < 1e-9),
        printed_claim(
            "positives above negatives in any order have no AP loss, but a Rank & Sort loss",
            abs(values["unsorted"][1]) < 1e-9 and values["unsorted"][0] > 0.01,
            f"AP loss {values['unsorted'][1]:.2f}, Rank & Sort loss {values['unsorted'][0]:.3f}",
        ),
    ]  # fmt: skip
