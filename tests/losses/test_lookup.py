"""LOSSES and make_loss: names and options of a configuration."""

import inspect

import pytest
import torch
from rebalance.errors import InputError
from rebalance.losses import LOSSES, make_loss, rank_sort_loss


def test_a_normaliser_takes_what_its_loss_takes():
    bound = {name: make_loss(name) for name in LOSSES}
    normalisers = {name: loss.normaliser for name, loss in bound.items() if loss.normaliser}
    assert normalisers.keys() == {"focal_eiou", "ghm_c", "mask_iou"}
    for name, normaliser in normalisers.items():
        parameters = inspect.signature(normaliser.func).parameters.values()
        assert tuple(p.name for p in parameters if p.default is p.empty) == bound[name].inputs
        assert normaliser.keywords == bound[name].function.keywords


GIVEN = {"reduction", "max_positives", "check"}
"""What callers pass themselves, so that a configuration must not."""


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_made_with_its_defaults_spelled_out(name):
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    defaults = {
        p.name: p.default for p in parameters
        if p.default is not p.empty and p.name not in GIVEN
    }  # fmt: skip
    bound = make_loss(name, **defaults)
    assert bound.name == name
    assert bound.inputs == tuple(p.name for p in parameters if p.default is p.empty)


def test_options_reach_the_loss():
    logits, targets = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.5, 0.0, 1.0])
    bound = make_loss("rank_sort", delta=0.1)
    assert bound(logits, targets) == rank_sort_loss(logits, targets, delta=0.1)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(InputError, match=r"loss must be one of .*, got 'fokal'"):
        make_loss("fokal")
    with pytest.raises(InputError, match=r"unknown key 'gama' \(did you mean 'gamma'\?\); sigmoid"):
        make_loss("focal", gama=2)
    for argument in ("reduction", "pred_boxes"):
        with pytest.raises(InputError, match=argument):
            make_loss("giou", **{argument: "mean"})
