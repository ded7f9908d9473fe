"""speed.json: what is in it, and that measuring leaves a run's results as they are."""

import json

import pytest
import yaml
from rebalance.cli import main
from rebalance.engine.speed import measure_speed
from rebalance.errors import InputError

from .conftest import results


def test_a_run_is_timed_and_its_results_stay(finished, tmp_path):
    before = results(finished)
    measure_speed(finished, tmp_path / "speed.json", iterations=3, warm_up=1, threads=1)
    assert results(finished) == before
    found = json.loads((tmp_path / "speed.json").read_text())
    counts = {"warm_up": 1, "iterations": 3, "batch_size": 4, "images": 3, "threads": 1}
    assert {name: found[name] for name in counts} == counts
    assert (found["run"], found["seed"], found["scale"]) == ("tiny", 3, "test")
    assert found["memory_gb"] is None or found["memory_gb"] > 0
    for name in ("train_seconds_per_iter", "images_per_second", "process_memory_gb"):
        assert found[name] > 0


def test_a_device_is_timed_with_its_share_of_a_batch(finished, tmp_path):
    settings = yaml.safe_load((finished / "run.yaml").read_text())
    settings["hardware"]["devices"] = 2
    (finished / "run.yaml").write_text(yaml.safe_dump(settings))
    measure_speed(finished, tmp_path / "speed.json", iterations=1, warm_up=5, threads=1)
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["batch_size"] == 2
    assert found["images"] == 1  # six, less five of the warm-up


def test_a_warm_up_that_leaves_no_image_is_refused(finished, tmp_path):
    with pytest.raises(InputError, match=r"val.json: must have more than the 6 images .* got 6"):
        measure_speed(finished, tmp_path / "speed.json", iterations=1, warm_up=6, threads=1)
    assert not (tmp_path / "speed.json").exists()


def test_a_folder_without_a_run_is_one_message(tmp_path, capsys):
    command = ["speed", "--run-dir", str(tmp_path), "--out", str(tmp_path / "speed.json")]
    assert main(command) != 0
    assert "run.yaml" in capsys.readouterr().err
