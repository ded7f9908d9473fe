"""The command line as a whole: quick to answer, one message for a wrong setting anywhere."""

import json
import subprocess
import sys

import pytest
import yaml
from rebalance.cli import main
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.run import TrainedRun, read_run


@pytest.mark.parametrize("arguments", [["--help"], ["runs"]])
def test_it_answers_without_torch_and_scipy(repository, arguments):
    code = (
        "import sys; from rebalance.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=repository,
                   capture_output=True)  # fmt: skip


def test_the_package_runs_as_a_module(repository):
    done = subprocess.run([sys.executable, "-m", "rebalance", "--help"], check=True, text=True,
                          cwd=repository, capture_output=True)  # fmt: skip
    assert "evaluate-panoptic" in done.stdout


@pytest.fixture
def settings(repository):
    """Of a run, all said."""
    experiments = load_experiments(repository, check_runs=False)
    return resolve_run(experiments, "retinanet_r50_eiou", "shapes").model_dump()


def wrong(settings):
    settings["detector"]["dense"]["assigner"]["positive_iou"] = 7
    return settings


MESSAGE = "detector.dense.assigner.positive_iou: must be at most 1, got 7"


def test_a_wrong_setting_in_a_run_file(settings, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(wrong(settings)))
    assert main(["train", "--run-file", str(file), "--out", str(tmp_path / "out")]) == 2
    assert f"{file}: {MESSAGE}\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def trained(settings):
    return {**settings, "classes": {"ids": [1], "names": ["disc"]}, "made_with": {}}


@pytest.mark.parametrize("command", ["predict", "positives"])
def test_a_wrong_setting_in_run_yaml(settings, tmp_path, capsys, command):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(wrong(trained(settings))))
    assert main([command, "--run-dir", str(tmp_path), "--out", str(tmp_path / "out.json")]) == 2
    assert f"{file}: {MESSAGE}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_detection": 10}, "max_detection: unknown key 'max_detection' (did you mean 'max_d"),
        ({"score_threshold": "0.5"}, "score_threshold: must be a number, got '0.5'"),
        ({"nms": {"name": "nsm"}}, "nms.name: suppression must be one of nms, soft_nms, "),
        ({"loops": 3}, "loops: is for detectors with a box step, got steps dense"),
    ],
)
def test_wrong_test_settings(settings, tmp_path, capsys, given, expected):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(trained(settings)))
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(given))
    arguments = ["predict", "--run-dir", str(tmp_path), "--out", str(tmp_path / "out.json")]
    for argument, place in ((json.dumps(given), "--settings"), (str(file), str(file))):
        assert main([*arguments, "--settings", argument]) == 2
        assert f"predict: {place}: {expected}" in capsys.readouterr().err


def test_a_finished_runs_settings_can_be_trained_again(settings, tmp_path):
    """run.yaml is what `--run-file` takes; what training adds is left out."""
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(TrainedRun(**trained(settings)).model_dump()))
    assert read_run(file) == settings
