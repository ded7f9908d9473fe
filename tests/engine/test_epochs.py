"""Weights of every epoch: kept whatever happens to a training, evaluated one by one."""

import json

import pytest
from rebalance.engine.epochs import evaluate_epochs
from rebalance.engine.predict import predict
from rebalance.engine.train import train
from rebalance.errors import InputError
from rebalance.metrics.evaluate import evaluate

from .conftest import OUTPUTS, Interrupted, results


def kept(out):
    return {file.name: file.read_bytes() for file in (out / "epochs").iterdir()}


@pytest.fixture
def whole(run, tmp_path):
    """Twelve iterations, five epochs of which the last two are of two iterations."""
    assert train(run, tmp_path / "whole", threads=1, epochs=5)
    return tmp_path / "whole"


def test_each_epoch_leaves_its_weights_and_changes_nothing_else(finished, whole):
    assert sorted(path.name for path in whole.iterdir()) == sorted(["epochs", *OUTPUTS])
    ends = [3, 5, 8, 10, 12]  # 12 k / 5, rounded up: the epoch is over
    assert sorted(kept(whole)) == sorted(f"{end}.safetensors" for end in ends)
    assert results(whole) == results(finished)
    assert kept(whole)["12.safetensors"] == results(whole)["model.safetensors"]
    assert len(set(kept(whole).values())) == len(ends)


def test_an_interrupted_training_loses_none(run, whole, tmp_path, interrupt):
    cut = tmp_path / "cut"
    restore = interrupt(4 * 5)  # in the sixth iteration: the checkpoint is of the third
    with pytest.raises(Interrupted):
        train(run, cut, threads=1, epochs=5)
    assert sorted(kept(cut)) == ["3.safetensors", "5.safetensors"]
    (cut / "epochs" / "5.safetensors").write_bytes(b"of iterations that come again")
    restore()
    train(run, cut, threads=1, epochs=5)
    assert kept(cut) == kept(whole)


def test_a_training_begun_without_its_epochs_begins_anew(run, whole, tmp_path, interrupt, capsys):
    restore = interrupt(4 * 5)
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    restore()
    train(run, tmp_path / "cut", threads=1, epochs=5)
    assert "did not keep the weights of its epochs" in capsys.readouterr().err
    assert kept(tmp_path / "cut") == kept(whole)


def test_a_finished_training_is_repeated_for_other_epochs_only(run, whole, capsys):
    assert train(run, whole, threads=1, epochs=5)
    assert train(run, whole, threads=1)  # asks for none: what there is does no harm
    assert capsys.readouterr().err.count("this training is finished") == 2
    train(run, whole, threads=1, epochs=2)
    assert sorted(kept(whole)) == ["12.safetensors", "6.safetensors"]


def test_every_epoch_has_the_numbers_of_its_weights(whole, shapes, tmp_path):
    truth, anything = shapes / "annotations" / "val.json", {"score_threshold": 0.0}
    evaluate_epochs(whole, tmp_path / "all.json", test_settings=anything, ious=[0.1], threads=1)
    epochs = json.loads((tmp_path / "all.json").read_text())["epochs"]
    assert [e["epoch"] for e in epochs] == [1, 2, 3, 4, 5]
    assert [e["iteration"] for e in epochs] == [3, 5, 8, 10, 12]
    assert len({e["metrics"]["AP10"] for e in epochs}) > 2
    for epoch in (epochs[0], epochs[-1]):
        (whole / "model.safetensors").write_bytes(kept(whole)[f"{epoch['iteration']}.safetensors"])
        predict(whole, tmp_path / "found.json", test_settings=anything, threads=1)
        expected = evaluate(truth, tmp_path / "found.json", ious=[0.1])
        for name in ("AP10", "AR100", "oLRP"):
            assert epoch["metrics"][name] == expected[name]


def test_a_run_without_epochs_says_so(finished, tmp_path):
    with pytest.raises(InputError, match="epochs: no weights were kept"):
        evaluate_epochs(finished, tmp_path / "epochs.json", threads=1)


def test_damaged_weights_are_named(whole, tmp_path):
    (whole / "epochs" / "5.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"5\.safetensors: cannot be read"):
        evaluate_epochs(whole, tmp_path / "epochs.json", threads=1)
    assert not (tmp_path / "epochs.json").exists()
