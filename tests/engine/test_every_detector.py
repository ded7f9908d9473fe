"""Every detector of config/detectors.yaml, small: training, resuming, two processes, metrics."""

import json
import os
from pathlib import Path

import pytest
import torch.multiprocessing as mp
from rebalance.config.experiments import load_experiments
from rebalance.config.run import read_trained_run
from rebalance.engine.predict import predict
from rebalance.engine.train import train
from rebalance.metrics import evaluate, evaluate_boxes_and_masks

from .conftest import Interrupted, results, tiny_run
from .test_distributed import assert_same_training, free_port

pytestmark = pytest.mark.xdist_group("every_detector")  # one pair of processes trains them all

EXPERIMENTS = load_experiments(Path(__file__).resolve().parents[2], check_runs=False)
LIMITS = {"channels": 8, "period": 3, "interval": 3}
"""Options and their largest values here; four iterations hold the end of a period of three."""
RANKINGS = ("ranking", "coupled_ranking")


@pytest.fixture(scope="module")
def data(shapes, tmp_path_factory):
    """Every other training image has no object, so that a process may have none in its half."""
    coco = json.loads((shapes / "annotations" / "train.json").read_text())
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] % 2]
    file = tmp_path_factory.mktemp("data") / "train.json"
    file.write_text(json.dumps(coco))
    return shapes, file


def run_of(base, data):
    """Four iterations of four images with the settings of the shapes scale, made smaller."""
    shapes, train_annotations = data
    run = tiny_run(shapes)
    run["dataset"]["train"]["annotations"] = str(train_annotations)
    run["detector"] = limited(EXPERIMENTS.detector_settings(base, "shapes"))
    run["schedule"] |= {"iterations": 4, "checkpoint_every": 2}
    run["variants"] |= {
        "all": {"test": {"score_threshold": 0.0}},
        "nothing": {"test": {"score_threshold": 1.0}},
    }
    return run


def limited(settings, key=None):
    """Small, and with logged rankings of the global batch, not of each process's part."""
    if isinstance(settings, dict):
        ranked = {"over": "batch", "log": True} if settings.get("name") in RANKINGS else {}
        return {key: limited(value, key) for key, value in settings.items()} | ranked
    if isinstance(settings, list):
        return [limited(value, key) for value in settings]
    return min(settings, LIMITS[key]) if key in LIMITS else settings


@pytest.fixture(scope="module", params=sorted(EXPERIMENTS.bases))
def base(request):
    return request.param


@pytest.fixture(scope="module")
def trained(base, data, tmp_path_factory):
    """A run and its folder."""
    run, out = run_of(base, data), tmp_path_factory.mktemp(base) / "run"
    assert train(run, out, threads=1)
    return run, out


def test_a_resumed_training_has_the_same_bytes(trained, tmp_path, interrupt):
    run, whole = trained
    restore = interrupt(4 * 3)  # in the last iteration, one after the checkpoint
    with pytest.raises(Interrupted):
        train(run, tmp_path, threads=1)
    restore()
    train(run, tmp_path, threads=1)
    assert results(whole) == results(tmp_path)


def test_detections_are_evaluated_also_where_there_are_none(trained, tmp_path):
    run, folder = trained
    masks = read_trained_run(folder / "run.yaml").detector.needs_masks
    found, metrics = {}, {}
    for variant in ("all", "nothing"):
        out = tmp_path / f"{variant}.json"
        predict(folder, out, variant=variant, threads=1)
        found[variant] = json.loads(out.read_text())
        evaluated = evaluate_boxes_and_masks if masks else evaluate
        metrics[variant] = evaluated(run["dataset"]["val"]["annotations"], out)
    assert found["nothing"] == []
    assert len(found["all"]) > 0
    assert all(("segmentation" in one) == masks for one in found["all"])
    for kind in ("", "mask_") if masks else ("",):
        assert 0 <= metrics["all"][f"{kind}AP50"] <= 1
        assert metrics["nothing"][f"{kind}AP50"] == 0
        assert metrics["nothing"][f"{kind}oLRP"] == 1


def _train_all(rank, port, runs):
    """In each of two processes."""
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    for out, run in runs.items():
        train(run, out, threads=1)


@pytest.fixture(scope="module")
def of_two_processes(request, data, tmp_path_factory):
    """Folder of the trainings on two devices of all detectors that are asked for."""
    asked = [
        item.callspec.params["base"] for item in request.session.items
        if item.originalname == test_two_processes_train_like_one.__name__
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("two")
    runs = {}
    for base in asked:
        run = runs[str(folder / base)] = run_of(base, data)
        run["hardware"]["devices"] = 2
    mp.spawn(_train_all, args=(free_port(), runs), nprocs=2)
    return folder


@pytest.mark.slow
def test_two_processes_train_like_one(base, trained, of_two_processes):
    assert_same_training(trained[1], of_two_processes / base)
