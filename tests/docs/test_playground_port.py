"""The losses of the playground equal the library's, in value and gradient."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from rebalance.boxes import ggiou, paired_iou
from rebalance.config.options.losses import BoxLoss
from rebalance.detectors.coders.deltas import DeltaCoder
from rebalance.losses import alrp_loss, ap_loss, make_loss, rank_sort_loss
from rebalance.metrics import precision_recall, uninterpolated_average_precision

PORT = "docs/assets/playground/losses.js"
OTHER_INPUTS = {"dynamic_smooth_l1", "kl", "carl"}
"""They take more than two boxes: a beta of the training, predicted variances, scores."""

CODE = """
const port = require(process.argv[1]);
const { boxes, rankings } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const measures = { ...port.boxLosses, iou_itself: port.iou, ggiou_itself: port.ggiou };
const of = (names, inputs) => Object.fromEntries(
  Object.entries(names).map(([name, f]) => [name, inputs.map((one) => f(...one))]));
console.log(JSON.stringify({
  boxes: of(measures, boxes), rankings: of(port.rankingLosses, rankings),
  average: rankings.map((one) => port.averagePrecision(...one)),
}));
"""


@pytest.fixture(scope="module")
def boxes():
    """[300, 2, 4]: far, near, touching, equal, nested; a third of whole numbers, for ties."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 100, (300, 4))
    target[:, 2:] = target[:, :2] + rng.uniform(5, 80, (300, 2))
    pred = target + rng.normal(0, 1, (300, 4)) * rng.choice([0, 2, 12], (300, 1))
    pred[:60] = rng.uniform(0, 200, (60, 4))
    pred[:60, 2:] = pred[:60, :2] + rng.uniform(5, 80, (60, 2))
    pairs = np.stack([pred, target], axis=1)
    pairs[200:] = pairs[200:].round()
    pairs[-5:, 0] = pairs[-5:, 1] + (pairs[-5:, 1, 2:3] - pairs[-5:, 1, :1]) * [1, 0, 1, 0]  # touch
    pairs[..., 2:] = np.maximum(pairs[..., 2:], pairs[..., :2] + 2)
    return pairs


@pytest.fixture(scope="module")
def rankings():
    """Logits and targets: ties, no positives, no negatives, ignored ones."""
    rng = np.random.default_rng(1)
    found = []
    for n in range(100):
        size = int(rng.integers(1, 9))
        logits = rng.normal(0, 2, size)
        logits = logits.round() if n % 3 == 0 else logits
        targets = np.where(rng.random(size) < 0.5, rng.uniform(0.5, 1, size).round(1), 0)
        targets[rng.random(size) < 0.1] = -1
        found.append([logits.tolist(), targets.tolist()])
    return found


@pytest.fixture(scope="module")
def port(boxes, rankings, repository):
    """What the JavaScript says of all of them, in node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node; the browser tests look at the page itself")
    done = subprocess.run(
        [node, "-e", CODE, str(repository / PORT)],
        input=json.dumps({"boxes": boxes.tolist(), "rankings": rankings}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def of_boxes(name, pred, target):
    if name == "iou_itself":
        return paired_iou(pred, target)
    if name == "ggiou_itself":
        return ggiou(pred, target)
    loss = make_loss(name)
    coder = DeltaCoder()
    inputs = {
        "pred_boxes": pred,
        "target_boxes": target,
        "pred_deltas": coder.encode(pred, target),
        "target_deltas": torch.zeros_like(target),
    }
    value = loss(*(inputs[one] for one in loss.inputs))
    return value.sum(-1) if value.ndim == 2 else value


def test_it_has_every_loss_of_two_boxes(port):
    assert (
        set(port["boxes"]) - {"iou_itself", "ggiou_itself"} == set(BoxLoss.parts()) - OTHER_INPUTS
    )


NAMES = [
    *(name for name in BoxLoss.parts() if name not in OTHER_INPUTS),
    "iou_itself",
    "ggiou_itself",
]


@pytest.mark.parametrize("name", NAMES)
def test_boxes(port, boxes, name):
    pred, target = torch.tensor(boxes).unbind(1)
    pred.requires_grad_()
    value = of_boxes(name, pred, target)
    (gradient,) = torch.autograd.grad(value.sum(), pred)
    ours = port["boxes"][name]
    exact = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(torch.tensor([one["value"] for one in ours]), value.float(), **exact)
    torch.testing.assert_close(
        torch.tensor([one["gradient"] for one in ours], dtype=torch.float64), gradient, **exact
    )


@pytest.mark.parametrize("name", ["ap", "alrp", "rank_sort"])
def test_rankings(port, rankings, name):
    for (logits, targets), ours in zip(rankings, port["rankings"][name], strict=True):
        scores = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        labels = torch.tensor(targets, dtype=torch.float64)
        if name == "ap":
            value, parts = ap_loss(scores, labels), {}
        elif name == "rank_sort":
            found = rank_sort_loss(scores, labels)
            value, parts = found.loss, {"ranking": found.ranking, "sorting": found.sorting}
        else:
            found = alrp_loss(scores, labels, (1 - labels[labels > 0]) / 0.5)
            value = found.loss
            parts = {
                "classification": found.classification,
                "localisation": found.localisation,
            }
        (gradient,) = torch.autograd.grad(value, scores)
        assert ours["value"] == pytest.approx(value.item(), abs=1e-6)
        assert ours["gradient"] == pytest.approx(gradient.tolist(), abs=1e-6)
        for part, expected in parts.items():
            assert ours[part] == pytest.approx(expected.item(), abs=1e-6), part


def test_average_precision(port, rankings):
    for (logits, targets), ours in zip(rankings, port["average"], strict=True):
        rows = [i for i in range(len(logits)) if targets[i] >= 0]
        order = sorted(rows, key=lambda i: -logits[i])
        hit = np.array([targets[i] > 0 for i in order], dtype=bool)
        if not hit.any():
            assert ours is None  # nan
            continue
        precision, recall = precision_recall(hit, ~hit, int(hit.sum()))
        assert ours == pytest.approx(uninterpolated_average_precision(precision, recall), abs=1e-6)
