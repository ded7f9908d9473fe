"""LOSSES and make_loss: names and options of a configuration."""

import inspect

import pytest
import torch
from rebalance.errors import InputError
from rebalance.losses import LOSSES, NORMALISERS, make_loss, rank_sort_loss
from rebalance.sources import parts


def test_a_normaliser_takes_what_its_loss_takes():
    for name, normaliser in NORMALISERS.items():
        parameters = inspect.signature(normaliser).parameters.values()
        inputs = tuple(p.name for p in parameters if p.default is p.empty)
        assert inputs == make_loss(name).inputs


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_made_with_its_defaults_spelled_out(name):
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    defaults = {
        p.name: p.default for p in parameters if p.default is not p.empty and p.name != "reduction"
    }
    bound = make_loss(name, **defaults)
    assert bound.name == name
    assert bound.inputs == tuple(p.name for p in parameters if p.default is p.empty)


def test_options_reach_the_loss():
    logits, targets = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([0.5, 0.0, 1.0])
    bound = make_loss("rank_sort", delta=0.1)
    assert bound(logits, targets) == rank_sort_loss(logits, targets, delta=0.1)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(InputError, match=r"loss must be one of \['alrp', .*\], got 'fokal'"):
        make_loss("fokal")
    with pytest.raises(InputError, match=r"loss 'focal' has options .*'gamma'.*, got 'gama'"):
        make_loss("focal", gama=2)
    for argument in ("reduction", "pred_boxes"):
        with pytest.raises(InputError, match=argument):
            make_loss("giou", **{argument: "mean"})


def test_the_names_can_be_read_without_importing():
    assert list(parts("loss")) == list(LOSSES)
