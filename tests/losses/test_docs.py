"""docs/losses.md says what the code does: names, options, inputs, ranges, numbers, code."""

import inspect
import re

import numpy as np
import pytest
import torch
from rebalance.losses import INSTANCE_WEIGHTS, LOSSES, balancing, make_loss, rank_sort_loss


@pytest.fixture(scope="module")
def page(repository) -> str:
    return (repository / "docs" / "losses.md").read_text()


@pytest.fixture(scope="module")
def rows(page) -> dict[str, dict[str, str]]:
    """Name -> cells of its row in the tables of LOSSES."""
    header = ["name", "formula", "source", "options", "range", "takes"]
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == len(header) and cells[0].startswith("`"):
            name = cells[0].strip("`")
            assert name not in found, f"{name} has two rows"
            found[name] = dict(zip(header, cells, strict=True))
    return found


def test_every_loss_has_a_row(rows):
    assert set(rows) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_options_defaults_and_inputs(rows, name):
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    options = [
        f"{p.name}={p.default!r}"
        for p in parameters
        if p.default is not p.empty and p.name != "reduction"
    ]
    assert rows[name]["options"] == ", ".join(options)
    assert rows[name]["takes"] == ", ".join(make_loss(name).inputs)
    assert rows[name]["formula"]


def inputs_of(name: str, random_boxes) -> list[torch.Tensor]:
    """Random values for what a loss takes."""
    rng = torch.Generator().manual_seed(0)
    num = 400
    deltas, target = torch.randn(2, num, 4, generator=rng) * 2
    boxes, truth = random_boxes(num, seed=0), random_boxes(num, seed=1)
    boxes[: num // 4] = truth[: num // 4] + torch.randn(num // 4, 1, generator=rng)
    truth[-10:] += 500  # far away
    boxes[10:20] = truth[10:20]
    logits = torch.randn(num, generator=rng) * 4
    soft = torch.rand(num, generator=rng) * (torch.rand(num, generator=rng) < 0.3)
    softmax, ranking = name == "softmax_cross_entropy", name in ("ap", "rank_sort", "alrp")
    values = {
        "pred_deltas": deltas,
        "target_deltas": target,
        "pred_boxes": boxes,
        "target_boxes": truth,
        "class_scores": torch.rand(num, generator=rng),
        "smooth_l1_beta": torch.tensor(0.5),
        "log_variances": torch.randn(num, 4, generator=rng),
        "logits": logits.reshape(-1, 4) if softmax else logits,
        "labels": torch.arange(num // 4) % 4,
        "targets": soft if ranking else (soft > 0).float(),
        "quality_targets": soft,
        "localisation_errors": soft[soft > 0],
        "mask_logits": logits.reshape(4, 10, 10),
        "mask_targets": (soft > 0).float().reshape(4, 10, 10),
        "mask_ious": logits,
        "mask_iou_targets": soft,
        "box_shares": torch.rand(4, generator=rng) + 0.01,
        "semantic": logits.reshape(2, 2, 10, 10),
        "semantic_targets": (soft > 0).float().reshape(2, 2, 10, 10),
        "has_objects": torch.tensor([True, False]),
    }
    return [values[one] for one in make_loss(name).inputs]


@pytest.mark.parametrize("name", LOSSES)
def test_values_lie_in_the_printed_range(rows, random_boxes, name):
    value = make_loss(name)(*inputs_of(name, random_boxes))
    value = value[0] if isinstance(value, tuple) else value
    low, high = (float(end) for end in rows[name]["range"].strip("[]()").split(", "))
    assert low <= value.min() + 1e-6
    assert value.max() <= high + 1e-6
    if name != "kl":
        assert low == 0


def test_pictures_exist(page, repository):
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
    assert len(pictures) == 6
    for picture in pictures:
        assert (repository / "docs" / picture).stat().st_size > 10_000


def test_the_example_of_a_new_loss_runs(page):
    code = re.search(
        r"```python\n(import torch\nfrom rebalance.losses.ranking .*?)```", page, re.DOTALL
    )[1]
    names: dict = {}
    exec(code, names)
    logits = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    loss = names["log_rank_loss"](logits, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(loss, torch.tensor(3.0).log())
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.tensor([-1, 0.5, 0.5]) * torch.tensor(3.0).log())


def test_distances_of_the_bucketed_approximation(page, shared_dir):
    table = re.findall(
        r"^\| (\d+)[^|]*\| ([\d,]+) \| ([\d,]+) \| ([\d.]+) % \| (\S+) \|$", page, re.MULTILINE
    )
    assert len(table) == 7
    for case, positives, negatives, gradient, ranking in table:
        with np.load(shared_dir / "golden" / f"ranking_losses_{case}.npz") as file:
            golden = dict(file)
        logits = torch.tensor(golden["logits"]).requires_grad_()
        targets = torch.tensor(golden["rs_targets"])
        assert int((targets > 0).sum()) == int(positives.replace(",", ""))
        assert int((targets == 0).sum()) == int(negatives.replace(",", ""))
        loss = rank_sort_loss(logits, targets, float(golden["delta_rs"]))
        (exact,) = torch.autograd.grad(loss.loss, logits)
        distance = (torch.tensor(golden["off_brs_grad"]) - exact).norm() / exact.norm()
        assert f"{100 * distance:.1f}" == gradient
        difference = golden["off_brs_ranking_loss"] - loss.ranking.item()
        assert difference == pytest.approx(float(ranking.replace("−", "-")), abs=6e-5)
        assert golden["off_brs_sorting_loss"] == pytest.approx(loss.sorting.item(), abs=1e-6)


def test_balancing_is_named(page):
    for name in INSTANCE_WEIGHTS:
        assert f"`{name}`" in page
    for name in re.findall(r"^\| `(\w+)` \| [^|]*(?:\\\|[^|]*)* \| [^|]* \|$", page, re.MULTILINE):
        assert hasattr(balancing, name)
