"""The options of a part are the parameters of what it makes: one definition of truth."""

import inspect
import subprocess
import sys

import pytest
from pydantic import BaseModel
from rebalance.config.docstrings import option_docs
from rebalance.config.options.losses import Focal, Term
from rebalance.config.options.rois import Preset
from rebalance.config.options.samplers import Combined
from rebalance.config.part import PARTS, Options, Part, extended
from rebalance.generators import IOU_PRESETS
from rebalance.losses import LOSSES
from rebalance.samplers.combined import NEGATIVE_SCHEMES, POSITIVE_SCHEMES

COMPOSED = {"linear"}  # it takes settings as they are
MADE = [part for part in PARTS if part.makes is not None and part.called not in COMPOSED]


def plain(value):
    """A default as a file would say it."""
    if isinstance(value, BaseModel):
        settings = value.model_dump()
        return settings["name"] if len(settings) == 1 else settings
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("part", MADE, ids=lambda part: part.makes.partition(":")[2])
def test_options_and_defaults_are_those_of_the_signature(part):
    parameters = list(inspect.signature(part.load()).parameters.values())
    wanted = {
        parameter.name: plain(parameter.default)
        for parameter in parameters
        if parameter.default is not parameter.empty and parameter.name not in part.given
    }
    options = {
        name: plain(field.get_default(call_default_factory=True))
        for name, field in part.model_fields.items()
        if name != part.tag and not field.is_required()
    }
    assert options == wanted
    required = {name for name in part.options() if part.model_fields[name].is_required()}
    assert required <= {p.name for p in parameters if p.default is p.empty}


def test_names_that_options_choose_from_are_those_of_the_code():
    assert set(Preset.__args__) == set(IOU_PRESETS)
    schemes = {name: set(Combined.model_fields[name].annotation.__args__)
               for name in ("positive", "negative")}  # fmt: skip
    assert schemes == {"positive": set(POSITIVE_SCHEMES), "negative": set(NEGATIVE_SCHEMES)}


def option_classes(above=Options):
    """Every class of options; extended parts are documented where their options are."""
    found = {}
    for cls in above.__subclasses__():
        found |= option_classes(cls)
        if cls.__module__ != "rebalance.config.part":
            found[f"{cls.__module__}.{cls.__name__}"] = cls
    return dict(sorted(found.items()))


@pytest.mark.parametrize("name", option_classes())
def test_every_option_is_documented(name):
    cls = option_classes()[name]
    tag = {cls.tag} if issubclass(cls, Part) else set()
    assert cls.__doc__
    assert set(cls.model_fields) - tag == set(option_docs(cls)) - tag


def test_a_loss_in_an_objective_takes_the_keys_of_a_term():
    loss = extended(Focal, Term)(gamma=1.0, weight=2.0)
    assert loss.model_dump() == {
        "name": "focal", "alpha": 0.25, "gamma": 1.0,
        "weight": 2.0, "per": "positives", "weigh": None,
    }  # fmt: skip
    assert loss.load() is LOSSES["focal"]


def test_the_catalogue_comes_quickly_and_without_torch():
    code = (
        "import sys, time; start = time.process_time();"
        "import rebalance.config.experiments as experiments;"
        "experiments.Detector.model_rebuild();"
        "print(time.process_time() - start, 'torch' in sys.modules)"
    )
    seconds, torch = min(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        .stdout.split()
        for _ in range(2)
    )  # fmt: skip
    assert torch == "False"
    assert float(seconds) < 1.0  # 0.3 s of processor time on an idle machine
