"""Two trainings in one folder: one works, and nothing of its work is lost."""

import os
import signal
import time
from pathlib import Path

import pytest
import yaml
from rebalance.engine.checkpoint import CHECKPOINT, UNFINISHED_LOG
from rebalance.engine.train import train
from rebalance.errors import InputError

from .conftest import OUTPUTS, results, wait_for


def wait_for_line(process, words, timeout=90):
    """Read the process's messages until one has the words."""
    deadline = time.monotonic() + timeout
    while words not in (line := process.stderr.readline()):
        assert time.monotonic() < deadline
        assert line, f"the process ended without: {words}"
    return line


@pytest.mark.slow
def test_the_second_waits_and_takes_over_what_the_first_has_finished(run, start, tmp_path):
    run["schedule"].update(iterations=40, checkpoint_every=10)
    out = tmp_path / "out"
    first = start(run, out)
    wait_for(out / UNFINISHED_LOG, first)
    os.kill(first.pid, signal.SIGSTOP)  # it shall not end before the second has come
    second = start(run, out)
    line = wait_for_line(second, "waiting until it ends")
    assert f"process {first.pid} on {os.uname().nodename} is training in {out}" in line
    os.kill(first.pid, signal.SIGCONT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    model = (out / "model.safetensors").stat()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert "this training is finished" in errors
    assert os.path.samestat(model, (out / "model.safetensors").stat()), "it is not made again"
    rows = (out / "log.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 41))
    assert sorted(path.name for path in out.iterdir()) == OUTPUTS


@pytest.mark.slow
def test_the_lock_of_a_killed_training_goes_to_the_one_that_waits(run, start, tmp_path):
    run["schedule"].update(iterations=60, checkpoint_every=2)
    train(run, tmp_path / "whole", threads=1)
    out = tmp_path / "out"
    first = start(run, out, SLURM_JOB_ID="4711")
    wait_for(out / CHECKPOINT, first)
    os.kill(first.pid, signal.SIGSTOP)
    impatient = start(run, out, options=["--wait", "0"])
    _, errors = impatient.communicate(timeout=60)
    assert impatient.returncode == os.EX_TEMPFAIL, errors
    assert f"process {first.pid} on {os.uname().nodename} of SLURM job 4711 is training" in errors
    assert "start again when it has ended" in errors
    stopped, second = start(run, out), start(run, out)
    for process in (stopped, second):
        wait_for_line(process, "waiting until it ends")
    stopped.terminate()
    assert stopped.wait(timeout=60) == os.EX_TEMPFAIL
    first.kill()
    first.communicate()
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert "going on after iteration" in errors
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.parametrize("key", ["seed", "name"])
def test_a_folder_with_the_result_of_another_training_is_left_alone(run, finished, key):
    before = results(finished)
    run[key] = {"seed": 4, "name": "other"}[key]
    with pytest.raises(InputError, match=rf"run.yaml: {key}: the finished training here is of "):
        train(run, finished, threads=1)
    assert results(finished) == before


def test_a_finished_training_is_not_repeated_unless_its_settings_or_code_change(
    run, finished, capsys
):
    model = finished / "model.safetensors"
    before = model.stat()
    train(run, finished, threads=1)
    assert "this training is finished" in capsys.readouterr().err
    assert os.path.samestat(before, model.stat())
    settings = yaml.safe_load((finished / "run.yaml").read_text())
    settings["made_with"]["code"] = "of yesterday"
    (finished / "run.yaml").write_text(yaml.safe_dump(settings))
    train(run, finished, threads=1)
    assert not os.path.samestat(before, model.stat())
    run["schedule"]["iterations"] = 6
    train(run, finished, threads=1)
    assert len((finished / "log.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.parametrize("names", [OUTPUTS[1:], ["model.safetensors"], ["run.yaml", "log.csv"]])
@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_what_a_workflow_has_deleted_of_a_finished_training_is_taken_over(
    run, finished, capsys, monkeypatch, names, links
):
    """Snakemake deletes what an orphaned training has finished before it starts another."""
    before = results(finished)
    for name in names:
        (finished / name).unlink()
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", _no_hard_links)
    train(run, finished, threads=1)
    assert "this training is finished" in capsys.readouterr().err
    assert results(finished) == before
    assert sorted(path.name for path in finished.iterdir()) == OUTPUTS
    for name in names:
        kept = finished / ".finished" / name
        assert (finished / name).samefile(kept) == links


def _no_hard_links(self, target):
    raise PermissionError("as on FAT")


def test_other_annotations_train_again(run, finished, shapes, tmp_path):
    file = Path(run["dataset"]["train"]["annotations"])
    before, model = file.read_bytes(), (finished / "model.safetensors").stat()
    file.write_bytes(before + b"\n")
    try:
        train(run, finished, threads=1)
    finally:
        file.write_bytes(before)
    assert not os.path.samestat(model, (finished / "model.safetensors").stat())
