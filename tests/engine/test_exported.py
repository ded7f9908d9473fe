"""A run packed into one folder detects there as it does in its own place, and says what it is."""

import json
import shutil

import pytest
import rebalance
from rebalance.cli import main
from rebalance.data.coco import CocoDataset
from rebalance.engine.predict import predict
from rebalance.engine.train import train
from rebalance.errors import InputError
from rebalance.metrics import evaluate


@pytest.fixture
def trained(run, tmp_path):
    run["schedule"]["iterations"] = 2
    run["schedule"]["batch_size"] = 1  # of predict: one image on its own canvas, as in an album
    run["detector"]["test"]["score_threshold"] = 0.0
    train(run, tmp_path / "run", threads=1)
    return tmp_path / "run"


def test_an_exported_run_detects_as_the_run_does(trained, run, shapes, tmp_path, capsys):
    predict(trained, trained / "default" / "detections.json", threads=1)
    expected = json.loads((trained / "default" / "detections.json").read_text())
    files = run["dataset"]["val"]
    gt = str(files["annotations"])
    metrics = ["--out", str(trained / "default" / "metrics.json"), "--card", str(trained)]
    dt = str(trained / "default" / "detections.json")
    assert main(["evaluate", "--gt", gt, "--dt", dt, *metrics]) == 0

    assert main(["export", "--run", str(trained), "--out", str(tmp_path / "given")]) == 0
    shutil.rmtree(trained)
    given = tmp_path / "given"
    names = {str(path.relative_to(given)) for path in given.rglob("*") if path.is_file()}
    assert names == {"README.md", "model.safetensors", "run.yaml", "default/metrics.json"}
    model = rebalance.load(given)
    assert not model.detector.training
    assert model.settings["detector"]["test"]["score_threshold"] == 0.0
    dataset = CocoDataset(**files)
    assert model.class_names == dict(zip(dataset.class_ids, dataset.class_names, strict=True))
    images = json.loads(dataset.annotations.read_text())["images"]
    for image in images:
        found = model(dataset.images / image["file_name"])
        same = [one for one in expected if one["image_id"] == image["id"]]
        assert [{**one, "image_id": image["id"]} for one in found] == same
    assert expected


def test_the_card_says_what_it_is_how_good_and_how_to_load_it(trained, run):
    detections = trained / "default" / "detections.json"
    predict(trained, detections, threads=1)
    gt = run["dataset"]["val"]["annotations"]
    assert main(["evaluate", "--gt", str(gt), "--dt", str(detections), "--card", str(trained),
                 "--out", str(trained / "default" / "metrics.json")]) == 0  # fmt: skip
    card = (trained / "README.md").read_text()
    assert card.startswith(f"# {run['name']}\n")
    ap = evaluate(gt, detections)["AP"]
    assert f"| AP | {100 * ap:.1f} | higher | " in card
    assert "| oLRP | " in card
    assert "| box loss (dense) | focal_eiou |" in card
    assert 'rebalance.load("' in card
    assert "Apache-2.0" in card


def test_a_card_of_a_run_not_evaluated_says_so(trained, tmp_path):
    assert main(["export", "--run", str(trained), "--out", str(tmp_path / "given")]) == 0
    assert "Not evaluated yet." in (tmp_path / "given" / "README.md").read_text()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "run.yaml").unlink(), "run.yaml: no such file"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors: cannot be"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"junk" * 9),
            "model.safetensors: cannot be read",
        ),
        (lambda folder: (folder / "run.yaml").write_text("name: tiny\n"), "run.yaml: "),
    ],
)
def test_a_bad_folder_is_one_clear_error(trained, harm, message):
    harm(trained)
    with pytest.raises(InputError, match=message):
        rebalance.load(trained)


def test_export_names_what_it_cannot_do(trained, tmp_path, capsys):
    assert main(["export", "--run", "nothing", "--scale", "shapes", "--out", f"{tmp_path}/a"]) == 2
    said = capsys.readouterr().err
    assert "nothing" in said
    assert len(said.splitlines()) == 1
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert main(["export", "--run", str(trained), "--out", f"{tmp_path}/taken"]) == 2
    assert "already exists" in capsys.readouterr().err
