"""TensorBoard: what the log says, and not a byte of the results."""

import sys
from importlib.util import find_spec

import pandas as pd
import pytest
from rebalance.engine.train import train
from rebalance.errors import InputError

from .conftest import Interrupted, results

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="needs tensorboard, which requirements.lock has"
)


def scalars_in(folder):
    """Tag -> [(step, value)] of a folder, without what a restart took back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def logged(out):
    log = pd.read_csv(out / "log.csv", index_col="iteration")
    return {name: list(log[name].items()) for name in log}


@needs_tensorboard
def test_scalars_are_those_of_the_log_and_change_no_byte(run, finished, tmp_path):
    assert train(run, tmp_path / "watched", threads=1, tensorboard=tmp_path / "scalars")
    assert results(tmp_path / "watched") == results(finished)
    written = scalars_in(tmp_path / "scalars/tiny/seed3")
    expected = logged(finished)
    assert written.keys() == expected.keys()
    for name, rows in written.items():
        assert rows == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected[name]]


@needs_tensorboard
def test_a_resumed_training_has_each_iteration_once(run, tmp_path, interrupt):
    go_on = interrupt(5 * run["schedule"]["batch_size"])  # after the checkpoint of iteration 3
    with pytest.raises(Interrupted):
        train(run, tmp_path / "run", threads=1, tensorboard=tmp_path / "scalars")
    go_on()
    assert train(run, tmp_path / "run", threads=1, tensorboard=tmp_path / "scalars")
    steps = [step for step, _ in scalars_in(tmp_path / "scalars/tiny/seed3")["loss"]]
    assert steps == list(range(1, 13))


def test_without_the_package_nothing_is_trained(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as if it were not installed
    with pytest.raises(InputError, match="tensorboard: the package is not installed"):
        train(run, tmp_path / "run", threads=1, tensorboard=tmp_path / "scalars")
    assert not (tmp_path / "run").exists()
