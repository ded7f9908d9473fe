"""The command line as a whole: quick to answer, one message for a wrong setting anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rebalance.cli import main
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.run import TrainedRun, read_run


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [(["--help"], set()), (["render", "--help"], set()), (["runs"], {"pydantic", "yaml"})],
)
def test_it_answers_without_what_it_does_not_need(repository, arguments, needed):
    code = (
        "import sys; from rebalance.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'matplotlib', 'pydantic', 'yaml'}\n"
        f"assert heavy & set(sys.modules) == {needed}, heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=repository,
                   capture_output=True)  # fmt: skip


def test_the_package_runs_as_a_module(repository):
    done = subprocess.run([sys.executable, "-m", "rebalance", "--help"], check=True, text=True,
                          cwd=repository, capture_output=True)  # fmt: skip
    assert "evaluate-panoptic" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "."], "argument --out: must be a file to write, '.' is a folder"),
        (["--out", "gt.json/x/m.json"], "cannot be made: gt.json is no folder"),
        (["--out", "pipe"], "argument --out: must be a file to write, pipe is a pipe or a device"),
        (["--out", "x" * 300], "File name too long"),
        (["--tau", "nan"], "argument --tau: must be a finite number, got 'nan'"),
        (["--max-dets", "0"], "argument --max-dets: must be at least 1, got 0"),
        (["--gt", "."], ".: must be a file, is a folder"),
        (["--gt", "pipe"], "pipe: must be a file, is a pipe or a device"),
        (["--gt", "deep.json"], "deep.json: not valid JSON: it is nested too deeply"),
    ],
)
def test_a_mistake_is_said_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("gt.json").write_text("{}")
    Path("deep.json").write_text("[" * 10**5)
    try:
        code = main(["evaluate", "--gt", "gt.json", "--dt", "gt.json", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rebalance evaluate: ")
    assert message in line


def test_a_yaml_file_of_another_encoding_is_named(tmp_path, capsys):
    (tmp_path / "run.yaml").write_bytes("name: Müller".encode("latin-1"))
    out = ["--out", str(tmp_path / "out")]
    assert main(["train", "--run-file", str(tmp_path / "run.yaml"), *out]) == 2
    assert "run.yaml: not UTF-8: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train --run-file", "predict --run-dir", "speed --run-dir"])
def test_threads_are_at_least_one(tmp_path, capsys, command):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "absent", "--threads", "0", "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "argument --threads: must be at least 1, got 0" in capsys.readouterr().err


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


@pytest.mark.parametrize("command", ["predict --run-dir {}", "train --run-file {}/run.yaml"])
def test_a_wrong_setting_in_a_variant(settings, tmp_path, capsys, command):
    contents = trained(settings)
    contents["variants"] = {"default": {"test": {"max_detection": 10}}}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(contents))
    assert main([*command.format(tmp_path).split(), "--out", str(tmp_path / "out")]) == 2
    place = f"{file}: variants.default.test.max_detection: unknown key"
    assert place in capsys.readouterr().err


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
