"""Trainings with ranking losses: balanced gradients, logs, state in checkpoints, two processes."""

import copy

import pandas as pd
import pytest
from rebalance.data.files import write_atomically
from rebalance.engine.train import train
from safetensors.torch import load_file

from .conftest import STAGED, results
from .test_distributed import finish

AP = {
    "name": "ranking",
    "class": {"name": "ap"},
    "box": {"name": "smooth_l1", "beta": 1.0, "weight": 0.25},
}
ALRP = {
    "name": "coupled_ranking",
    "box": {"name": "giou"},
    "balance": {"name": "epoch", "initial": 50.0, "period": 3},
}
RANK_SORT = {
    "name": "ranking",
    "class": {"name": "rank_sort"},
    "box": {"name": "giou"},
    "weigh": "score",
    "balance": "value",
}


def with_objective(run, objective):
    run["detector"]["dense"].update(objective=objective, sampler={"name": "all"})
    return run


@pytest.mark.parametrize("objective", [AP, ALRP], ids=["ap", "alrp"])
def test_gradients_of_positives_and_negatives_are_equal_at_every_iteration(
    run, tmp_path, objective
):
    """Theorem 2 of the thesis, and for AP the loss is their sum (K.10)."""
    train(with_objective(run, {**objective, "log": True}), tmp_path / "out", threads=1)
    log = pd.read_csv(tmp_path / "out" / "log.csv")
    assert len(log) == 12
    difference = (log.positive_gradients - log.negative_gradients).abs()
    assert (difference <= 1e-5 * log.positive_gradients).all()
    assert log.positive_gradients.min() > 0.1
    assert log.gradient_ratio.to_numpy() == pytest.approx(1, abs=1e-5)
    assert log.score_iou_correlation.between(-1, 1).all()
    assert log.loss.to_numpy() == pytest.approx(
        (log.class_loss + log.box_loss).to_numpy(), rel=1e-5
    )


def test_the_log_of_alrp_shows_its_parts_and_balance(run, tmp_path):
    train(with_objective(run, {**ALRP, "log": True}), tmp_path / "out", threads=1)
    log = pd.read_csv(tmp_path / "out" / "log.csv")
    assert (log.box_balance[:2] == 50).all()
    first = slice(0, 3)
    total = log.class_loss[first].mean() + log.localisation[first].mean()
    expected = total / log.localisation[first].mean()
    assert log.box_balance[2:5].to_numpy() == pytest.approx(expected, rel=1e-4)
    assert log.box_loss.to_numpy() == pytest.approx(
        (log.localisation * log.box_balance).to_numpy(), rel=1e-5
    )


def test_a_resumed_training_keeps_the_balance(run, tmp_path, monkeypatch):
    """An epoch of 5 iterations; the training stops after 7 and goes on."""
    run = with_objective(run, {**ALRP, "balance": {"name": "epoch", "period": 5}})
    train(run, tmp_path / "whole", threads=1)
    run["schedule"]["checkpoint_every"] = 7

    class Killed(Exception):
        pass

    def write_and_die(path, content, former):
        write_atomically(path, content, former)
        raise Killed

    monkeypatch.setattr("rebalance.engine.checkpoint.write_atomically", write_and_die)
    with pytest.raises(Killed):
        train(run, tmp_path / "parts", threads=1)
    monkeypatch.undo()
    assert (tmp_path / "parts" / "checkpoint.pt").exists()
    train(run, tmp_path / "parts", threads=1)
    assert results(tmp_path / "whole") == results(tmp_path / "parts")
    state = load_file(tmp_path / "whole" / "model.safetensors")
    (name,) = (name for name in state if name.endswith("epoch.weight"))
    assert state[name] != 50


def test_two_processes_may_rank_their_own_images(run, start, tmp_path):
    """What both keep of the epochs is of both: the models are one, and the balance is theirs."""
    run = with_objective(run, ALRP)
    run["schedule"]["iterations"] = 4
    train(run, tmp_path / "one", threads=1)
    run["hardware"]["devices"] = 2
    finish(start(run, tmp_path / "two", SLURM_NTASKS="1", SLURM_STEP_NUM_TASKS="1"))
    logs = [pd.read_csv(tmp_path / name / "log.csv") for name in ("one", "two")]
    assert (logs[0].class_loss != logs[1].class_loss).all()
    assert logs[1].loss.to_numpy() == pytest.approx(logs[0].loss.to_numpy(), rel=0.3)


@pytest.mark.parametrize("objective", [RANK_SORT, ALRP], ids=["rank_sort", "alrp"])
def test_two_stages_train_without_a_sampler(run, tmp_path, objective):
    detector = copy.deepcopy(STAGED)
    for stage in ("rpn", "box"):
        detector[stage].update(objective=objective, sampler={"name": "all"})
    detector["rpn"].update(objective={**objective, "boxes": "unit", "log": True}, weight=0.2)
    run["detector"] = detector
    run["schedule"]["iterations"] = 3
    train(run, tmp_path / "out", threads=1)
    log = pd.read_csv(tmp_path / "out" / "log.csv")
    assert log[["rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss"]].notna().all(axis=None)
    assert (log.rpn_class_loss <= 0.4).all()  # rank and sort are in [0, 1], times 0.2
    assert "rpn_gradient_ratio" in log
    assert "gradient_ratio" not in log
