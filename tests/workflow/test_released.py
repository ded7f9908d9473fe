"""Models that others released: from the address of a file to the numbers of a table's row."""

import hashlib
import json

import pytest
import torch
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.data.weights import write_checkpoint
from rebalance.detectors import build_detector
from rebalance.weights.convert import export_weights
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RESNET = {"name": "resnet", "depth": 18, "width": 8, "norm": "frozen_batch"}
CLASSES = 8  # of shapes


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose scale `shapes` shows what was released, with backbones that are published."""
    project = make_project()

    def released(scale):
        scale["released"] = True
        scale["backbones"]["resnet50_mmdet"] = RESNET

    project.edit("config/scales/shapes.yaml", released)
    return project


@pytest.fixture
def untrained(project):
    """ATSS of that project; its classes are equally likely everywhere."""
    experiments = load_experiments(project.root)
    settings = resolve_run(experiments, "atss", "shapes", 0, "data").model_dump()
    torch.manual_seed(0)
    detector = build_detector(settings, CLASSES)
    torch.nn.init.zeros_(detector.heads["dense"].class_logits.bias)
    return detector


def test_published_weights_are_downloaded_imported_and_predicted_with(
    project, untrained, server, tmp_path
):
    published = tmp_path / "atss.pth"
    write_checkpoint(export_weights(untrained, "mmdetection"), published, nested=True)
    url = server.add("atss.pth", published.read_bytes())
    sha256 = hashlib.sha256(published.read_bytes()).hexdigest()[:8]
    project.edit(
        "config/released.yaml",
        lambda models: models["atss_r50"]["origin"].update(url=url, sha256=sha256),
    )

    folder = project.root / "results/shapes/released/atss_r50"
    project.snakemake(f"{folder.relative_to(project.root)}/metrics.json")

    imported = load_file(folder / "model.safetensors")
    assert imported.keys() == untrained.state_dict().keys()
    for name, value in untrained.state_dict().items():
        assert torch.equal(imported[name], value), name
    detections = json.loads((folder / "detections.json").read_text())
    assert {one["image_id"] for one in detections} == {1, 2, 3, 4, 5, 6}
    assert 0 <= json.loads((folder / "metrics.json").read_text())["AP50"] < 1


def test_published_results_are_downloaded_and_evaluated(project, server):
    project.snakemake("data/shapes/annotations/val.json")
    truth = json.loads((project.root / "data/shapes/annotations/val.json").read_text())
    right = [
        {key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for one in truth["annotations"]
    ]
    results = json.dumps(right).encode()
    url = server.add("results.json", results)
    md5_url = server.add("results.json.md5sum", hashlib.md5(results).hexdigest().encode())
    project.edit(
        "config/released.yaml",
        lambda models: models["retinanet_r50_12"]["origin"].update(url=url, md5_url=md5_url),
    )

    metrics = "results/shapes/released/retinanet_r50_12/metrics.json"
    project.snakemake(metrics)
    assert json.loads((project.root / metrics).read_text())["AP"] == 1
