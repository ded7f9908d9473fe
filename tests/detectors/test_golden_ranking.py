"""What the golden cases of ranking losses record beside single passes."""

import copy

import pytest
import torch
from rebalance.config.reading import merged
from rebalance.detectors import build_detector
from rebalance.weights.convert import import_weights

from detectors.test_golden import CASES, LOSSES, load, losses_of, names_of_losses, pytestmark

__all__ = ["pytestmark"]
BALANCED = [name for name in CASES if name.startswith("alrp_")]


def assert_terms(found, recorded, names):
    for ours, theirs in names.items():
        expected = torch.tensor(sum(recorded[term] for term in theirs))
        torch.testing.assert_close(
            found[ours].detach(), expected, rtol=LOSSES, atol=1e-6,
            msg=lambda m, name=ours: f"{name}: {m}",
        )  # fmt: skip


@pytest.mark.parametrize("name", BALANCED)
def test_the_balance_of_epochs_is_the_published_one(name):
    case, settings, detector = load(name)
    steps = case.meta["self_balance"]["steps"]
    assert len(steps) == 8
    objectives = [step.objective for step in detector.steps]
    for recorded in steps:
        names = names_of_losses(settings, recorded["losses"])
        found = losses_of(case, settings, detector, recorded["scene"])
        assert_terms(found, recorded["losses"], names)
        for objective, state in zip(objectives, recorded["heads"].values(), strict=True):
            epoch = objective.balance.epoch
            assert epoch.weight == pytest.approx(state["SB_weight"], rel=1e-4)
            assert epoch.iterations == state["counter"]


@pytest.mark.parametrize("name", BALANCED)
def test_an_iteration_without_objects_is_no_part_of_an_epoch(name):
    case, settings, detector = load(name)
    losses_of(case, settings, detector, "c")
    for step in detector.steps:
        assert step.objective.balance.epoch.iterations == 0
        assert step.objective.balance.epoch.weight == 50


@pytest.mark.parametrize("scene", ["a", "b"])
def test_alrp_in_the_code_of_rank_and_sort(scene):
    """It divides the errors that enter the gradient of the classes, not the localisation loss."""
    case, settings, _ = load("ranksort_faster_rcnn")
    coupled = {
        "name": "coupled_ranking",
        "box": {"name": "giou"},
        "boxes": "unit",
        "tau": 0.7,
        "normalise": "class",
        "balance": {"name": "epoch", "initial": 50.0},
    }
    change = {
        "rpn": {"objective": coupled},
        "box": {"objective": {**coupled, "boxes": "image", "tau": 0.5}},
    }
    settings = merged(copy.deepcopy(settings), {"detector": change})
    detector = build_detector(settings, case.meta["num_classes"])
    detector.load_state_dict(import_weights(case.state(), detector, "mmdetection"))
    recorded = case.meta["train_variants"]["rank_loss_type_aLRP"]["losses"][f"train_{scene}"]
    names = {
        "rpn_class_loss": ["loss_rpn_cls"],
        "rpn_box_loss": ["loss_rpn_bbox"],
        "class_loss": ["loss_cls"],
        "box_loss": ["loss_bbox"],
    }
    assert_terms(losses_of(case, settings, detector, scene), recorded, names)
